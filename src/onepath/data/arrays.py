"""Reading images and sequences from arrays: the digits of scikit-learn, .npz files, and arrays in memory."""

from __future__ import annotations

import math
import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.lib import format as npy
from numpy.typing import NDArray

from onepath.data.augment import Pixels
from onepath.data.bounds import check_memory, check_unfolding
from onepath.data.examples import Examples, Source, reason
from onepath.data.labels import encode_labels, one_label_each, texts
from onepath.data.layout import Axis, Kind, Layout, find_layout
from onepath.data.scale import Values, values_of
from onepath.errors import DataError, plain, shown

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
    """Return the 1,797 handwritten digits that come with scikit-learn: 8x8, grey, values 0 ... 16."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = bunch.images.astype(np.uint8)[..., None]
    names = tuple(str(name) for name in bunch.target_names)
    return Source(
        "digits",
        Examples(
            "digits",
            images,
            bunch.target.astype(np.int64),
            names,
            values=Values("uint8", 0.0, 16.0, full_scale=16.0),
        ),
    )


def read_arrays(
    x: Any, y: Any, where: str = "the arrays", *, channels: Axis | None = None, kind: Kind | None = None
) -> Source:
    """Return images or sequences in memory and their labels as a source with training data only.

    Tensors, lists and columns of tables are converted to arrays.

    Args:
        x: images (N, H, W), (N, H, W, C) or (N, C, H, W), or sequences (N, C, T), (N, T, C) or (N, T); whole numbers,
            floats or truth values.
        y: labels (N,), see `encode_labels`, or one-hot rows (N, K).
        where: name of the source, for messages.
        channels: see `find_layout`.
        kind: see `find_layout`.

    Raises:
        DataError: x or y cannot be converted to an array, or does not hold images, sequences or labels.
    """
    try:
        arrays = _as_array(x), _as_array(y)
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(
            f"x and y must be arrays, but {where} cannot be made so ({reason(error)}); convert them"
        ) from error
    return Source("arrays", _examples(*arrays, where, f"x of {where}", f"y of {where}", None, channels, kind))


def _as_array(given: Any) -> NDArray[Any]:
    if isinstance(given, torch.Tensor):
        given = given.detach().cpu()
        given = given.float() if given.dtype == torch.bfloat16 else given
    return np.asarray(given)


def _examples(
    x: NDArray[Any],
    y: NDArray[Any],
    where: str,
    where_x: str,
    where_y: str,
    names: tuple[str, ...] | None,
    channels: Axis | None,
    kind: Kind | None,
) -> Examples:
    layout, values = look_at(x, where_x, channels, kind)
    pixels = check_images(x, where_x, layout)
    numbers, remarks = one_label_each(y, where_y)
    labels, names = encode_labels(numbers, where_y, names)
    notes = [*([layout.note] if layout.note else []), *_note_on_values(values, x.dtype), *remarks]
    return Examples(
        where,
        pixels,
        labels,
        names,
        values=values,
        kind=layout.kind,
        channels=layout.channels,
        notes=tuple(notes),
    )


def _note_on_values(values: Values, dtype: np.dtype[Any]) -> list[str]:
    if values.kind != "integer" or values.unit in (1.0, 255.0):
        return []
    return [f"Values are {values} of type {dtype}, read as they are; {values.scale:,.0f} counts as 1."]


def read_npz(path: Path, *, channels: Axis | None = None, kind: Kind | None = None) -> Source:
    """Read an .npz with x_train and y_train.

    The arrays `x_test`, `y_test`, `x_val`, `y_val` and `class_names` are read too if the file has them.

    Raises:
        DataError: the file is damaged, arrays are missing, an array does not hold images, sequences or labels, or the
            arrays would take more than half of the memory.
    """
    arrays = _load(path)
    names = _class_names(arrays, path)
    train = _part(arrays, "train", path, names, channels, kind)
    kind = train.kind
    validation = test = None
    if {"x_val", "y_val"} & set(arrays):
        validation = _part(arrays, "val", path, names, channels, kind)
    if {"x_test", "y_test"} & set(arrays):
        test = _part(arrays, "test", path, names, channels, kind)
    return Source(plain(path.stem), train, validation, test)


def read_npz_test(path: Path, *, channels: Axis | None = None, kind: Kind | None = None) -> Examples:
    """Read the test images of an .npz: x_test and y_test, or x_train and y_train if it has no x_test.

    Raises:
        DataError: see `read_npz`.
    """
    arrays = _load(path)
    part = "test" if "x_test" in arrays else "train"
    return _part(arrays, part, path, _class_names(arrays, path), channels, kind)


def _load(path: Path) -> dict[str, NDArray[Any]]:
    """Return the arrays whose names have a meaning, after their headers have been checked against the memory."""
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
    """Return one array of an archive; its header is checked before the rest is unpacked, and nothing is unpickled."""
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


def _part(
    arrays: dict[str, NDArray[Any]],
    part: str,
    path: Path,
    names: tuple[str, ...] | None,
    channels: Axis | None,
    kind: Kind | None,
) -> Examples:
    missing = [key for key in (f"x_{part}", f"y_{part}") if key not in arrays]
    if missing:
        raise DataError(
            f"an .npz must hold x_train and y_train (and x_test, y_test for a test set), but {plain(path)} lacks "
            f"{' and '.join(missing)}; it holds {', '.join(sorted(arrays))}"
        )
    x, y = f"x_{part}", f"y_{part}"
    places = f"{plain(path)} ({part})", f"{x} of {plain(path)}", f"{y} of {plain(path)}"
    return _examples(arrays[x], arrays[y], *places, names, channels, kind)


def look_at(
    array: NDArray[Any], where: str, channels: Axis | None = None, kind: Kind | None = None
) -> tuple[Layout, Values]:
    """Return the layout of an array of images or sequences, and the range and type of its values.

    Args:
        array: images or sequences, N of them in the first dimension.
        where: name of the source, for messages.
        channels: see `find_layout`.
        kind: see `find_layout`.

    Raises:
        DataError: the array holds something other than real numbers, or its shape is none of images or sequences.
    """
    if array.dtype.kind not in "biuf":
        raise DataError(
            f"images must be numbers or truth values, but {where} has dtype {shown(array.dtype)}; convert them"
        )
    values = values_of(array)
    return find_layout(array.shape, values, channels, kind, where), values


def check_images(array: NDArray[Any], where: str, layout: Layout | None = None) -> Pixels:
    """Check an array of images or sequences, and return it with the channels last.

    Args:
        array: images or sequences as whole numbers, floats or truth values.
        where: name of the source, for messages.
        layout: how the axes are read; None: as `find_layout` guesses.

    Returns:
        Images (N, H, W, C) or sequences (N, 1, T, C), contiguous: uint8 for whole numbers of 0 ... 255 and for truth
        values, else float32. It may share its memory with `array`.

    Raises:
        DataError: the dtype or the shape is another, or a value is NaN or infinite.
    """
    layout = look_at(array, where)[0] if layout is None else layout
    if layout.channels is None:
        array = array[..., None]
    elif layout.channels == "first":
        array = np.moveaxis(array, 1, -1)
    if layout.kind == "sequence":
        array = array[:, None]
    if array.dtype.kind == "b" or (array.dtype.kind in "iu" and _are_bytes(array)):
        return np.ascontiguousarray(array, dtype=np.uint8)
    floats = np.ascontiguousarray(array, dtype=np.float32)
    finite = np.isfinite(floats).reshape(len(floats), -1).all(axis=1)
    if not finite.all():
        raise DataError(
            f"pixels must be finite, but {int((~finite).sum())} images of {where} have NaN or infinite ones, the "
            f"first in row {int(finite.argmin())}; leave them out"
        )
    return floats


def _are_bytes(array: NDArray[Any]) -> bool:
    return array.dtype == np.uint8 or not array.size or (array.min() >= 0 and array.max() <= 255)
