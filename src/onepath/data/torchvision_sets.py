"""Torchvision's classification datasets by their names."""

from __future__ import annotations

import contextlib
import inspect
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from onepath.data.arrays import check_images
from onepath.data.examples import EncodedImages, Examples, Source, reason
from onepath.data.labels import encode_labels
from onepath.errors import DataError

Arguments = dict[str, object]

# Arguments of the training, validation and test parts, where they are not train=True / train=False and not
# split="train" / split="test".
_PARTS: dict[str, tuple[Arguments, Arguments | None, Arguments | None]] = {
    "EMNIST": ({"split": "balanced", "train": True}, None, {"split": "balanced", "train": False}),
    "QMNIST": ({"train": True}, None, {"train": False}),
    "ImageNet": ({"split": "train"}, None, {"split": "val"}),
    "Imagenette": ({"split": "train"}, None, {"split": "val"}),
    "CLEVRClassification": ({"split": "train"}, None, {"split": "val"}),
    "Places365": ({"split": "train-standard", "small": True}, None, {"split": "val", "small": True}),
    "OxfordIIITPet": ({"split": "trainval"}, None, {"split": "test"}),
    "DTD": ({"split": "train"}, {"split": "val"}, {"split": "test"}),
    "Flowers102": ({"split": "train"}, {"split": "val"}, {"split": "test"}),
    "FGVCAircraft": ({"split": "train"}, {"split": "val"}, {"split": "test"}),
    "PCAM": ({"split": "train"}, {"split": "val"}, {"split": "test"}),
    "RenderedSST2": ({"split": "train"}, {"split": "val"}, {"split": "test"}),
    "Country211": ({"split": "train"}, {"split": "valid"}, {"split": "test"}),
}
_ONE_PART = ("Caltech101", "Caltech256", "EuroSAT", "SEMEION", "SUN397")
_USUAL = ("CIFAR10", "CIFAR100", "MNIST", "FashionMNIST", "KMNIST", "USPS", "SVHN", "STL10", "GTSRB", "Food101",
          "FER2013", "StanfordCars", "LFWPeople")  # fmt: skip
KNOWN_NAMES = tuple(sorted(name.lower() for name in (*_PARTS, *_ONE_PART, *_USUAL)))


def find_dataset(name: str) -> type | None:
    """Torchvision's dataset class of that name, whatever its case, hyphens and underscores; None: there is none."""
    from torchvision import datasets

    wanted = _plain(name)
    for candidate in datasets.__all__:
        found = getattr(datasets, candidate)
        if (
            _plain(candidate) == wanted
            and inspect.isclass(found)
            and "root" in inspect.signature(found).parameters
        ):
            return found
    return None


def _plain(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "")


def read_torchvision(dataset: type, root: str | Path | None) -> Source:
    """All parts of a torchvision dataset. Files that are absent are downloaded to `root`.

    Raises:
        DataError: no root, files that are absent and cannot be downloaded, or a dataset without one label per image.
    """
    train, validation, test = _arguments(dataset)
    name = dataset.__name__.lower()
    return Source(
        name,
        _read_part(dataset, root, train),
        None if validation is None else _read_part(dataset, root, validation),
        None if test is None else _read_part(dataset, root, test),
    )


def read_torchvision_test(dataset: type, root: str | Path | None) -> Examples:
    """The test part of a torchvision dataset, or all of it where it has only one."""
    train, _, test = _arguments(dataset)
    return _read_part(dataset, root, train if test is None else test)


def _arguments(dataset: type) -> tuple[Arguments, Arguments | None, Arguments | None]:
    if dataset.__name__ in _PARTS:
        return _PARTS[dataset.__name__]
    if dataset.__name__ not in _ONE_PART:
        parameters = inspect.signature(dataset).parameters
        if "train" in parameters:
            return {"train": True}, None, {"train": False}
        if "split" in parameters:
            return {"split": "train"}, None, {"split": "test"}
    return {}, None, None


