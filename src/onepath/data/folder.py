"""Images in folders, one folder per class."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from onepath.data.examples import EncodedImages, Examples, Source, few, reason
from onepath.errors import DataError

SUFFIXES = frozenset(
    [".jpg", ".jpeg", ".jfif", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm"]
)
_PARTS = {
    "train": ("train", "training"),
    "validation": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}


def read_folder(path: Path) -> Source:
    """A folder of class folders, or a folder with `train/` and `test/` or `val/`, each holding class folders.

    With both `test/` and `val/`, `val/` is the validation set; with `val/` alone, it is the test set. Images may lie
    at any depth inside a class folder. Hidden folders and files, and files that are no images by their suffix, are
    passed over.

    Raises:
        DataError: no class folders, or one of them without an image.
    """
    parts = _find_parts(path)
    if "train" not in parts:
        if parts:
            raise DataError(
                f"a folder with {' and '.join(sorted(f'{found.name}/' for found in parts.values()))} must also have "
                f"train/, but {path} has not; add it, or give the folder as test data"
            )
        return Source(path.resolve().name, _read_classes(path))
    train = _read_classes(parts["train"])
    validation = _read_classes(parts["validation"]) if "validation" in parts else None
    test = _read_classes(parts["test"]) if "test" in parts else None
    notes: tuple[str, ...] = ()
    if test is None and validation is not None:
        validation, test = None, validation
        notes = (f"{parts['validation'].name}/ is the only other folder, so it is the test set.",)
    return Source(path.resolve().name, train, validation, test, notes)


def read_folder_test(path: Path) -> Examples:
    """The test images under a folder: its `test/`, else its `val/`, else its class folders."""
    parts = _find_parts(path)
    return _read_classes(parts.get("test", parts.get("validation", path)))


def _find_parts(path: Path) -> dict[str, Path]:
    by_name = {folder.name.lower(): folder for folder in _subfolders(path)}
    return {
        part: by_name[name] for part, names in _PARTS.items() for name in reversed(names) if name in by_name
    }


def _subfolders(path: Path) -> list[Path]:
    try:
        inside = sorted(path.iterdir(), key=lambda entry: entry.name)
    except OSError as error:
        raise DataError(
            f"a folder must be readable, but {path} is not ({reason(error)}); check its rights"
        ) from error
    return [entry for entry in inside if not entry.name.startswith((".", "__")) and entry.is_dir()]


def _read_classes(path: Path) -> Examples:
    folders = _subfolders(path)
    if not folders:
        loose = sum(Path(entry).suffix.lower() in SUFFIXES for entry in os.listdir(path))
        came = f"{path} has {loose} images and no folder" if loose else f"{path} has none"
        raise DataError(
            f"a folder of images must have one folder per class, but {came}; sort the images into folders"
        )
    files: list[str] = []
    labels: list[int] = []
    empty = []
    for label, folder in enumerate(folders):
        inside = _image_files(folder)
        files += inside
        labels += [label] * len(inside)
        if not inside:
            empty.append(folder.name)
    if empty:
        raise DataError(
            f"every class folder must have an image, but {len(empty)} of {len(folders)} in {path} have none "
            f"({few(empty)}); add images ({' '.join(sorted(SUFFIXES))}) or remove the folder"
        )
    images = EncodedImages(
        len(files), lambda index: Path(files[index]).read_bytes(), lambda index: files[index]
    )
    return Examples(str(path), images, np.array(labels, np.int64), tuple(folder.name for folder in folders))


def _image_files(folder: Path) -> list[str]:
    found = []
    for place, inner, names in os.walk(folder, followlinks=True):
        inner[:] = sorted(name for name in inner if not name.startswith("."))
        for name in sorted(names):
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in SUFFIXES:
                found.append(os.path.join(place, name))
    return found
