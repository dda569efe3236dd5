"""A .parquet from anyone: refused in one line, or read right."""

from __future__ import annotations

import datetime
import decimal
import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from data.hostile import refused, refused_or_read
from PIL import Image

from onepath.data import bounds, load_data, parquet


def png(number: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((8, 8), number, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


IMAGES = [png(number) for number in range(20)]
LABELS = [number % 2 for number in range(20)]


def write(path: Path, **columns: Any) -> Path:
    pq.write_table(pa.table({"image": IMAGES, "label": LABELS} | columns), path)
    return path


DECIMALS = [decimal.Decimal(number) for number in LABELS]
COLUMNS: dict[str, dict[str, Any]] = {
    "labels at 2^63": {"label": pa.array([0, 2**63] * 10, pa.uint64())},
    "labels near 2^64": {"label": pa.array([0, 2**64 - 1] * 10, pa.uint64())},
    "labels below 0": {"label": [0, -(2**63)] * 10},
    "labels not a number": {"label": [0.0, float("nan")] * 10},
    "labels of half precision": {"label": pa.array(np.array([0, np.inf] * 10, np.float16))},
    "decimal labels": {"label": DECIMALS},
    "labels of time": {"label": [datetime.datetime(2020, 1, 1)] * 20},
    "lists of labels": {"label": [[0], [1]] * 10},
    "structs of labels": {"label": [{"a\x1b[2J": 0}] * 20},
    "no labels": {"label": [None] * 20},
    "a label missing": {"label": [*LABELS[:-1], None]},
    "bytes that are no text": {"label": [b"a", b"\xff\xfe"] * 10},
    "strings that are no text": {
        "label": pa.Array.from_buffers(
            pa.string(), 20, [None, pa.py_buffer(np.arange(21, dtype=np.int32)), pa.py_buffer(b"\xff" * 20)]
        )
    },
    "blank labels": {"label": ["a", ""] * 10},
    "labels with control characters": {"label": ["a", "\x1b]0;title\x07"] * 10},
    "long labels": {"label": ["a", "b" * 100_000] * 10},
    "a dictionary of decimals": {
        "label": pa.DictionaryArray.from_arrays(pa.array([0, 1] * 10), pa.array(DECIMALS[:2]))
    },
    "images as numbers": {"image": list(range(20))},
    "images as strings": {"image": ["a.png"] * 20},
    "images as lists": {"image": [[1, 2, 3]] * 20},
    "images as structs without bytes": {"image": [{"path": "a.png"}] * 20},
    "images as structs with strings": {"image": [{"bytes": "a.png"}] * 20},
    "images that are null": {"image": [None] * 20},
    "an image missing": {"image": [*IMAGES[:-1], None]},
    "bytes of an image missing": {"image": [{"bytes": image} for image in [*IMAGES[:-1], None]]},
    "images that are empty": {"image": [b""] * 20},
    "images that are none": {"image": [b"%!PS-Adobe-3.0 EPSF-3.0\n"] * 20},
}


@pytest.mark.parametrize("columns", COLUMNS.values(), ids=COLUMNS)
def test_odd_columns(tmp_path: Path, columns: dict[str, Any]) -> None:
    refused(write(tmp_path / "a.parquet", **columns))


@pytest.mark.parametrize(
    "labels",
    [
        ["ä", "b"] * 10,
        [b"\xc3\xa4", b"b"] * 10,
        pa.array(["ä", "b"] * 10, pa.large_string()),
        pa.array(["b", "ä"] * 10).dictionary_encode(),
        pa.DictionaryArray.from_arrays(pa.array([0, 1, 2, 1] * 5), pa.array(["ä", "b", "ä"])),
        pa.chunked_array(
            [pa.array(["b", "ä"] * 5).dictionary_encode(), pa.array(["ä"] * 10).dictionary_encode()]
        ),
    ],
)
def test_strings_of_every_kind_are_class_names(tmp_path: Path, labels: Any) -> None:
    task = load_data(write(tmp_path / "a.parquet", label=labels))
    assert task.class_names == ("b", "ä")
    plain = labels if isinstance(labels, list) else labels.to_pylist()
    values = [text.decode() if isinstance(text, bytes) else text for text in plain]
    found, _ = parquet._labels(
        pa.chunked_array([labels]) if not isinstance(labels, pa.ChunkedArray) else labels, "a", None
    )
    assert [("b", "ä")[index] for index in found] == values


def test_whole_numbers_in_a_dictionary(tmp_path: Path) -> None:
    labels = pa.DictionaryArray.from_arrays(pa.array([0, 1] * 10), pa.array([1, 0]))
    assert load_data(write(tmp_path / "a.parquet", label=labels)).num_classes == 2


def test_files_that_are_none(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet")
    whole = path.read_bytes()
    contents = [
        b"",
        b"PAR1",
        b"PAR1PAR1",
        whole[:-10],
        whole[:100],
        whole[:-4] + b"PARE",
        b"PARE" + whole[4:-4] + b"PARE",
    ]
    for content in contents:
        path.write_bytes(content)
        refused(path, "must be readable by pyarrow")
    path.unlink()
    (path / "part-0.parquet").mkdir(parents=True)
    refused(path, "must be one file, but .* is a folder")


def test_flipped_bytes_are_refused_or_harmless(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet")
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(60):
        content = bytearray(whole)
        for place in rng.integers(4, len(content), 2):
            content[place] ^= int(rng.integers(1, 256))
        path.write_bytes(content)
        refused_or_read(path)


def test_no_rows_and_wrong_names(tmp_path: Path) -> None:
    empty = {"image": pa.array([], pa.binary()), "label": pa.array([], pa.int64())}
    refused(write(tmp_path / "a.parquet", **empty), "has none")
    pq.write_table(pa.table({"img\x1b": IMAGES, "label": LABELS}), tmp_path / "b.parquet")
    refused(tmp_path / "b.parquet", r"lacks image; it has img\\x1b")
    pq.write_table(pa.table([IMAGES, LABELS, LABELS], ["image", "label", "label"]), tmp_path / "c.parquet")
    refused(tmp_path / "c.parquet", "lacks label")
    pq.write_table(pa.table({f"column {n}": [1] for n in range(300)}), tmp_path / "d.parquet")
    refused(tmp_path / "d.parquet", "lacks image and label")


def test_a_partition_in_the_path_is_no_label(tmp_path: Path) -> None:
    (tmp_path / "label=7").mkdir()
    assert load_data(write(tmp_path / "label=7" / "_a.parquet")).num_classes == 2


def test_nested_metadata_is_passed_over(tmp_path: Path) -> None:
    table = pa.table({"image": IMAGES, "label": LABELS})
    for text in (
        b"[" * 100_000,
        b"\xff",
        b'{"info": 1}',
        b'{"info": {"features": {"label": {"names": "ab"}}}}',
    ):
        pq.write_table(table.replace_schema_metadata({"huggingface": text}), tmp_path / "a.parquet")
        assert load_data(tmp_path / "a.parquet").class_names == ("0", "1")


def test_what_unfolds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "FREE_BYTES", 2**19)
    path = tmp_path / "a.parquet"
    zeros = pa.table({"image": [bytes(100_000)] * 20, "label": LABELS})
    pq.write_table(zeros, path, compression="zstd", use_dictionary=False)
    refused(path, "at most 200-fold")
    # One stored value that is repeated takes its room when it is read.
    repeated = pa.table({"image": [np.random.default_rng(0).bytes(100_000)] * 500, "label": LABELS * 25})
    pq.write_table(repeated, path)
    assert path.stat().st_size < 2**18
    refused(path, "at most 200-fold, but image and label of .* unfolds")
    monkeypatch.setattr(bounds, "memory_bytes", lambda: 2**25)
    refused(path, "image and label of .* would take")
    monkeypatch.setattr(parquet, "MAX_ROWS", 10)
    refused(path, "number of rows <= 10 must hold")
