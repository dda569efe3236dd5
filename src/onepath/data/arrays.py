"""Images that come as arrays: the bundled digits, .npz files, and arrays in memory."""

from __future__ import annotations

import math
import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from onepath.data.augment import Pixels
from onepath.data.bounds import check_memory, check_unfolding
from onepath.data.examples import Examples, Source, reason
from onepath.data.labels import encode_labels, texts
from onepath.errors import DataError, plain, shown

MAX_CHANNELS = 16
_UNREADABLE = (
    OSError,
    ValueError,
    TypeError,
    EOFError,
    LookupError,
    SyntaxError,
    RuntimeError,
    MemoryError,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)
_KEYS = ("x_train", "y_train", "x_val", "y_val", "x_test", "y_test", "class_names")


def read_digits() -> Source:
    """The 1,797 handwritten digits that come with scikit-learn: 8x8, grey, values 0 ... 16."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = bunch.images.astype(np.uint8)[..., None]
    names = tuple(str(name) for name in bunch.target_names)
    return Source("digits", Examples("digits", images, bunch.target.astype(np.int64), names, full_scale=16.0))


def read_arrays(x: Any, y: Any, where: str = "the arrays") -> Source:
    """A pair of images and labels in memory; tensors and lists are taken as arrays.

    Args:
        x: (N, H, W), (N, H, W, C) or (N, C, H, W), integers 0 ... 255 or floats.
        y: (N,) integers or strings.
        where: the source, for messages.
    """
    try:
        arrays = np.asarray(x), np.asarray(y)
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(
            f"x and y must be arrays, but {where} cannot be made so ({reason(error)}); convert them"
        ) from error
    images = check_images(arrays[0], f"x of {where}")
    labels, names = encode_labels(arrays[1], f"y of {where}")
    return Source("arrays", Examples(where, images, labels, names))


def read_npz(path: Path) -> Source:
    """An .npz with x_train and y_train, and where there is a test set x_test and y_test.

    Also read where present: `x_val`, `y_val` and `class_names`.

    Raises:
        DataError: the file is damaged, keys are missing, an array is not one of images or labels, or the arrays would
            take more than half of the memory.
    """
    arrays = _load(path)
    names = _class_names(arrays, path)
    train = _part(arrays, "train", path, names)
    validation = _part(arrays, "val", path, names) if {"x_val", "y_val"} & set(arrays) else None
    test = _part(arrays, "test", path, names) if {"x_test", "y_test"} & set(arrays) else None
    return Source(plain(path.stem), train, validation, test)


def read_npz_test(path: Path) -> Examples:
    """The test images of an .npz: x_test and y_test, or x_train and y_train if that is all it has."""
    arrays = _load(path)
    return _part(arrays, "test" if "x_test" in arrays else "train", path, _class_names(arrays, path))


def _load(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays that have a meaning, after their headers have been checked against what they may take."""
    where = plain(path)
    try:
        opened = zipfile.ZipFile(path)
    except (OSError, ValueError, zipfile.BadZipFile, NotImplementedError) as error:
        raise DataError(
            f"an .npz must be a zip archive as numpy.savez writes it, but {where} is not, or is cut short "
            f"({reason(error)}); save it again"
        ) from error
    try:
        with opened as archive:
            held = {
                info.filename.removesuffix(".npy"): info
                for info in archive.infolist()
                if info.filename.endswith(".npy")
            }
            known = {key: held[key] for key in _KEYS if key in held}
            check_memory(sum(info.file_size for info in known.values()), f"the arrays of {where}")
            arrays = {key: _array(archive, info, f"{key} of {where}") for key, info in known.items()}
    except DataError:
        raise
    except _UNREADABLE as error:
        raise DataError(
            f"an .npz must be readable by numpy.load, but {where} is not ({reason(error)}); save it again"
        ) from error
    if "x_train" not in arrays and "x_test" not in arrays:
        raise DataError(
            f"an .npz must hold x_train and y_train (and x_test, y_test for a test set), but {where} holds "
            f"{plain(', '.join(held)[:200], 200) or 'nothing'}; rename its arrays"
        )
    return arrays


