from __future__ import annotations

from pathlib import Path

import pytest

from onepath.errors import ConfigurationError
from onepath.own_code import load_own


def load(text: str) -> object:
    return load_own(text, what="space", known=["shufflenet"], forms="path/to/file.py:function").value


def test_what_a_file_has_under_a_name(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text("answer = 42\n")
    assert load(f"{path}:answer") == 42
    assert load(f"{path}:question") is None


def test_mistakes(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text("raise ValueError('no')\n")
    for text, message in (
        ("shuflenet", "a space must be one of shufflenet, or path.*Did you mean shufflenet"),
        (f"{tmp_path}/other.py:build", "the file of a space must exist"),
        (f"{path}:build", "the file of a space must run, but .* raised ValueError: no"),
    ):
        with pytest.raises(ConfigurationError, match=message):
            load(text)
