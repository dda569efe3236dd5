"""Reading images from a .parquet file with a column of encoded bytes and a column of labels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onepath.data.bounds import check_memory, check_unfolding
from onepath.data.examples import EncodedImages, Examples, Source, reason
from onepath.data.labels import encode_labels
from onepath.errors import DataError, plain, shown

MAX_ROWS = 10**8  # seven times ImageNet-21k
_BATCH_ROWS = 256  # number of rows that are decoded between two checks of the memory


def read_parquet(path: Path) -> Source:
    """Read a .parquet with the columns `image` (encoded bytes, bare or in a struct with `bytes`) and `label`.

    Labels are whole numbers or strings. Class names are taken from string labels, or from the ClassLabel feature that
    Hugging Face datasets write into the schema.

    Raises:
        DataError: the file is damaged or too large, or a column is missing, has empty rows, or has another type.
    """
    where = plain(path)
    table = read_columns(path, ("image", "label"), "rename them")
    images = _images(table["image"], where)
    labels, names = _labels(table["label"], where, _feature_names(table.schema.metadata))
    return Source(plain(path.stem), Examples(where, images, labels, names))


def read_columns(path: Path, names: tuple[str, ...], advice: str, what: str = "a .parquet") -> Any:
    """Read columns of a .parquet as an Arrow table that keeps the metadata of the file.

    The size that the file states is checked first, and then the memory that the columns take while they are decoded:
    the file stores repeated values once, but each one takes memory when it is read.

    Args:
        path: the file.
        names: names of the columns.
        advice: what to do about a missing column, for the end of the message.
        what: what the file should be, for the start of messages.

    Raises:
        DataError: the file is damaged, takes more than half of the memory or unfolds too far, or a column is missing.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    where = plain(path)
    try:
        with pq.ParquetFile(path) as file:
            schema = file.schema_arrow
            wrong = [name for name in names if schema.names.count(name) != 1]
            if wrong:
                raise DataError(
                    f"{what} must have the columns {' and '.join(names)}, but {where} lacks {' and '.join(wrong)}; "
                    f"it has {plain(', '.join(schema.names)[:120]) or 'none'}: {advice}"
                )
            _check_said(file.metadata, names, path)
            batches, taken = [], 0
            for batch in file.iter_batches(_BATCH_ROWS, columns=list(names)):
                taken += batch.nbytes
                check_memory(taken, f"{' and '.join(names)} of {where}")
                check_unfolding(path.stat().st_size, taken, f"{' and '.join(names)} of {where}")
                batches.append(batch)
            fields = pa.schema([schema.field(name) for name in names], schema.metadata)
            return pa.Table.from_batches(batches, None if batches else fields).replace_schema_metadata(
                schema.metadata
            )
    except DataError:
        raise
    except (
        pa.ArrowException,
        OSError,
        ValueError,
        TypeError,
        LookupError,
        RuntimeError,
        MemoryError,
    ) as error:
        raise DataError(
            f"{what} must be readable by pyarrow, but {where} is not ({reason(error)}); write it again"
        ) from error


def _check_said(metadata: Any, names: tuple[str, ...], path: Path) -> None:
    """Raise if the file is too large by the sizes that it states itself."""
    where = plain(path)
    if metadata.num_rows > MAX_ROWS:
        raise DataError(
            f"number of rows <= {MAX_ROWS:,} must hold, but {where} says {metadata.num_rows:,}; split the data"
        )
    packed = unpacked = 0
    for group in map(metadata.row_group, range(metadata.num_row_groups)):
        for column in map(group.column, range(group.num_columns)):
            if column.path_in_schema.split(".")[0] in names:
                packed += max(0, column.total_compressed_size)
                unpacked += max(0, column.total_uncompressed_size)
    check_memory(unpacked, where)
    check_unfolding(min(packed, path.stat().st_size), unpacked, where)


