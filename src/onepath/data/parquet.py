"""Images in a .parquet file: a column of encoded bytes and a column of labels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onepath.data.examples import EncodedImages, Examples, Source, reason
from onepath.data.labels import encode_labels
from onepath.errors import DataError


def read_parquet(path: Path) -> Source:
    """A .parquet with the columns `image` (encoded bytes, bare or a struct with `bytes`) and `label`.

    Labels are integers or strings. Class names are taken from string labels, or from the ClassLabel feature that
    Hugging Face datasets write into the schema.

    Raises:
        DataError: the file is damaged, a column is missing, or its type is another.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        schema = pq.read_schema(path)
        missing = [column for column in ("image", "label") if column not in schema.names]
        if not missing:
            table = pq.read_table(path, columns=["image", "label"])
    except (pa.ArrowException, OSError) as error:
        raise DataError(
            f"a .parquet must be readable by pyarrow, but {path} is not ({reason(error)}); write it again"
        ) from error
    if missing:
        raise DataError(
            f"a .parquet must have the columns image and label, but {path} lacks {' and '.join(missing)}; it has "
            f"{', '.join(schema.names) or 'none'}: rename them"
        )
    images = _images(table["image"], path)
    labels, names = _labels(table["label"], path, _feature_names(schema.metadata))
    return Source(path.stem, Examples(str(path), images, labels, names))


def _images(column: Any, path: Path) -> EncodedImages:
    import pyarrow as pa

    kind = column.type
    if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
        column = pa.chunked_array(
            [chunk.field("bytes") for chunk in column.chunks], type=kind.field("bytes").type
        )
    kind = column.type
    if not (pa.types.is_binary(kind) or pa.types.is_large_binary(kind)):
        raise DataError(
            f"image must hold encoded bytes, bare or in a struct with `bytes`, but in {path} it is {kind}; store the "
            f"bytes of a JPEG or PNG file"
        )
    _refuse_nulls(column, "image", path)
    # One array per chunk, found by its first row: looking a row up in a chunked array is slow.
    chunks = [chunk for chunk in column.chunks if len(chunk)]
    firsts = np.cumsum([0, *(len(chunk) for chunk in chunks)])

    def read(index: int) -> bytes:
        chunk = int(np.searchsorted(firsts, index, side="right")) - 1
        value: bytes = chunks[chunk][index - int(firsts[chunk])].as_py()
        return value

    return EncodedImages(len(column), read, lambda index: f"row {index} of {path}")


def _labels(
    column: Any, path: Path, names: tuple[str, ...] | None
) -> tuple[NDArray[np.int64], tuple[str, ...] | None]:
    import pyarrow as pa

    _refuse_nulls(column, "label", path)
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return encode_labels(np.array(column.to_pylist(), dtype=np.str_), f"label of {path}")
    if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        raise DataError(
            f"labels must be integers or strings, but label of {path} is {column.type}; convert them"
        )
    return encode_labels(column.to_numpy(), f"label of {path}", names)


def _refuse_nulls(column: Any, name: str, path: Path) -> None:
    if column.null_count:
        row = column.is_null().to_pylist().index(True)
        raise DataError(
            f"every row must have {name}, but {column.null_count} of {len(column)} rows of {path} have none, "
            f"the first is row {row}; remove them"
        )


def _feature_names(metadata: dict[bytes, bytes] | None) -> tuple[str, ...] | None:
    """Names of the ClassLabel feature `label` in a Hugging Face schema, if there is one."""
    try:
        names = json.loads((metadata or {})[b"huggingface"])["info"]["features"]["label"]["names"]
    except (KeyError, ValueError, TypeError):
        return None
    return tuple(str(name) for name in names) if isinstance(names, list) else None
