"""The two pickled files among torchvision's sets, read by a reader that runs nothing of what they say.

A pickle names functions and has them called. Here no name leads to a function of a module: numbers, strings, lists and
tables are all that can come out, and for CIFAR the arrays of its images, by stand-ins that hold what they are given.
CIFAR's files are moreover read only where their MD5 is the published one.
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
    """One part of CIFAR-10 or CIFAR-100, under the names that torchvision's class has.

    Attributes:
        data: (N, 32, 32, 3) uint8.
        targets: N labels.
        classes: their names.
    """

    data: NDArray[np.uint8]
    targets: list[int]
    classes: list[str]


class _StandIn:
    """What stands for an array of NumPy or its type: it keeps what it is made of."""

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
    """A part of CIFAR, from the files that torchvision downloads and whose hashes it knows.

    Args:
        dataset: torchvision's class, `CIFAR10` or `CIFAR100`.
        root: the folder with the folder of the files.
        train: the training or the test part.
        download: whether to download what is absent.

    Raises:
        OSError, ValueError: a file is absent, has another hash, or does not hold what it should.
    """
    files = dataset.__new__(dataset)  # its names and hashes and its download, without its reading
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
    """Refuse a `meta.bin`, the table of classes that torchvision writes and loads, that holds more than text.

    Raises:
        OSError, ValueError: it does.
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
