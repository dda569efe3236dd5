"""The store of estimates."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from onepath.errors import RunDirectoryError
from onepath.record import EstimateStore


def test_what_is_put_is_there_for_the_next_process(tmp_path: Path) -> None:
    store = EstimateStore(tmp_path / "estimates.sqlite")
    store.put("a", "0,1", {"accuracy": 0.5, "loss": math.inf}, 1.5)
    store.put("a", "1,1", {"accuracy": 0.25, "loss": 2.0}, 0.5)
    store.put("b", "0,1", {"accuracy": 0.75}, 4.0)
    with EstimateStore(store.path) as other:  # the first is still open, as after a kill
        assert other.read("a") == {
            "0,1": {"accuracy": 0.5, "loss": None},
            "1,1": {"accuracy": 0.25, "loss": 2.0},
        }
        assert other.read("b") == {"0,1": {"accuracy": 0.75}}
        assert other.read("c") == {}
        assert other.seconds("a") == {"0,1": 1.5, "1,1": 0.5}
    store.__exit__()


def test_a_damaged_file_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "estimates.sqlite"
    path.write_text("no database, but long enough to be looked at " * 50)
    with pytest.raises(RunDirectoryError, match=r"estimates\.sqlite must be"):
        EstimateStore(path)