def _read_part(dataset: type, root: str | Path | None, arguments: Arguments) -> Examples:
    name = dataset.__name__.lower()
    if root is None:
        raise DataError(
            f"a torchvision dataset needs a root folder, but {name} came without; give root (--data-root)"
        )
    opened = _open(dataset, Path(root), arguments)
    shown = ", ".join(f"{key}={value}" for key, value in arguments.items())
    where = f"{name} ({shown})" if shown else name
    labels = _labels(opened, name)
    encoded, names = encode_labels(labels, f"labels of {where}", _class_names(opened, labels))
    pixels: Any = getattr(opened, "data", None)
    if isinstance(pixels, np.ndarray | Tensor) and pixels.ndim in (3, 4):
        return Examples(where, check_images(np.asarray(pixels), where), encoded, names)
    images = EncodedImages(
        len(labels), lambda index: _image(opened, index), lambda index: f"image {index} of {where}"
    )
    return Examples(where, images, encoded, names)


def _open(dataset: Any, root: Path, arguments: Arguments) -> Any:
    """The dataset as torchvision opens it, after a download if that is what it needs."""
    name = dataset.__name__.lower()
    parameters = inspect.signature(dataset).parameters
    can_download = "download" in parameters or name in ("emnist", "qmnist")
    with contextlib.redirect_stdout(sys.stderr), warnings.catch_warnings():
        # Old pickles of CIFAR make NumPy warn; nothing that a user could change.
        warnings.simplefilter("ignore")
        try:
            return dataset(root=str(root), **arguments, **({"download": False} if can_download else {}))
        except TypeError as error:
            raise _not_classification(name) from error
        except (OSError, RuntimeError, ValueError, EOFError, ImportError) as error:
            absent = error
        if not can_download:
            raise DataError(
                f"the files of {name} must lie under the root folder, but in {root} they do not ({reason(absent)}); "
                f"torchvision cannot download them: put them there"
            ) from absent
        try:
            return dataset(root=str(root), **arguments, download=True)
        except (OSError, RuntimeError, ValueError, EOFError, ImportError) as error:
            raise DataError(
                f"the files of {name} must lie under the root folder, but in {root} they do not, and the download "
                f"failed ({reason(error)}); put them there, or try again with a connection"
            ) from error


def _labels(opened: Any, name: str) -> np.ndarray[Any, Any]:
    """Integer labels, without decoding images where the dataset keeps them."""
    first = opened[0]
    if not (isinstance(first, tuple) and len(first) == 2 and isinstance(first[0], Image.Image)):
        raise _not_classification(name)
    if not isinstance(first[1], int | np.integer):
        raise _not_classification(name)
    for attribute in ("targets", "labels", "_labels", "y"):
        kept = getattr(opened, attribute, None)
        if kept is not None and len(kept) == len(opened) and int(kept[0]) == first[1]:
            return np.asarray(kept)
    for attribute in ("samples", "_samples"):
        kept = getattr(opened, attribute, None)
        if kept is not None and len(kept) == len(opened) and kept[0][1] == first[1]:
            return np.array([label for _, label in kept])
    return np.array([opened[index][1] for index in range(len(opened))])


def _image(opened: Any, index: int) -> Image.Image:
    image: Image.Image = opened[index][0]
    return image


def _class_names(opened: Any, labels: np.ndarray[Any, Any]) -> tuple[str, ...] | None:
    for attribute in ("classes", "categories"):
        names = getattr(opened, attribute, None)
        if isinstance(names, list | tuple) and len(names) == int(labels.max()) + 1:
            # ImageNet gives every class a tuple of synonyms.
            return tuple(str(name[0] if isinstance(name, tuple) else name) for name in names)
    return None


def _not_classification(name: str) -> DataError:
    return DataError(
        f"a torchvision dataset must give one image with one integer label at a time, but {name} does not; known "
        f"to work are {', '.join(KNOWN_NAMES)}"
    )