def _array(archive: zipfile.ZipFile, info: zipfile.ZipInfo, where: str) -> NDArray[Any]:
    """One array of an archive: its header decides before the rest is unpacked, and nothing is unpickled."""
    is_encrypted = bool(info.flag_bits & 1)
    if is_encrypted or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise DataError(
            f"arrays of an .npz must be stored or deflated, but {where} is {'encrypted' if is_encrypted else 'not'}; "
            f"save it with numpy.savez or numpy.savez_compressed"
        )
    check_unfolding(info.compress_size, info.file_size, where)
    with archive.open(info) as file:
        version = npy.read_magic(file)
        read_header = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}.get(version)
        if read_header is None:
            raise ValueError(f"{info.filename} has version {version} of the format")
        shape, _, dtype = read_header(file)
        num_bytes = file.tell() + math.prod(shape) * dtype.itemsize
    if dtype.hasobject:
        raise DataError(
            f"arrays of an .npz must be plain numbers or strings, but {where} has an object array, which would have "
            f"to be unpickled and can run code; save with a fixed dtype"
        )
    if num_bytes != info.file_size or math.prod(shape) > info.file_size:
        raise ValueError(
            f"{info.filename} has {info.file_size:,} bytes, but its header says shape {shown(shape)}"
        )
    with archive.open(info) as file:
        array: NDArray[Any] = npy.read_array(file, allow_pickle=False)
    return array


def _class_names(arrays: dict[str, NDArray[Any]], path: Path) -> tuple[str, ...] | None:
    if "class_names" not in arrays:
        return None
    names = arrays["class_names"]
    if names.ndim != 1 or names.dtype.kind not in "US":
        raise DataError(
            f"class_names must be a list of strings, but in {plain(path)} it has dtype {shown(names.dtype)} and shape "
            f"{shown(names.shape)}; save one string per class"
        )
    return texts(names, f"class_names of {plain(path)}")


def _part(arrays: dict[str, NDArray[Any]], part: str, path: Path, names: tuple[str, ...] | None) -> Examples:
    missing = [key for key in (f"x_{part}", f"y_{part}") if key not in arrays]
    if missing:
        raise DataError(
            f"an .npz must hold x_train and y_train (and x_test, y_test for a test set), but {plain(path)} lacks "
            f"{' and '.join(missing)}; it holds {', '.join(sorted(arrays))}"
        )
    images = check_images(arrays[f"x_{part}"], f"x_{part} of {plain(path)}")
    labels, names = encode_labels(arrays[f"y_{part}"], f"y_{part} of {plain(path)}", names)
    return Examples(f"{plain(path)} ({part})", images, labels, names)


def check_images(array: NDArray[Any], where: str) -> Pixels:
    """Check an array of images and put the channels last.

    The channels are the shorter one of the first and the last axis of an image, the last one if they are equal; there
    are at most 16.

    Returns:
        (N, H, W, C): uint8 for integers, which must be 0 ... 255; float32 for floats, which must be finite.

    Raises:
        DataError: another dtype, shape or range.
    """
    if array.dtype.kind not in "iuf":
        raise DataError(
            f"images must be uint8 or float, but {where} has dtype {shown(array.dtype)}; convert them"
        )
    if array.ndim not in (3, 4) or 0 in array.shape[1:]:
        raise DataError(
            f"images must have shape (N, H, W), (N, H, W, C) or (N, C, H, W), but {where} has shape "
            f"{array.shape}; reshape them"
        )
    if array.ndim == 3:
        array = array[..., None]
    elif array.shape[1] < array.shape[3] and array.shape[1] <= MAX_CHANNELS:
        array = array.transpose(0, 2, 3, 1)
    if array.shape[3] > MAX_CHANNELS:
        raise DataError(
            f"number of channels <= {MAX_CHANNELS} must hold, but {where} has shape {array.shape}; put the channels "
            f"first or last"
        )
    return _as_pixels(array, where)


def _as_pixels(array: NDArray[Any], where: str) -> Pixels:
    if array.dtype.kind == "f":
        floats = np.ascontiguousarray(array, dtype=np.float32)
        finite = np.isfinite(floats).reshape(len(floats), -1).all(axis=1)
        if not finite.all():
            raise DataError(
                f"pixels must be finite, but {int((~finite).sum())} images of {where} have NaN or infinite ones, the "
                f"first in row {int(finite.argmin())}; leave them out"
            )
        return floats
    if array.dtype != np.uint8 and array.size and (array.min() < 0 or array.max() > 255):
        raise DataError(
            f"integer pixels must be 0 ... 255, but {where} has {array.min()} ... {array.max()}; rescale them or "
            f"convert them to float"
        )
    return np.ascontiguousarray(array, dtype=np.uint8)
