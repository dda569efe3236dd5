"""Reading images from folders, one folder per class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

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

_PARTS: dict[str, str] = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "validation"),
    **dict.fromkeys(("test", "tests", "testing"), "test"),
}
_ENDINGS = ("set", "data", "images", "split")


def read_folder(path: Path) -> Source:
    """Read a folder of class folders, or of parts such as `train/` and `test/` that hold class folders.

    A folder may also hold class folders with a `test/` or `val/` beside them. Folders called train, training, val,
    valid, validation, test, tests or testing, in any case, also "test set" or "test_data", are parts of the data if a
    `train/` among them holds class folders, or if there are no other folders and one of them is `train/` or holds class
    folders.
    Beside class folders, a test or validation folder is a part if one of its class folders has the name of a class
    folder beside it. In all other cases, a folder with such a name is a class of that name, and a note says so.

    With both `test/` and `val/`, `val/` is the validation set; with `val/` alone, `val/` is the test set. Images may
    lie at any depth inside a class folder. Hidden files and folders are ignored, and so are files without the suffix of
    an image. Every file counts once; `onepath.data.image_files` says how links are treated.

    Raises:
        DataError: there are no class folders, a class folder has no image, a file lies in two classes, or an image is
            not a regular file.
    """
    found = _find_parts(path)
    if "train" not in found.parts:
        names = " and ".join(sorted(f"{folders[0].parent.name}/" for folders in found.parts.values()))
        raise DataError(
            f"a folder with {plain(names)} must also have train/, but {plain(path)} has not; add it, or give the "
            f"folder as test data"
        )
    read = _read_parts(found.parts, path)
    validation, test = read.get("validation"), read.get("test")
    notes = list(found.notes)
    if test is None and validation is not None:
        validation, test = None, validation
        name = found.parts["validation"][0].parent.name
        notes.append(f"{plain(name)}/ is the only other folder, so it is the test set.")
    return Source(_name(path), read["train"], validation, test, tuple(notes))


def read_folder_test(path: Path) -> Examples:
    """Return the test images under a folder: its `test/`, else its `val/`, else its `train/` or class folders."""
    parts = _find_parts(path).parts
    chosen = next(parts[part] for part in ("test", "validation", "train") if part in parts)
    return _read_parts({"test": chosen}, path)["test"]


def check_unseen(train: Examples, test: Examples) -> None:
    """Raise if test images are training images too; only images that are files are compared.

    Raises:
        DataError: a file is both a training and a test image.
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


class _Found(NamedTuple):
    """The parts of a folder, as name -> class folders, and remarks for the user."""

    parts: dict[str, list[Path]]
    notes: list[str]


def _find_parts(path: Path) -> _Found:
    folders = _class_folders(path)
    named = {folder: part for folder in folders if (part := _part_of(folder.name)) is not None}
    inside = {folder: _subfolders(folder) for folder in named}
    beside = [folder for folder in folders if folder not in named]
    if any(part == "train" and (inside[folder] or not beside) for folder, part in named.items()):
        notes = (
            [f"Beside the parts, folders are passed over: {few([f.name for f in beside])}."] if beside else []
        )
        return _Found(_parts(named), notes)
    if beside:
        return _beside_classes(named, inside, beside)
    if not any(inside.values()):
        return _Found({"train": folders}, [f"Folders are read as classes: {few([f.name for f in folders])}."])
    return _Found(_parts(named), [])


def _beside_classes(
    named: Mapping[Path, str], inside: Mapping[Path, Sequence[Path]], beside: Sequence[Path]
) -> _Found:
    """Return the parts if folders named like parts lie beside class folders: they are parts if they share a class."""
    names = {folder.name for folder in beside}
    are_parts = {
        folder: part
        for folder, part in named.items()
        if part != "train" and names & {inner.name for inner in inside[folder]}
    }
    notes = [
        f"{plain(folder.name)}/ has class folders named as those beside it, so it is the {part} set."
        for folder, part in are_parts.items()
    ]
    classes = [folder for folder in named if folder not in are_parts]
    notes += [
        f"{plain(folder.name)}/ has no class folders named as those beside it, so it is read as a class."
        for folder in classes
    ]
    train = sorted([*beside, *classes], key=lambda folder: folder.name)
    return _Found({"train": train, **_parts(are_parts)}, notes)


def _parts(named: Mapping[Path, str]) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    for folder, part in named.items():
        if part in found:
            raise DataError(
                f"a part must have one folder, but {plain(found[part][0].parent)} and {plain(folder)} are both the "
                f"{part} set; rename one"
            )
        found[part] = _class_folders(folder)
    return found


def _part_of(name: str) -> str | None:
    """Return the part that a folder's name stands for: "train", "validation" or "test"; None if it is no such name."""
    bare = name.lower().replace("_", "").replace("-", "").replace(" ", "")
    endings = (bare.removesuffix(ending) for ending in ("", *_ENDINGS))
    return next((_PARTS[shorter] for shorter in endings if shorter in _PARTS), None)


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


def _read_parts(parts: Mapping[str, list[Path]], root: Path) -> dict[str, Examples]:
    """Read the images of every part.

    Args:
        parts: name of the part -> its class folders.
        root: the folder that the user gave; notes name links that lead out of it.
    """
    check_apart([folder for inside in parts.values() for folder in inside])
    classes = {part: [find_images(part, folder) for folder in inside] for part, inside in parts.items()}
    kept = iter(drop_repeated([found for inside in classes.values() for found in inside]))
    return {
        part: _examples(parts[part][0].parent, inside, [next(kept) for _ in inside], root)
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
    """Return remarks for the user on how links were treated."""
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
