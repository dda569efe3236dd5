"""A small corpus."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from onepath.data.text_task import TextTask


def write_corpus(folder: Path, prefix: str = "") -> Path:
    """Three texts: 3 lines, 2 lines with an unknown word, 1 line."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{prefix}train.txt").write_text("the cat sat\n the dog sat \n\nthe end\n")
    (folder / f"{prefix}valid.txt").write_text("the bird sat\nthe end\n")
    (folder / f"{prefix}test.txt").write_text("the dog\n")
    return folder


def cycle_task(num_words: int = 600, vocabulary: int = 5, **options) -> TextTask:
    """A text that repeats all its words in their order; only the place of a stream's first word is unsure."""
    words = np.arange(num_words) % vocabulary
    texts = {"train": words, "validation": words[: num_words // 2], "test": words[: num_words // 3]}
    return TextTask("cycle", texts, tuple(map(str, range(vocabulary))), **options)


def random_task(num_words: int = 600, vocabulary: int = 7, **options) -> TextTask:
    """Words drawn from a fixed seed."""
    words = np.random.default_rng(0).integers(0, vocabulary, num_words)
    texts = {"train": words, "validation": words[: num_words // 2], "test": words[: num_words // 3]}
    return TextTask("noise", texts, tuple(map(str, range(vocabulary))), **options)
