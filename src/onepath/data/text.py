"""A corpus as a folder of text: `train.txt`, `valid.txt`, `test.txt` and their like."""

from __future__ import annotations

import gzip
import re
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from onepath.data.examples import few, reason
from onepath.data.preprocessing import END_OF_LINE, UNKNOWN
from onepath.data.task import Split
from onepath.data.text_task import TextTask, Words
from onepath.errors import DataError

MOST_WORDS = 50_000
_SPLITS: dict[str, Split] = {
    "train": "train",
    "valid": "validation",
    "validation": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
}
_NAME = re.compile(rf"(?:(.+)\.)?({'|'.join(_SPLITS)})\.(txt|txt\.gz|parquet)", re.IGNORECASE)
_FORM = "a folder of text has train.txt, valid.txt and test.txt (or ptb.train.txt ..., .txt.gz, or .parquet with text)"


def is_text_folder(path: Path) -> bool:
    """Whether a folder holds a training text, and no folder `train`, as a folder of images would."""
    return not (path / "train").is_dir() and any(
        found[2].lower() == "train" for _, found in _named(path) if _is_text(path, found)
    )


def read_text(path: Path) -> TextTask:
    """The corpus in a folder, as a task.

    There is one file for each split, in one of the forms `train.txt`, `ptb.train.txt`, `train.txt.gz`,
    `train.parquet`; validation may be called valid, validation, val or dev. A text file is UTF-8, words parted by
    white space; a line ends with the word `<eos>`. A .parquet has a column `text`, whose rows count as lines.

    The vocabulary are the words of the training text, the most frequent first, at most 50,000; others become
    `<unk>`.

    Raises:
        DataError: a split is missing or there twice, or a file cannot be read or has no word.
    """
    files = _files(path)
    lines = {split: list(_lines(file)) for split, file in files.items()}
    for split, file in files.items():
        if not any(lines[split]):
            raise DataError(f"every text must have words, but {file} has none; check the file")
    counts = Counter(word for line in lines["train"] for word in (*line, END_OF_LINE))
    vocabulary = [word for word, _ in counts.most_common(MOST_WORDS)]
    if END_OF_LINE not in vocabulary:
        vocabulary[-1] = END_OF_LINE
    known = {word: index for index, word in enumerate(vocabulary)}
    missing = _num_unknown(lines.values(), known)
    notes = []
    if missing and UNKNOWN not in known:
        known[UNKNOWN] = len(vocabulary)
        vocabulary.append(UNKNOWN)
    if missing:
        notes.append(
            f"{missing:,} words are outside the vocabulary of {len(vocabulary):,} and count as {UNKNOWN}."
        )
    notes.append("Scores are 1 / perplexity, the geometric mean probability of the right word.")
    texts = {split: _encoded(lines[split], known) for split in files}
    prefix = _NAME.fullmatch(files["train"].name)
    assert prefix is not None, "that is how it was found"
    return TextTask(prefix[1] or path.resolve().name, texts, tuple(vocabulary), notes=tuple(notes))


def _named(path: Path) -> list[tuple[Path, re.Match[str]]]:
    try:
        entries = sorted(path.iterdir())
    except OSError as error:
        raise DataError(f"the folder must be readable, but {path} is not ({reason(error)})") from error
    found = ((entry, _NAME.fullmatch(entry.name)) for entry in entries)
    return [(entry, match) for entry, match in found if match is not None and entry.is_file()]


def _is_text(path: Path, found: re.Match[str]) -> bool:
    """Whether a file's name is enough, or a .parquet has a column of text; a damaged one is left to others."""
    if found[3].lower() != "parquet":
        return True
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return "text" in pq.read_schema(path / found.string).names
    except (pa.ArrowException, OSError):
        return False


def _files(path: Path) -> dict[Split, Path]:
    files: dict[Split, Path] = {}
    for file, found in _named(path):
        split = _SPLITS[found[2].lower()]
        if split in files:
            raise DataError(
                f"there must be one text for each split, but {path} has {files[split].name} and {file.name} for "
                f"{split}; keep one corpus in a folder"
            )
        files[split] = file
    missing = [split for split in ("train", "validation", "test") if split not in files]
    if missing:
        names = [file.name for file in files.values()]
        raise DataError(
            f"{_FORM}, but {path} has none for {' and '.join(missing)}, only {few(names)}; add the file"
        )
    return files


def _lines(path: Path) -> Iterator[list[str]]:
    """The words of every line."""
    if path.suffix.lower() == ".parquet":
        yield from (text.split() for text in _column(path))
        return
    opener = gzip.open if path.suffix.lower() == ".gz" else open
    try:
        with opener(path, "rt", encoding="utf-8-sig") as file:
            for line in file:
                yield line.split()
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
        raise DataError(
            f"a text must be readable as UTF-8, but {path} is not ({reason(error)}); convert it"
        ) from error


def _column(path: Path) -> list[str]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        column = pq.read_table(path, columns=["text"])["text"].to_pylist()
    except (pa.ArrowException, OSError, KeyError) as error:
        raise DataError(
            f"a .parquet of text must be readable and have a column text, but {path} has not ({reason(error)})"
        ) from error
    if not all(isinstance(text, str) for text in column):
        raise DataError(
            f"every row of the column text must be a string, but in {path} some are not; convert them"
        )
    return [str(text) for text in column]


def _num_unknown(texts: Iterable[list[list[str]]], known: dict[str, int]) -> int:
    return sum(word not in known for lines in texts for line in lines for word in line)


def _encoded(lines: list[list[str]], known: dict[str, int]) -> Words:
    end, unknown = known[END_OF_LINE], known.get(UNKNOWN, -1)
    indices = [index for line in lines for index in (*(known.get(word, unknown) for word in line), end)]
    return np.array(indices, dtype=np.int64)
