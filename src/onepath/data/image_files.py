"""Finding the image files below class folders, each file once, also if there are links.

A link to a file counts as an image, wherever it leads. A link to a folder inside a class folder is not followed: it
may lead back, and a loop would give every image many times. A class folder may itself be a link, unless one class
folder then lies in another. If one file is found several times, one of its places is kept: a real file is preferred to
a link, then test data to validation data and these to training data, then the first place.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from onepath.data.bounds import kind_of
from onepath.data.examples import reason
from onepath.errors import DataError, plain

SUFFIXES = frozenset(
    [".jpg", ".jpeg", ".jfif", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm"]
)
_LATER = {"test": 0, "validation": 1}


class ClassFolder(NamedTuple):
    """The images of one class in one part of the data.

    Attributes:
        part: "train", "validation" or "test".
        folder: the class folder.
        files: paths of the images, in order.
        links: for each image, whether its path is a link.
        inodes: for each image, the inode number of its path; for a link, the number of the link itself.
        unfollowed: paths of links to folders, which are not followed.
    """

    part: str
    folder: Path
    files: list[str]
    links: list[bool]
    inodes: list[int]
    unfollowed: list[str]


def find_images(part: str, folder: Path) -> ClassFolder:
    """Find the image files at any depth below a class folder, without hidden ones.

    In each folder, files come before subfolders, and both are sorted by name.

    Args:
        part: the part of the data, "train", "validation" or "test".
        folder: the class folder.

    Raises:
        DataError: a folder cannot be read, or a pipe, a device or a link to nothing has the suffix of an image.
    """
    found = ClassFolder(part, folder, [], [], [], [])
    waiting = [str(folder)]
    while waiting:
        place = waiting.pop()
        inner = []
        for entry in _entries(place):
            is_link = entry.is_symlink()
            if entry.is_dir(follow_symlinks=False):
                inner.append(entry.path)
            elif is_link and os.path.isdir(entry.path):
                found.unfollowed.append(entry.path)
            elif os.path.splitext(entry.name)[1].lower() in SUFFIXES:
                if not (entry.is_file(follow_symlinks=False) or os.path.isfile(entry.path)):
                    raise DataError(
                        f"an image must be a file, but {plain(entry.path)} is {_kind(entry)}; remove it"
                    )
                found.files.append(entry.path)
                found.links.append(is_link)
                found.inodes.append(entry.inode())
        waiting += reversed(inner)
    return found


def _entries(place: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(place) as inside:
            entries = [entry for entry in inside if not entry.name.startswith(".")]
    except OSError as error:
        raise DataError(
            f"a folder must be readable, but {plain(place)} is not ({reason(error)}); check its rights"
        ) from error
    return sorted(entries, key=lambda entry: entry.name)


def _kind(entry: os.DirEntry[str]) -> str:
    try:
        return kind_of(entry.stat().st_mode) or "unreadable"
    except OSError as error:
        return f"a link that leads nowhere ({error.strerror})"


def check_apart(folders: Sequence[Path]) -> None:
    """Raise if two class folders are the same folder or one lies in the other, which only links make possible.

    Raises:
        DataError: there are two such folders.
    """
    real = sorted((Path(os.path.realpath(folder)).parts, str(folder)) for folder in folders)
    for (outer, first), (inner, second) in itertools.pairwise(real):
        if inner[: len(outer)] == outer:
            raise DataError(
                f"a class folder must not be or hold another one, but {plain(first)} is or holds {plain(second)}; "
                f"remove the link"
            )


def drop_repeated(classes: Sequence[ClassFolder]) -> list[tuple[list[str], list[str]]]:
    """Keep every file once, even if several paths lead to it.

    Args:
        classes: the class folders of all parts.

    Returns:
        For each class folder (paths that are kept, paths that are left out because the same file is kept elsewhere).

    Raises:
        DataError: a file lies in two classes, and both paths are real files or both are links.
    """
    repeated = _repeated(classes)
    places = [
        (is_link, _LATER.get(found.part, 2), number, position)
        for number, found in enumerate(classes)
        for position, is_link in enumerate(found.links)
        if found.files[position] in repeated
    ]
    taken: dict[tuple[int, int], tuple[bool, str, str]] = {}
    left_out: list[set[str]] = [set() for _ in classes]
    for is_link, _, number, position in sorted(places):
        found = classes[number]
        file = found.files[position]
        name = found.folder.name
        key = repeated[file]
        if key not in taken:
            taken[key] = (is_link, name, file)
            continue
        also_link, other_name, other = taken[key]
        if name != other_name and is_link == also_link:
            raise DataError(
                f"an image must have one class, but {plain(other)} and {plain(file)} are one file; remove one"
            )
        left_out[number].add(file)
    return [
        ([file for file in found.files if file not in out], [file for file in found.files if file in out])
        for found, out in zip(classes, left_out, strict=True)
    ]


def _repeated(classes: Sequence[ClassFolder]) -> dict[str, tuple[int, int]]:
    """Return path -> (device, inode) for the paths that may share a file with another path."""
    if any(any(found.links) for found in classes):
        return identities(file for found in classes for file in found.files)
    # Without links, only paths with equal inodes can be one file, and these numbers are known already.
    inodes = np.array([inode for found in classes for inode in found.inodes], dtype=np.uint64)
    _, inverse, counts = np.unique(inodes, return_inverse=True, return_counts=True)
    files = [file for found in classes for file in found.files]
    return identities(files[index] for index in np.flatnonzero(counts[inverse] > 1).tolist())


def identities(files: Iterable[str]) -> dict[str, tuple[int, int]]:
    """Return path -> (device, inode) of the file that the path leads to; paths that cannot be read are left out."""
    found = {}
    for file in files:
        try:
            status = os.stat(file)
        except OSError:
            continue
        found[file] = (status.st_dev, status.st_ino)
    return found


def leads_out(link: str, root: Path) -> bool:
    """Return whether the path `link` leads to a place outside the folder `root`."""
    return not Path(os.path.realpath(link)).is_relative_to(os.path.realpath(root))
