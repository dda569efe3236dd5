"""Reading torchvision's classification datasets by their names.

Only the datasets in `KNOWN_NAMES` are opened, because reading their files here runs no code in them. MNIST and similar
datasets are read from their original files, not from torchvision's old pickled ones; CIFAR and the class names of
ImageNet by `onepath.data.pickled_files`; images by `onepath.data.decode`; MATLAB tables by SciPy. An archive is
unpacked only if torchvision knows its hash. Some of the datasets that are not opened are LSUN (torchvision unpickles a
file of the working directory) and PCAM (HDF5 may load plugins and other files).
"""

from __future__ import annotations

import contextlib
import inspect
import os
import sys
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from onepath.data.arrays import check_images
from onepath.data.bounds import read_image_file
from onepath.data.examples import EncodedImages, Examples, Source, reason
from onepath.data.labels import encode_labels
from onepath.data.pickled_files import check_imagenet, open_cifar
from onepath.errors import DataError, plain

Arguments = dict[str, object]

# Arguments of the training, validation and test parts of datasets that use neither train=True / train=False nor
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
    "RenderedSST2": ({"split": "train"}, {"split": "val"}, {"split": "test"}),
    "Country211": ({"split": "train"}, {"split": "valid"}, {"split": "test"}),
}
_ONE_PART = ("Caltech101", "Caltech256", "EuroSAT", "SEMEION", "SUN397")
_USUAL = ("CIFAR10", "CIFAR100", "MNIST", "FashionMNIST", "KMNIST", "USPS", "SVHN", "STL10", "GTSRB", "Food101",
          "FER2013", "StanfordCars", "LFWPeople")  # fmt: skip
_KNOWN = {name.lower(): name for name in (*_PARTS, *_ONE_PART, *_USUAL)}
KNOWN_NAMES = tuple(sorted(_KNOWN))
# Function to the path of an image, for classes that open images themselves; other classes accept a loader.
_FILES: Mapping[str, Callable[[Any, int], object]] = {
    "Caltech101": lambda opened, index: Path(
        opened.root,
        "101_ObjectCategories",
        opened.categories[opened.y[index]],
        f"image_{opened.index[index]:04d}.jpg",
    ),
    "Caltech256": lambda opened, index: Path(
        opened.root,
        "256_ObjectCategories",
        opened.categories[opened.y[index]],
        f"{opened.y[index] + 1:03d}_{opened.index[index]:04d}.jpg",
    ),
    "GTSRB": lambda opened, index: opened._samples[index][0],
    "OxfordIIITPet": lambda opened, index: opened._images[index],
}
_WITHOUT_HASH = ("FGVCAircraft",)
_UNSAFE = {
    "lsun": "torchvision unpickles a file of the working directory for it, which can run code",
    "pcam": "it is read by HDF5, which can load plugins and other files",
}


def find_dataset(name: str) -> type | None:
    """Return torchvision's dataset class of a name, or None if no dataset of `KNOWN_NAMES` has that name.

    Upper and lower case, hyphens and underscores make no difference.
    """
    found = _KNOWN.get(_plain(name))
    if found is None:
        return None
    from torchvision import datasets

    dataset: type = getattr(datasets, found)
    return dataset


def check_outside(name: str) -> None:
    """Raise if a name is that of a torchvision dataset that is not read; the message says why it is not.

    Raises:
        DataError: the name is that of a dataset outside `KNOWN_NAMES`.
    """
    from torchvision import datasets

    wanted = _plain(name)
    if wanted in _UNSAFE:
        raise DataError(
            f"a torchvision dataset must be safe to open, but {wanted} is not: {_UNSAFE[wanted]}; give a folder of "
            f"its images"
        )
    if any(_plain(other) == wanted for other in datasets.__all__):
        raise _not_classification(wanted)


def _plain(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "")


