"""Folders of text from anyone: refused in one line, or read right."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from data.hostile import refused, refused_or_read
from data.texts import write_corpus

from onepath.data import TextTask, bounds, load_data, text

CONTENTS = {
    "nothing": b"",
    "one line break": b"\n",
    "only line breaks": b"\n" * 1000,
    "only white space": b" \t\r\n\x0b\x0c\x1c" * 100,
    "no UTF-8": b"\xff\xfe\x00",
    "no UTF-8 later": b"a b " * 1000 + b"\x80",
    "half a character": b"a \xed\xa0\x80 b",
    "UTF-16": "a b c\n".encode("utf-16"),
    "UTF-16 without a mark": "a b c\n".encode("utf-16-le"),
    "UTF-32": "a b c\n".encode("utf-32-le"),
    "zeros": bytes(5000),
    "a program": b"\x7fELF\x02\x01\x01" + bytes(100),
    "one endless word": b"x" * 10**6,
    "one endless word later": b"a b " * 10**5 + b"x" * 2000,
}


@pytest.mark.parametrize("form", ["txt", "txt.gz"])
@pytest.mark.parametrize("split", ["train", "valid", "test"])
@pytest.mark.parametrize("content", CONTENTS.values(), ids=CONTENTS)
def test_what_is_no_text(tmp_path: Path, content: bytes, split: str, form: str) -> None:
    write_corpus(tmp_path)
    (tmp_path / f"{split}.txt").unlink()
    (tmp_path / f"{split}.{form}").write_bytes(gzip.compress(content) if form == "txt.gz" else content)
    refused(tmp_path, f"{split}.{form}")


@pytest.mark.parametrize("split", ["train", "valid", "test"])
def test_one_word(tmp_path: Path, split: str) -> None:
    write_corpus(tmp_path)
    for content, num in ((b"word", 2), (b"word\n", 2), (b"\xef\xbb\xbfword\r\n", 2), (b" word  ", 2)):
        (tmp_path / f"{split}.txt").write_bytes(content)
        task = load_data(tmp_path)
        assert isinstance(task, TextTask)
        assert len(task._text({"valid": "validation"}.get(split, split))) == num  # with the end of the line


@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 2**20])
def test_pieces_give_the_words_of_the_whole(
    tmp_path: Path, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = "a bc\n\n def\r\nä  ö\tß\x0bz\x85q\u2028w\rend \n last"
    (tmp_path / "x.txt").write_text(content, encoding="utf-8", newline="")
    monkeypatch.setattr(text, "_CHUNK", chunk)
    found = [word for words in text._words(tmp_path / "x.txt") for word in words]
    lines = content.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    assert found == [word for line in lines for word in (*line.split(), "<eos>")]


def test_what_unfolds_a_thousandfold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "FREE_BYTES", 2**20)
    write_corpus(tmp_path)
    (tmp_path / "test.txt").unlink()
    (tmp_path / "test.txt.gz").write_bytes(gzip.compress(b"a b\n" * 10**6))
    refused(tmp_path, "at most 200-fold, but .*test.txt.gz unfolds")


def test_what_is_larger_than_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "memory_bytes", lambda: 100)
    refused(write_corpus(tmp_path), "half of the memory")


def test_a_sparse_file_is_refused_at_once(tmp_path: Path) -> None:
    write_corpus(tmp_path)
    with (tmp_path / "train.txt").open("wb") as file:
        file.truncate(2**40)
    refused(tmp_path, "must be UTF-8")


@pytest.mark.parametrize(
    "column",
    [
        pa.array([1, 2]),
        pa.array([["a"], ["b"]]),
        pa.array(["a b", None]),
        pa.array([b"a", b"b"]),
        pa.array([], pa.string()),
        pa.array(["", " "]),
        pa.array(["a\x00b"]),
    ],
)
@pytest.mark.parametrize("split", ["train", "test"])
def test_odd_columns(tmp_path: Path, column: pa.Array, split: str) -> None:
    write_corpus(tmp_path)
    (tmp_path / f"{split}.txt").unlink()
    pq.write_table(pa.table({"text": column}), tmp_path / f"{split}.parquet")
    refused(tmp_path, f"{split}.parquet")


def test_names_are_escaped(tmp_path: Path) -> None:
    folder = write_corpus(tmp_path / "x", "a\x1b[2J.")
    assert load_data(folder).name == r"a\x1b[2J"
    (folder / "a\x1b[2J.test.txt").unlink()
    refused(folder, r"a\\x1b\[2J.train.txt")


def test_a_folder_in_place_of_a_text(tmp_path: Path) -> None:
    write_corpus(tmp_path)
    (tmp_path / "test.txt").unlink()
    (tmp_path / "test.txt").mkdir()
    refused(tmp_path, "none for test")
    os.symlink("nowhere", tmp_path / "dev.txt")
    refused(tmp_path, "none for test")


def test_flipped_bytes_of_a_packed_text(tmp_path: Path) -> None:
    write_corpus(tmp_path)
    (tmp_path / "test.txt").unlink()
    whole = gzip.compress(b"the cat sat\n" * 20)
    rng = np.random.default_rng(0)
    for _ in range(40):
        content = bytearray(whole)
        content[int(rng.integers(len(content)))] ^= int(rng.integers(1, 256))
        (tmp_path / "test.txt.gz").write_bytes(content[: int(rng.integers(1, len(content) + 1))])
        refused_or_read(tmp_path)
