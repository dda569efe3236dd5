"""The examples run as they stand, at a smaller size."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import onepath

EXAMPLES = Path(__file__).parents[1] / "examples"
EXTENDING = Path(__file__).parents[1] / "docs" / "extending.md"
SMALL = ("--epochs", 1, "--retrain-epochs", 1, "--num-baselines", 0, "--population", 4, "--generations", 1)


def run(*arguments: object, status: int = 0) -> str:
    # Two threads waste more than they give on networks this small when something else computes too.
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "ONEPATH_CACHE": ""}
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        env=environment,
    )
    assert done.returncode == status, done.stderr
    return done.stdout if status == 0 else done.stderr


def test_mini_nas(tmp_path: Path) -> None:
    out = run(EXAMPLES / "mini_nas.py", "--epochs", 2, "--out", tmp_path / "model.onnx")
    assert "81 architectures" in out
    assert (tmp_path / "model.onnx").stat().st_size > 0


def test_shrink_own_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    example = EXAMPLES / "shrink_own_model.py"
    out = run(example, "--epochs", 2)
    assert "elastic: 100.0 % of multiply-accumulates" in out
    model, half = (int(line.split()[1].replace(",", "")) for line in out.splitlines() if "test" in line)
    assert half <= model // 2
    assert (tmp_path / "smaller.onnx").stat().st_size > 0
    assert len([line for line in example.read_text().splitlines() if line.strip()]) <= 40
    assert "down to" in run(
        "-m", "onepath.cli", "convert", f"{example}:build", "--input-size", 8, "--in-channels", 1
    )


def test_new_cost() -> None:
    out = run(EXAMPLES / "new_cost.py", "--epochs", 1, "--max-traffic", "60kB")
    assert "best of" in out
    assert int(out.split()[-3].replace(",", "")) <= 60_000


def test_new_method(tmp_path: Path) -> None:
    # The same seed, data and class: a run is the function, kept in a directory.
    out = run(EXAMPLES / "new_method.py", "--epochs", 1, "--out", tmp_path / "run").splitlines()
    assert [line.partition(": ")[2][:5] for line in out] == [out[0].partition(": ")[2][:5]] * 2
    assert "several-paths" in (tmp_path / "run" / "config.yaml").read_text()


def test_new_method_on_the_command_line(tmp_path: Path) -> None:
    method = f"{EXAMPLES / 'new_method.py'}:SeveralPaths"
    space = ("--space", "nasbench-macro", "--width", 0.2)
    command = ("-m", "onepath.cli", "run", "--method", method, *space, *SMALL, "--num-paths", 3)
    result = json.loads(run(*command, "--out", tmp_path / "run", "--json"))
    assert result["method"] == method
    assert result["search"]["evaluated"] == 8
    assert "Paths that every update trains" in run(*command[:5], "--help")
    # The directory alone chooses no code; named again, the run goes on, is asked again, and is read.
    again = ("-m", "onepath.cli", "retrain", "--out", tmp_path / "run")
    assert f"add --method {method}" in run(*again, status=2)
    assert "retrain is done" in run(*again, "--method", method)
    assert "report is done" in run("-m", "onepath.cli", "report", "--out", tmp_path / "run")
    other = ("-m", "onepath.cli", "search", tmp_path / "run", "--max-params", "200k", "--method", method)
    assert json.loads(run(*other, "--json"))["winners"][-1]["limits"] == {"max_params": 200_000}
    found = onepath.load_run(tmp_path / "run", method=method)
    assert found.supernet().space.num_choices == 8
    assert found.model() is not None


def test_new_search_algorithm() -> None:
    out = run(EXAMPLES / "new_search_algorithm.py", "--epochs", 1)
    assert out.startswith("best of 40:")


def test_new_device() -> None:
    out = run(EXAMPLES / "new_device.py", "--epochs", 1, "--max-latency-ms", 30)
    assert 0 < float(out.split()[-2]) <= 30


@pytest.mark.parametrize(("name", "metric"), [("regression", "rmse"), ("segmentation", "mean-iou")])
def test_tasks_of_ones_own(name: str, metric: str, tmp_path: Path) -> None:
    file = EXAMPLES / f"{name}.py"
    run(file, "--epochs", 3, "--out", tmp_path / "run")
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["metric"]["name"] == metric
    assert 0 < result["metric"]["retrained_test"] < 2
    assert len([line for line in file.read_text().splitlines() if line.strip()]) <= 40


@pytest.mark.parametrize(
    ("name", "most"),
    [("new_method", 60), ("new_search_algorithm", 25), ("new_cost", 20), ("new_device", 20)],
)
def test_what_extends_onepath_is_short_and_shown_in_the_docs(name: str, most: int) -> None:
    # Between two lines of dashes stands what a user writes.
    part = (EXAMPLES / f"{name}.py").read_text().split("# ---")[1].partition("\n")[2].strip("\n")
    assert len([line for line in part.splitlines() if line.strip()]) <= most
    assert f"```python\n{part}\n```" in EXTENDING.read_text()


def test_own_data(tmp_path: Path) -> None:
    out = run(EXAMPLES / "own_data.py", "--epochs", 1, "--out", tmp_path / "run")
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["cost"]["params"] <= 90_000
    assert "retrained_test" in out


def test_own_space(tmp_path: Path) -> None:
    space = f"{EXAMPLES / 'own_space.py'}:build"
    out = run("-m", "onepath.cli", "run", "--space", space, *SMALL, "--out", tmp_path / "run", "--json")
    result = json.loads(out)
    assert result["space_size"] == 12
    assert set(result["architecture"]) == {"width", "first", "second"}


@pytest.mark.parametrize(("name", "most"), [("mini_nas.py", 150), ("own_space.py", 50), ("own_data.py", 50)])
def test_examples_stay_short(name: str, most: int) -> None:
    assert len((EXAMPLES / name).read_text().splitlines()) <= most
