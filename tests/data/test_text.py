from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from data.texts import write_corpus
from PIL import Image

from onepath.data import ImageTask, TextTask, load_data
from onepath.errors import DataError


def test_a_folder_of_text(tmp_path: Path) -> None:
    task = load_data(write_corpus(tmp_path / "corpus"))
    assert isinstance(task, TextTask)
    assert task.name == "corpus"
    # By falling frequency, then by first appearance; an empty line is a line.
    assert task.class_names == ("<eos>", "the", "sat", "cat", "dog", "end", "<unk>")
    assert task._texts["train"].tolist() == [1, 3, 2, 0, 1, 4, 2, 0, 0, 1, 5, 0]
    assert task._texts["validation"].tolist() == [1, 6, 2, 0, 1, 5, 0]
    assert "1 words are outside the vocabulary of 7" in task.notes[0]


def test_other_forms_hold_the_same(tmp_path: Path) -> None:
    plain = load_data(write_corpus(tmp_path / "a"))
    prefixed = load_data(str(write_corpus(tmp_path / "b", "ptb.")))
    assert (prefixed.name, prefixed.fingerprint) == ("ptb", plain.fingerprint)
    for form in ("gz", "parquet"):
        folder = write_corpus(tmp_path / form)
        for file in list(folder.iterdir()):
            if form == "gz":
                with gzip.open(f"{file}.gz", "wt") as packed:
                    packed.write(file.read_text())
            else:
                pq.write_table(
                    pa.table({"text": file.read_text().splitlines()}), folder / f"{file.stem}.parquet"
                )
            file.unlink()
        (folder / "other.parquet").write_bytes(b"not read")
        assert load_data(folder).fingerprint == plain.fingerprint


def test_ptb_has_10000_words(shared_data: Path) -> None:
    task = load_data(shared_data)
    assert task.name == "ptb"
    assert task.num_classes == 10_000
    # 929,589 words of training with the ends of lines, 73,760 and 82,430.
    assert [len(task._texts[split]) for split in ("train", "validation", "test")] == [929_589, 73_760, 82_430]
    assert not any("outside" in note for note in task.notes)


def test_image_folders_stay_image_folders(tmp_path: Path) -> None:
    for split in ("train", "test"):
        for label in ("a", "b"):
            for number in range(4):
                path = tmp_path / split / label / f"{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(np.zeros((4, 4), np.uint8)).save(path)
        (tmp_path / f"{split}.txt").write_text("a list of files")
    assert isinstance(load_data(tmp_path), ImageTask)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"valid.txt": None}, "none for validation, only 'test.txt', 'train.txt'"),
        ({"valid.txt": None, "test.txt": None}, "none for validation and test"),
        ({"test.txt": b""}, "must have words, but .*test.txt has none"),
        ({"train.txt": b" \n \n"}, "must have words, but .*train.txt has none"),
        ({"test.txt": b"\xff\xfe\x00"}, "readable as UTF-8, but .*test.txt"),
        ({"dev.txt": b"a b"}, "one text for each split, but .* has dev.txt and valid.txt"),
        ({"test.txt": None, "test.txt.gz": b"not packed"}, "readable as UTF-8, but .*test.txt.gz"),
        ({"test.txt": None, "test.parquet": b"not"}, "parquet of text must be readable"),
    ],
)
def test_bad_folders(tmp_path: Path, changes: dict[str, bytes | None], message: str) -> None:
    write_corpus(tmp_path)
    for name, content in changes.items():
        (tmp_path / name).unlink(missing_ok=True)
        if content is not None:
            (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        load_data(tmp_path)
    assert "\n" not in str(caught.value)


def test_options_of_images_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="used as it is split, but got test, input_size"):
        load_data(write_corpus(tmp_path), test=tmp_path, input_size=8)
