"""Reading the pickled files of two torchvision datasets, CIFAR and ImageNet, without running any code in them.

A pickle names functions, and reading it calls them. The reader in this file resolves no name to a function of a module,
so that only numbers, strings, lists and dictionaries can result. For CIFAR, the arrays of its images are read too, by
stand-in classes that only store their arguments. CIFAR's files are also read only if their MD5 is the published one.
"""

from __future__ import annotations

import hashlib
import io
import pickle
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Cifar(NamedTuple):
    """One part of CIFAR-10 or CIFAR-100, with the attribute names of torchvision's classes.

    Attributes:
        data: images, (N, 32, 32, 3) uint8.
        targets: N labels, indices into `classes`.
        classes: names of the classes.
    """

    data: NDArray[np.uint8]
    targets: list[int]
    classes: list[str]


class _StandIn:
    """A stand-in for an array of NumPy or its dtype that only stores its arguments and its state."""

    def __init__(self, *given: Any) -> None:
        self.given = given
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


def _as_bytes(text: str, _coding: str = "latin1") -> bytes:
    return text.encode("latin1")


_STAND_INS = {
    ("numpy.core.multiarray", "_reconstruct"): _StandIn,
    ("numpy._core.multiarray", "_reconstruct"): _StandIn,
    ("numpy", "ndarray"): _StandIn,
    ("numpy", "dtype"): _StandIn,
    ("_codecs", "encode"): _as_bytes,
}


class _Reader(pickle.Unpickler):
    def __init__(self, content: bytes, knows_arrays: bool) -> None:
        super().__init__(io.BytesIO(content), encoding="bytes")
        self._knows_arrays = knows_arrays

    def find_class(self, module: str, name: str) -> Any:
        if not (self._knows_arrays and (module, name) in _STAND_INS):
            raise ValueError(f"a file of data must not name {module}.{name}")
        return _STAND_INS[module, name]


def open_cifar(dataset: Any, root: str, *, train: bool, download: bool = False) -> Cifar:
    """Read a part of CIFAR from the files that torchvision downloads and whose hashes it knows.

    Args:
        dataset: torchvision's class, `CIFAR10` or `CIFAR100`.
        root: the folder that contains the dataset's folder of files.
        train: whether to read the training part, else the test part.
        download: whether to download files that are missing.

    Raises:
        OSError: a file is missing or cannot be read.
        ValueError: a file has another hash, or does not hold what it should.
    """
    files = dataset.__new__(dataset)  # uses its file names, hashes and download, but not its reading
    files.root = str(Path(root).expanduser())
    if download:
        files.download()
    folder = Path(files.root) / dataset.base_folder
    pixels, targets = [], []
    for name, md5 in dataset.train_list if train else dataset.test_list:
        entry = _table(folder / name, md5)
        pixels.append(_pixels(entry["data"]))
        targets += entry["labels"] if "labels" in entry else entry["fine_labels"]
    meta = _table(folder / dataset.meta["filename"], dataset.meta["md5"])
    classes = [name.decode() if isinstance(name, bytes) else str(name) for name in meta[dataset.meta["key"]]]
    data = np.concatenate(pixels).reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return Cifar(data, [int(target) for target in targets], classes)


def check_imagenet(root: Path) -> None:
    """Raise if the `meta.bin` of ImageNet, the table of classes that torchvision writes and loads, names any code.

    Args:
        root: the folder with `meta.bin`; nothing is checked if the file is missing.

    Raises:
        OSError: the file cannot be read.
        ValueError: the file names a function or a class.
    """
    file = root / "meta.bin"
    if file.exists():
        with zipfile.ZipFile(file) as archive:
            for name in archive.namelist():
                if name.endswith(".pkl"):
                    _Reader(archive.read(name), knows_arrays=False).load()


def _table(path: Path, md5: str | None) -> dict[str, Any]:
    content = path.read_bytes()
    if md5 is not None and hashlib.md5(content, usedforsecurity=False).hexdigest() != md5:
        raise ValueError(f"{path.name} is not the published file, its hash is another")
    table = _Reader(content, knows_arrays=True).load()
    return {key.decode() if isinstance(key, bytes) else str(key): value for key, value in table.items()}


def _pixels(array: _StandIn) -> NDArray[np.uint8]:
    _, shape, kind, is_fortran, content = array.state
    if kind.given[0] not in ("u1", b"u1"):
        raise ValueError("the images of CIFAR must be bytes")
    return np.frombuffer(content, np.uint8).reshape(shape, order="F" if is_fortran else "C")