def _images(column: Any, where: str) -> EncodedImages:
    import pyarrow as pa

    kind = column.type
    _refuse_nulls(column, "image", where)
    if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
        column = pa.chunked_array(
            [chunk.field("bytes") for chunk in column.chunks], type=kind.field("bytes").type
        )
        _refuse_nulls(column, "image", where)
    kind = column.type
    if not (pa.types.is_binary(kind) or pa.types.is_large_binary(kind)):
        raise DataError(
            f"image must hold encoded bytes, bare or in a struct with `bytes`, but in {where} it is {shown(kind)}; "
            f"store the bytes of a JPEG or PNG file"
        )
    # Keep the chunks with their first rows: looking a row up in a chunked array is slow.
    chunks = [chunk for chunk in column.chunks if len(chunk)]
    firsts = np.cumsum([0, *(len(chunk) for chunk in chunks)])

    def read(index: int) -> bytes:
        chunk = int(np.searchsorted(firsts, index, side="right")) - 1
        value: bytes = chunks[chunk][index - int(firsts[chunk])].as_py()
        return value

    return EncodedImages(len(column), read, lambda index: f"row {index} of {where}")


def _labels(
    column: Any, where: str, names: tuple[str, ...] | None
) -> tuple[NDArray[np.int64], tuple[str, ...] | None]:
    import pyarrow as pa

    types = pa.types
    place = f"label of {where}"
    _refuse_nulls(column, "label", where)
    kind = column.type.value_type if types.is_dictionary(column.type) else column.type
    if (
        types.is_string(kind)
        or types.is_large_string(kind)
        or types.is_binary(kind)
        or types.is_large_binary(kind)
    ):
        return _text_labels(column, place)
    if types.is_dictionary(column.type) and types.is_integer(kind):
        column = column.cast(kind)
        _refuse_nulls(column, "label", where)
    if not any(fits(column.type) for fits in (types.is_integer, types.is_floating, types.is_boolean)):
        raise DataError(
            f"labels must be integers or strings, but {place} is {shown(column.type)}; convert them"
        )
    return encode_labels(column.to_numpy(), place, names)


def _text_labels(column: Any, place: str) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Return labels (N,) and the class names of a column of strings.

    Only the distinct strings are read: in an array of all of them, each would take the room of the longest.
    """
    import pyarrow as pa

    try:
        # Each chunk has its own dictionary at first.
        encoded = column.dictionary_encode().unify_dictionaries()
        texts = encoded.chunk(0).dictionary.cast(pa.large_string()).to_pylist() if encoded.num_chunks else []
    except (pa.ArrowException, ValueError) as error:
        raise DataError(
            f"strings must be UTF-8, but {place} has some that are not ({reason(error)}); convert them"
        ) from error
    if None in texts:
        raise DataError(f"every row must have label, but in {place} some have none; remove them")
    names = sorted(set(texts))
    number = {name: index for index, name in enumerate(names)}
    table = np.array([number[text] for text in texts], dtype=np.int64)
    indices = [chunk.indices.to_numpy() for chunk in encoded.chunks]
    return table[np.concatenate(indices).astype(np.int64)] if indices else table, tuple(names)


def _refuse_nulls(column: Any, name: str, where: str) -> None:
    if column.null_count:
        row = column.is_null().index(True).as_py()
        raise DataError(
            f"every row must have {name}, but {column.null_count} of {len(column)} rows of {where} have none, "
            f"the first is row {row}; remove them"
        )


def _feature_names(metadata: dict[bytes, bytes] | None) -> tuple[str, ...] | None:
    """Return the names of the ClassLabel feature `label` in a Hugging Face schema; None if there is none."""
    try:
        names = json.loads((metadata or {})[b"huggingface"])["info"]["features"]["label"]["names"]
    except (KeyError, ValueError, TypeError, RecursionError):
        return None
    return tuple(str(name) for name in names) if isinstance(names, list) else None
