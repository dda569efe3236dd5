"""Images that come as arrays: the bundled digits, .npz files, and arrays in memory."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onepath.data.augment import Pixels
from onepath.data.examples import Examples, Source, encode_labels
from onepath.errors import DataError

MAX_CHANNELS = 16


def read_digits() -> Source:
    """The 1,797 handwritten digits of scikit-learn, 8x8, values 0 ... 16. No file is read beyond the package's own."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = bunch.images.astype(np.uint8)[..., None]
    names = tuple(str(name) for name in bunch.target_names)
    train = Examples("digits", images, bunch.target.astype(np.int64), names)
    return Source("digits", train, has_characters=True, full_scale=16.0)


def read_arrays(x: Any, y: Any, where: str = "the arrays") -> Source:
    """A pair of images and labels in memory; tensors and lists are taken as arrays.

    Args:
        x: (N, H, W), (N, H, W, C) or (N, C, H, W), integers 0 ... 255 or floats.
        y: (N,) integers or strings.
        where: the source, for messages.
    """
    images = check_images(np.asarray(x), where)
    labels, names = encode_labels(np.asarray(y), where)
    return Source("arrays", Examples(where, images, labels, names), full_scale=scale_of(images))


def read_npz(path: Path) -> Source:
    """An .npz with x_train and y_train, and where there is a test set x_test and y_test.

    Also read where present: `x_val`, `y_val` and `class_names`.

    Raises:
        DataError: the file is damaged, keys are missing, or an array is not one of images or labels.
    """
    arrays = _load(path)
    names = _class_names(arrays, path)
    train = _part(arrays, "train", path, names)
    validation = _part(arrays, "val", path, names) if "x_val" in arrays else None
    test = _part(arrays, "test", path, names) if "x_test" in arrays else None
    return Source(path.stem, train, validation, test, full_scale=scale_of(train.images))


def read_npz_test(path: Path) -> Examples:
    """The test images of an .npz: x_test and y_test, or x_train and y_train if that is all it has."""
    arrays = _load(path)
    return _part(arrays, "test" if "x_test" in arrays else "train", path, _class_names(arrays, path))


def _load(path: Path) -> dict[str, NDArray[Any]]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {key: archive[key] for key in archive.files}
    except ValueError as error:
        if "pickle" in str(error) or "Object arrays" in str(error):
            raise DataError(
                f"arrays of an .npz must be plain numbers or strings, but {path} has an object array; it would have to be "
                f"unpickled, which can run code: save with a fixed dtype"
            ) from error
        raise DataError(
            f"an .npz must be readable by numpy.load, but {path} is not ({error}); save it again"
        ) from error
    except (OSError, EOFError, KeyError, zipfile.BadZipFile, AttributeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(
            f"an .npz must be readable by numpy.load, but {path} is not ({reason}); save it again"
        ) from error


def _class_names(arrays: dict[str, NDArray[Any]], path: Path) -> tuple[str, ...] | None:
    if "class_names" not in arrays:
        return None
    names = arrays["class_names"]
    if names.ndim != 1 or names.dtype.kind not in "US":
        raise DataError(
            f"class_names must be a list of strings, but in {path} it is {names.dtype} of shape {names.shape}"
        )
    return tuple(str(name) for name in names.astype(str))


def _part(arrays: dict[str, NDArray[Any]], part: str, path: Path, names: tuple[str, ...] | None) -> Examples:
    missing = [key for key in (f"x_{part}", f"y_{part}") if key not in arrays]
    if missing:
        raise DataError(
            f"an .npz must hold x_train and y_train (and x_test, y_test for a test set), but {path} lacks "
            f"{' and '.join(missing)}; it holds {', '.join(sorted(arrays)) or 'nothing'}"
        )
    images = check_images(arrays[f"x_{part}"], f"x_{part} of {path}")
    labels, names = encode_labels(arrays[f"y_{part}"], f"y_{part} of {path}", names)
    return Examples(f"{path} ({part})", images, labels, names)


def check_images(array: NDArray[Any], where: str) -> Pixels:
    """Check an array of images and put the channels last.

    The channels are the shorter one of the first and the last axis of an image, the last one if they are equal; at
    most 16.

    Returns:
        (N, H, W, C): uint8 for integers, which must be 0 ... 255; float32 for floats, which must be finite.

    Raises:
        DataError: another dtype, shape or range.
    """
    if array.dtype.kind not in "iuf":
        raise DataError(f"images must be uint8 or float, but {where} has dtype {array.dtype}; convert them")
    if array.ndim not in (3, 4) or 0 in array.shape[1:]:
        raise DataError(
            f"images must have shape (N, H, W), (N, H, W, C) or (N, C, H, W), but {where} has shape {array.shape}; "
            f"reshape them"
        )
    if array.ndim == 3:
        array = array[..., None]
    elif array.shape[1] < array.shape[3] and array.shape[1] <= MAX_CHANNELS:
        array = array.transpose(0, 2, 3, 1)
    if array.shape[3] > MAX_CHANNELS:
        raise DataError(
            f"number of channels <= {MAX_CHANNELS} must hold, but {where} has shape {array.shape}; put the channels first "
            f"or last"
        )
    return _as_pixels(array, where)


def _as_pixels(array: NDArray[Any], where: str) -> Pixels:
    if array.dtype.kind == "f":
        floats = np.ascontiguousarray(array, dtype=np.float32)
        finite = np.isfinite(floats).reshape(len(floats), -1).all(axis=1)
        if not finite.all():
            raise DataError(
                f"pixels must be finite, but {int((~finite).sum())} images of {where} are not, the first in row "
                f"{int(finite.argmin())}; leave them out"
            )
        return floats
    if array.dtype != np.uint8 and array.size and (array.min() < 0 or array.max() > 255):
        raise DataError(
            f"integer pixels must be 0 ... 255, but {where} has {array.min()} ... {array.max()}; convert to float or rescale"
        )
    return np.ascontiguousarray(array, dtype=np.uint8)


def scale_of(images: object) -> float:
    """The raw value that counts as 1: 1 for floats, 255 for everything else."""
    return 1.0 if isinstance(images, np.ndarray) and images.dtype == np.float32 else 255.0


def is_pair(source: object) -> bool:
    """Whether `source` is an (x, y) pair."""
    return isinstance(source, Sequence) and not isinstance(source, str | bytes) and len(source) == 2
