"""Reading a corpus from a folder of text files such as `train.txt`, `valid.txt` and `test.txt`."""

from __future__ import annotations

import gzip
import re
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from onepath.data.bounds import check_memory, check_unfolding, kind_of
from onepath.data.examples import few, reason
from onepath.data.parquet import read_columns
from onepath.data.preprocessing import END_OF_LINE, UNKNOWN
from onepath.data.task import Split
from onepath.data.text_task import TextTask, Words
from onepath.errors import DataError, plain, shown

MOST_WORDS = 50_000
MAX_WORD = 1000  # most characters of a word
_CHUNK = 2**20  # characters read at a time
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
    """Return whether a folder holds a training text and no folder `train`, which would make it a folder of images."""
    return not (path / "train").is_dir() and any(
        found[2].lower() == "train" for _, found in _named(path) if _is_text(path, found)
    )


def read_text(path: Path) -> TextTask:
    """Read the corpus in a folder, and make a task of it.

    There is one file for each split, named like `train.txt`, `ptb.train.txt`, `train.txt.gz` or `train.parquet`; the
    name of the validation split may be valid, validation, val or dev. A text file is UTF-8. Its words are separated by
    white space and have at most 1,000 characters each; every line ends with an added word `<eos>`. A .parquet has a
    column `text`, whose rows count as lines.

    The vocabulary consists of the words of the training text, at most 50,000, the most frequent first; other words
    become `<unk>`.

    Raises:
        DataError: a split has no file or several, or a file cannot be read, has no words, or would take more than half
            of the memory.
    """
    files = _files(path)
    counts: Counter[str] = Counter()
    for words in _words(files["train"]):
        counts.update(words)
    longest = max(counts, key=len, default="")
    if len(longest) > MAX_WORD:
        raise _long_word(files["train"], longest)
    vocabulary = [word for word, _ in counts.most_common(MOST_WORDS)]
    if END_OF_LINE not in vocabulary:
        vocabulary[-1] = END_OF_LINE
    known = {word: index for index, word in enumerate(vocabulary)}
    unknown = known.get(UNKNOWN, len(vocabulary))
    encoded = {split: _encoded(file, known, unknown) for split, file in files.items()}
    missing = sum(num for _, num in encoded.values())
    notes = []
    if missing and UNKNOWN not in known:
        vocabulary.append(UNKNOWN)
    if missing:
        notes.append(
            f"{missing:,} words are outside the vocabulary of {len(vocabulary):,} and count as {UNKNOWN}."
        )
    notes.append("Scores are 1 / perplexity, the geometric mean probability of the right word.")
    texts = {split: words for split, (words, _) in encoded.items()}
    prefix = _NAME.fullmatch(files["train"].name)
    assert prefix is not None, "that is how it was found"
    name = prefix[1] or path.resolve().name
    return TextTask(plain(name), texts, tuple(vocabulary), notes=tuple(notes))


def _named(path: Path) -> list[tuple[Path, re.Match[str]]]:
    try:
        entries = sorted(path.iterdir())
    except OSError as error:
        raise DataError(
            f"the folder must be readable, but {plain(path)} is not ({reason(error)}); check its rights"
        ) from error
    found = [(entry, match) for entry in entries if (match := _NAME.fullmatch(entry.name)) is not None]
    for entry, _ in found:
        kind = kind_of(entry.stat().st_mode) if entry.exists() else ""
        if kind not in ("", "a folder"):
            raise DataError(f"a text must be a regular file, but {plain(entry)} is {kind}; give a file")
    return [(entry, match) for entry, match in found if entry.is_file()]


def _is_text(path: Path, found: re.Match[str]) -> bool:
    """Return whether a file with a fitting name is a text; a .parquet must be readable and have a column `text`."""
    if found[3].lower() != "parquet":
        return True
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return "text" in pq.read_schema(path / found.string).names
    except (pa.ArrowException, OSError, ValueError, RuntimeError):
        return False


