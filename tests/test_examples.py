"""The examples run as they stand, at a smaller size."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


def run(*arguments: object) -> str:
    # Two threads waste more than they give on networks this small when something else computes too.
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_mini_nas(tmp_path: Path) -> None:
    out = run(EXAMPLES / "mini_nas.py", "--epochs", 2, "--out", tmp_path / "model.onnx")
    assert "81 architectures" in out
    assert (tmp_path / "model.onnx").stat().st_size > 0


def test_new_cost() -> None:
    out = run(EXAMPLES / "new_cost.py", "--epochs", 1, "--max-traffic", "60kB")
    assert "best of" in out
    assert int(out.split()[-3].replace(",", "")) <= 60_000
    source = (EXAMPLES / "new_cost.py").read_text().split("# ---")[1]
    assert len(source.strip().splitlines()[1:]) <= 20


def test_own_data(tmp_path: Path) -> None:
    out = run(EXAMPLES / "own_data.py", "--epochs", 1, "--out", tmp_path / "run")
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["cost"]["params"] <= 90_000
    assert "retrained_test" in out


def test_own_space(tmp_path: Path) -> None:
    small = [
        "--epochs",
        1,
        "--retrain-epochs",
        1,
        "--num-baselines",
        0,
        "--population",
        4,
        "--generations",
        1,
    ]
    space = f"{EXAMPLES / 'own_space.py'}:build"
    out = run("-m", "onepath.cli", "run", "--space", space, *small, "--out", tmp_path / "run", "--json")
    result = json.loads(out)
    assert result["space_size"] == 12
    assert set(result["architecture"]) == {"width", "first", "second"}


@pytest.mark.parametrize(("name", "most"), [("mini_nas.py", 150), ("own_space.py", 50), ("own_data.py", 50)])
def test_examples_stay_short(name: str, most: int) -> None:
    assert len((EXAMPLES / name).read_text().splitlines()) <= most
