"""Images in folders, one folder per class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from onepath.data.bounds import read_image_file
from onepath.data.examples import EncodedImages, Examples, Source, few, reason
from onepath.data.image_files import (
    SUFFIXES,
    ClassFolder,
    check_apart,
    drop_repeated,
    find_images,
    identities,
    leads_out,
)
from onepath.errors import DataError, plain

_PARTS = {
    "train": ("train", "training"),
    "validation": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}


def read_folder(path: Path) -> Source:
    """A folder of class folders, or a folder with `train/` and `test/` or `val/`, each holding class folders.

    With both `test/` and `val/`, `val/` is the validation set; with `val/` alone, it is the test set. Images may lie
    at any depth inside a class folder. Hidden folders and files, and files that are no images by their suffix, are
    passed over. Every file counts once; what links do is said in `onepath.data.image_files`.

    Raises:
        DataError: no class folders, one of them without an image, a file in two classes, or what is no regular file.
    """
    parts = _find_parts(path)
    if "train" not in parts:
        if parts:
            raise DataError(
                f"a folder with {' and '.join(sorted(f'{found.name}/' for found in parts.values()))} must also have "
                f"train/, but {plain(path)} has not; add it, or give the folder as test data"
            )
        return Source(_name(path), _read_parts({"train": path}, path)["train"])
    read = _read_parts(parts, path)
    train, validation, test = (read.get(part) for part in ("train", "validation", "test"))
    assert train is not None, "it is among the parts"
    notes: tuple[str, ...] = ()
    if test is None and validation is not None:
        validation, test = None, validation
        notes = (f"{parts['validation'].name}/ is the only other folder, so it is the test set.",)
    return Source(_name(path), train, validation, test, notes)


def read_folder_test(path: Path) -> Examples:
    """The test images under a folder: its `test/`, else its `val/`, else its class folders."""
    parts = _find_parts(path)
    return _read_parts({"test": parts.get("test", parts.get("validation", path))}, path)["test"]


def check_unseen(train: Examples, test: Examples) -> None:
    """Refuse test images that are training images, where both are files.

    Raises:
        DataError: some are.
    """
    if isinstance(train.images, EncodedImages) and isinstance(test.images, EncodedImages):
        seen = set(identities(train.images.files).values())
        both = [file for file, key in identities(test.images.files).items() if key in seen]
        if both:
            raise DataError(
                f"test images must not be training images, but {len(both):,} of {test.where} are images of "
                f"{train.where} too, the first {plain(both[0])}; give test data of their own"
            )


def _name(path: Path) -> str:
    return plain(path.resolve().name)


def _find_parts(path: Path) -> dict[str, Path]:
    by_name = {folder.name.lower(): folder for folder in _subfolders(path)}
    return {
        part: by_name[name] for part, names in _PARTS.items() for name in reversed(names) if name in by_name
    }


def _subfolders(path: Path) -> list[Path]:
    return [entry for entry in _visible(path) if entry.is_dir()]


def _visible(path: Path) -> list[Path]:
    try:
        inside = sorted(path.iterdir(), key=lambda entry: entry.name)
    except OSError as error:
        raise DataError(
            f"a folder must be readable, but {plain(path)} is not ({reason(error)}); check its rights"
        ) from error
    return [entry for entry in inside if not entry.name.startswith((".", "__"))]


def _read_parts(parts: Mapping[str, Path], root: Path) -> dict[str, Examples]:
    """The images of every part.

    Args:
        parts: name of the part -> its folder of class folders.
        root: the folder that was given; what leads out of it is said.
    """
    folders = {part: _class_folders(path) for part, path in parts.items()}
    check_apart([folder for inside in folders.values() for folder in inside])
    classes = {part: [find_images(part, folder) for folder in inside] for part, inside in folders.items()}
    kept = iter(drop_repeated([found for inside in classes.values() for found in inside]))
    return {
        part: _examples(parts[part], inside, [next(kept) for _ in inside], root)
        for part, inside in classes.items()
    }


def _class_folders(path: Path) -> list[Path]:
    folders = _subfolders(path)
    if not folders:
        loose = sum(entry.suffix.lower() in SUFFIXES for entry in _visible(path))
        came = f"{plain(path)} has {loose} images and no folder" if loose else f"{plain(path)} has none"
        raise DataError(
            f"a folder of images must have one folder per class, but {came}; sort the images into folders"
        )
    return folders


def _examples(
    path: Path, classes: Sequence[ClassFolder], kept: Sequence[tuple[list[str], list[str]]], root: Path
) -> Examples:
    names = tuple(found.folder.name for found in classes)
    empty = [name for name, (files, _) in zip(names, kept, strict=True) if not files]
    if empty:
        raise DataError(
            f"every class folder must have an image, but {len(empty)} of {len(classes)} in {plain(path)} have none "
            f"({few(empty)}); add images ({' '.join(sorted(SUFFIXES))}) or remove the folder"
        )
    files = [file for inside, _ in kept for file in inside]
    labels = np.repeat(np.arange(len(classes)), [len(inside) for inside, _ in kept])
    images = EncodedImages(
        len(files), lambda index: read_image_file(files[index]), lambda index: plain(files[index]), files
    )
    return Examples(plain(path), images, labels, names, notes=_notes(path, classes, kept, root))


def _notes(
    path: Path, classes: Sequence[ClassFolder], kept: Sequence[tuple[list[str], list[str]]], root: Path
) -> tuple[str, ...]:
    """What was done about links."""
    links = [str(found.folder) for found in classes if found.folder.is_symlink()]
    links += [
        file for found in classes for file, is_link in zip(found.files, found.links, strict=True) if is_link
    ]
    said = {
        "Links to folders inside class folders are not followed": [
            link for found in classes for link in found.unfollowed
        ],
        "Images are left out where the same file stands elsewhere": [file for _, out in kept for file in out],
        "Links that lead nowhere are passed over": [
            str(entry) for entry in _visible(path) if entry.is_symlink() and not entry.exists()
        ],
        "Images or class folders are links out of the folder": [
            link for link in links if leads_out(link, root)
        ],
    }
    return tuple(
        f"{what}: {len(paths):,}, the first is {plain(paths[0])}." for what, paths in said.items() if paths
    )