def _files(path: Path) -> dict[Split, Path]:
    files: dict[Split, Path] = {}
    for file, found in _named(path):
        split = _SPLITS[found[2].lower()]
        if split in files:
            raise DataError(
                f"there must be one text for each split, but {plain(path)} has {plain(files[split].name)} and "
                f"{plain(file.name)} for {split}; keep one corpus in a folder"
            )
        files[split] = file
    missing = [split for split in ("train", "validation", "test") if split not in files]
    if missing:
        names = [file.name for file in files.values()]
        raise DataError(
            f"{_FORM}, but {plain(path)} has none for {' and '.join(missing)}, only {few(names)}; add the file"
        )
    return files


def _words(path: Path) -> Iterator[list[str]]:
    """Yield the words of a text, some at a time, with `<eos>` at the end of every line."""
    read, has_words = 0, False
    for piece in _rows(path) if path.suffix.lower() == ".parquet" else _pieces(path):
        read += len(piece)
        check_memory(4 * read, f"the words of {plain(path)}")  # 8 bytes for a word of one letter and a space
        has_words = has_words or not piece.isspace()
        yield piece.replace("\n", f" {END_OF_LINE} ").split()
    if not has_words:
        raise DataError(f"every text must have words, but {plain(path)} has none; check the file")


def _pieces(path: Path) -> Iterator[str]:
    """Yield a text file in pieces that end between words; a last line without a line break gets one."""
    is_packed = path.suffix.lower() == ".gz"
    opener = gzip.open if is_packed else open
    rest, ended = "", True
    try:
        if is_packed:
            _check_packed(path)
        with opener(path, "rt", encoding="utf-8-sig") as file:
            while piece := file.read(_CHUNK):
                _check_no_zeros(piece, path)
                text = rest + piece
                end = _last_space(text)
                if len(text) - end > MAX_WORD:
                    raise _long_word(path, text[end:])
                rest, ended = text[end:], text.endswith("\n")
                if end:
                    yield text[:end]
    except DataError:
        raise
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise DataError(
            f"a text must be readable as UTF-8, but {plain(path)} is not ({reason(error)}); convert it"
        ) from error
    if not ended:
        yield f"{rest}\n"


def _check_packed(path: Path) -> None:
    """Raise if a packed file would take too much memory.

    The file is unpacked once for this check, before its words are counted, which takes far longer.
    """
    packed, unpacked = path.stat().st_size, 0
    with gzip.open(path) as file:
        while piece := file.read(_CHUNK):
            unpacked += len(piece)
            check_unfolding(packed, unpacked, plain(path))
            check_memory(4 * unpacked, f"the words of {plain(path)}")


def _check_no_zeros(piece: str, path: Path) -> None:
    if "\0" in piece:
        raise DataError(
            f"a text must be UTF-8, but {plain(path)} has characters of value 0, as binary data or UTF-16 has; "
            f"convert it"
        )


def _last_space(text: str) -> int:
    """Return the position after the last white space among the last characters; a word may be cut off after it."""
    end = len(text)
    while end > max(0, len(text) - MAX_WORD - 1) and not text[end - 1].isspace():
        end -= 1
    return end


def _long_word(path: Path, word: str) -> DataError:
    return DataError(
        f"a word must have at most {MAX_WORD:,} characters, but {plain(path)} has {shown(word, 40)}; part words by "
        f"spaces"
    )


def _rows(path: Path) -> Iterator[str]:
    column = read_columns(path, ("text",), "rename it", "a .parquet of text")["text"]
    for chunk in column.chunks:
        texts = chunk.to_pylist()
        if not all(isinstance(text, str) for text in texts):
            raise DataError(
                f"every row of the column text must be a string, but in {plain(path)} some are not; convert them"
            )
        piece = "".join(f"{' '.join(text.split())}\n" for text in texts)
        _check_no_zeros(piece, path)
        yield piece


def _encoded(path: Path, known: dict[str, int], unknown: int) -> tuple[Words, int]:
    """Return the words of a text as indices, and how many of them are outside the vocabulary."""
    indices = np.concatenate(
        [np.array([known.get(word, -1) for word in words], dtype=np.int64) for words in _words(path)]
    )
    is_missing = indices < 0
    indices[is_missing] = unknown
    return indices, int(np.count_nonzero(is_missing))