def read_torchvision(dataset: type, root: str | Path | None) -> Source:
    """Read all parts of a torchvision dataset.

    Args:
        dataset: torchvision's class, see `find_dataset`.
        root: folder of the dataset's files; missing files are downloaded to it.

    Raises:
        DataError: there is no root, files are missing and cannot be downloaded, or the dataset does not have one label
            per image.
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
    """Read the test part of a torchvision dataset, or all of it if it has only one part; see `read_torchvision`."""
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
    if root is None or not str(root).strip():
        raise DataError(
            f"a torchvision dataset needs a root folder, but {name} came without; give root (--data-root)"
        )
    opened = _open(dataset, Path(root).expanduser(), arguments)
    _check_depth(opened, name)
    said = ", ".join(f"{key}={value}" for key, value in arguments.items())
    where = f"{name} ({said})" if said else name
    try:
        labels = _labels(opened, dataset.__name__)
        names = _class_names(opened, labels)
    except (OSError, ValueError, TypeError, LookupError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(
            f"the files of {name} must hold labelled images, but in {plain(root)} they do not ({reason(error)}); "
            f"download them anew"
        ) from error
    encoded, names = encode_labels(labels, f"labels of {where}", names)
    pixels: Any = getattr(opened, "data", None)
    if isinstance(pixels, np.ndarray | Tensor) and pixels.ndim in (3, 4):
        return Examples(where, check_images(np.asarray(pixels), where), encoded, names)
    images = EncodedImages(
        len(labels), _reader(opened, dataset.__name__), lambda index: f"image {index} of {where}"
    )
    return Examples(where, images, encoded, names)


def _open(dataset: Any, root: Path, arguments: Arguments) -> Any:
    """Return the dataset opened by torchvision, after a download if its files are missing."""
    name = dataset.__name__.lower()
    parameters = inspect.signature(dataset).parameters
    takes_download = "download" in parameters or name in ("emnist", "qmnist")
    can_download = takes_download and dataset.__name__ not in _WITHOUT_HASH
    with contextlib.redirect_stdout(sys.stderr), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return _opened(dataset, root, {**arguments, **({"download": False} if takes_download else {})})
        except Exception as error:  # noqa: BLE001  readers raise many types on missing or damaged files
            absent = error
        if not can_download:
            raise DataError(
                f"the files of {name} must lie under the root folder, but in {plain(root)} they do not "
                f"({reason(absent)}); torchvision cannot download them safely: put them there"
            ) from absent
        try:
            return _opened(dataset, root, {**arguments, "download": True})
        except Exception as error:
            raise DataError(
                f"the files of {name} must lie under the root folder, but in {plain(root)} they do not, and the "
                f"download failed ({reason(error)}); put them there, or try again with a connection"
            ) from error


def _opened(dataset: Any, root: Path, arguments: Arguments) -> Any:
    """Open the dataset in a way that runs no code in its files and decodes no image."""
    name = dataset.__name__
    if name in ("CIFAR10", "CIFAR100"):
        return open_cifar(dataset, str(root), **arguments)  # type: ignore[arg-type]
    if name == "ImageNet":
        check_imagenet(root)
    if hasattr(dataset, "_check_legacy_exist"):
        # Torchvision prefers pickled files of its old versions; this subclass does not. Its name is that of the folder.
        dataset = type(name, (dataset,), {"_check_legacy_exist": lambda _: False})
    takes_loader = "loader" in inspect.signature(dataset).parameters or name == "ImageNet"
    loader = {"loader": lambda path: read_image_file(str(path))} if takes_loader else {}
    return dataset(root=str(root), **arguments, **loader)


def _labels(opened: Any, name: str) -> np.ndarray[Any, Any]:
    """Return the integer labels, (N,); images are not decoded if the dataset keeps its labels apart."""
    keeps_pixels = isinstance(getattr(opened, "data", None), np.ndarray | Tensor)
    num = len(opened.data) if keeps_pixels else len(opened)
    if num == 0:
        raise DataError(
            f"number of images >= 1 must hold, but {name.lower()} has none; check the root folder"
        )
    first = None if keeps_pixels or name in _FILES else opened[0][1]
    if first is not None and not isinstance(first, int | np.integer):
        raise _not_classification(name.lower())
    for attribute in ("targets", "labels", "_labels", "y"):
        kept = getattr(opened, attribute, None)
        if kept is not None and len(kept) == num and first in (None, kept[0]):
            # QMNIST has the label in the first of eight columns.
            return np.asarray(kept)[:, 0] if name == "QMNIST" else np.asarray(kept)
    for attribute in ("samples", "_samples"):
        kept = getattr(opened, attribute, None)
        if kept is not None and len(kept) == num and first in (None, kept[0][1]):
            return np.array([label for _, label in kept])
    return np.array([opened[index][1] for index in range(num)])


def _check_depth(opened: Any, name: str) -> None:
    """Raise if images lie deeper than in their class folders, as they do after a link to a folder.

    Torchvision follows such links, and a loop of them repeats every image.
    """
    samples = getattr(opened, "samples", None) or getattr(opened, "_samples", None) or ()
    outer = {os.path.dirname(os.path.dirname(path)) for path, _ in samples if isinstance(path, str)}
    if len(outer) > 1:
        raise DataError(
            f"images of {name} must lie directly in their class folders, but some lie deeper, in "
            f"{plain(max(outer, key=len))}; remove what does not belong there, such as links"
        )


def _reader(opened: Any, name: str) -> Callable[[int], bytes | Image.Image]:
    if name in _FILES:
        return lambda index: read_image_file(str(_FILES[name](opened, index)))
    return lambda index: opened[index][0]


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
