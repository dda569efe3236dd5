"""The comparison at one budget, with runs that are made up."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from onepath.errors import ConfigurationError, UserError
from onepath.report.bench import bench_page, head, table, verdicts
from onepath.runs import SilentProgress
from onepath.studies import bench as benches
from onepath.studies.bench import ARMS, BENCH, HAND_MADE_ARM, Arm, bench, default_arms, directory

TESTED = {"search": [0.9, 0.92], "best-of-n-random": [0.88, 0.89], "first-random": [0.8, 0.86]}
COST = {"search": 100.0, "best-of-n-random": 98.0, "first-random": 102.0}
THREE = [arm for arm in ARMS if arm.folder in TESTED]


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the runs that were started; each is made up."""
    started: list[str] = []

    def run(command: list[str], **_: Any) -> Any:
        path = Path(command[-1])
        started.append(path.name)
        path.mkdir(parents=True, exist_ok=True)
        (path / "result.json").write_text("{}")
        return SimpleNamespace(returncode=0, stderr="")

    def load(path: Path, **_: Any) -> Any:
        folder, _, seed = path.name.rpartition("-seed")
        value = TESTED[folder][int(seed)]
        metric = {"name": "accuracy", "higher_is_better": True, "retrained_test": value}
        result = {
            "metric": {**metric, "retrained_validation": value},
            "cost": {"macs": 10},
            "seconds": {"train": 40.0, "search": 5.0, "retrain": 45.0},
        }
        return SimpleNamespace(result=result, path=path)

    def hits(result: Any) -> Any:
        num = round(1000 * result.result["metric"]["retrained_test"])
        return np.arange(1000) < num

    def used() -> float:
        return sum(COST[name.rpartition("-seed")[0]] for name in started)

    monkeypatch.setattr(benches.subprocess, "run", run)
    monkeypatch.setattr(benches, "_processor_seconds", used)
    monkeypatch.setattr("onepath.runs.load_run", load)
    monkeypatch.setattr(benches, "_hits", lambda result, _: hits(result).astype(float))
    return started


def compare(out: Path, arms: Any = THREE, **options: Any) -> dict[str, Any]:
    given: dict[str, Any] = {"common": ["--data", "digits"], "budget": "1m", "num_seeds": 2, **options}
    return bench(arms, out=out, progress=SilentProgress(), **given)


def test_every_arm_runs_on_every_seed_and_is_compared_with_the_best_of_n(
    runs: list[str], tmp_path: Path
) -> None:
    found = compare(tmp_path)
    assert sorted(runs) == sorted(directory(tmp_path, arm, seed).name for arm in THREE for seed in (0, 1))
    rows = {row["name"]: row for row in found["rows"]}
    assert found["against"] == "best of n random"
    assert rows["best of n random"]["difference"] is None
    assert rows["search"]["difference"]["mean"] == pytest.approx(0.025)
    assert rows["search"]["processor_seconds"] == 100.0
    assert rows["search"]["difference"]["low"] < 0.025 < rows["search"]["difference"]["high"]
    assert rows["first random"]["difference"]["mean"] == pytest.approx(-0.055)
    assert len(table(found)[0]) == len(head(found))
    assert "<script>alert" not in bench_page(found, "1m", ["<script>alert(1)</script>"])
    assert len(verdicts(found)) == 2


def test_what_is_finished_is_not_run_again_and_new_seeds_are(runs: list[str], tmp_path: Path) -> None:
    compare(tmp_path)
    runs_before = len(runs)
    found = compare(tmp_path)
    assert len(runs) == runs_before
    assert found == json.loads((tmp_path / BENCH).read_text())["comparison"]


def test_an_optional_arm_that_is_refused_is_left_out(
    runs: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = benches.subprocess.run

    def run(command: list[str], **options: Any) -> Any:
        if "fixed" in command:
            return SimpleNamespace(returncode=2, stderr="error: architecture must meet max_macs=1")
        return made(command, **options)

    monkeypatch.setattr(benches.subprocess, "run", run)
    found = compare(tmp_path, [*THREE, HAND_MADE_ARM])
    assert [row["name"] for row in found["rows"]] == [arm.name for arm in THREE]
    with pytest.raises(UserError, match="hand-made, seed 0: architecture must meet"):
        compare(tmp_path, [*THREE, Arm("hand-made", ("--method", "fixed"))])
    with pytest.raises(UserError, match="hand-made, seed 0: architecture must meet"):
        compare(tmp_path, [*THREE, HAND_MADE_ARM], baseline="hand-made")


def test_a_run_that_was_at_work_when_the_comparison_was_killed_begins_anew(
    runs: list[str], tmp_path: Path
) -> None:
    compare(tmp_path)
    file, killed = tmp_path / BENCH, "search-seed1"
    kept = json.loads(file.read_text())
    file.write_text(json.dumps({**kept, "at_work": killed}))
    before = len(runs)
    found = compare(tmp_path)
    assert runs[before:] == [killed]
    assert found["rows"][0]["processor_seconds"] == 100.0
    kept = json.loads(file.read_text())
    del kept["processor_seconds"][killed]  # killed in its first start; the run went on by itself
    file.write_text(json.dumps(kept))
    assert compare(tmp_path) == found
    assert runs[-1] == killed


def test_one_seed_of_another_metric_has_no_interval(
    runs: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(benches, "_hits", lambda *_: None)
    found = compare(tmp_path, num_seeds=1)
    assert [row["difference"] for row in found["rows"]] == [None] * 3
    assert verdicts(found) == []
    assert len(table(found)[0]) == len(head(found))


def test_code_of_the_users_own_is_named_to_each_arm() -> None:
    common = ("--space", "net.py:build", "--data", "digits")
    assert benches._own_code(Arm("a"), common) == {"space": "net.py:build"}
    arm = Arm("b", ("--method=own.py:Mine", "--device", "exec:./run.sh"))
    assert benches._own_code(arm, ("--model", "m.py:make")) == {
        "space": "m.py:make",
        "device": "exec:./run.sh",
        "method": "own.py:Mine",
    }
    assert benches._own_code(Arm("c", ("--method", "random")), ("--space", "zennas")) == {}


@pytest.mark.parametrize(
    ("common", "has_one"),
    [
        ((), True),
        (("--max-macs", "300k", "--space", "mobilenet"), True),
        (("--space=nasbench201", "--data=space"), False),
        (("--data", "photos/", "--space", "zennas"), False),
        (("--data", "photos/"), True),
    ],
)
def test_the_network_made_by_hand_is_an_arm_where_there_is_one(
    common: tuple[str, ...], has_one: bool
) -> None:
    assert default_arms(common) == ((*ARMS, HAND_MADE_ARM) if has_one else ARMS)


def test_arms_of_unequal_budgets_are_not_compared(
    runs: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(COST, "search", 94.0)
    monkeypatch.setitem(COST, "first-random", 100.0)
    with pytest.raises(
        ConfigurationError, match="search used 94 processor seconds a run and first random 100"
    ):
        compare(tmp_path)
    monkeypatch.setitem(COST, "search", 95.0)
    assert compare(tmp_path / "other")["rows"]


def test_a_run_that_fails_ends_the_comparison_with_its_error(
    runs: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = SimpleNamespace(returncode=2, stderr="noise\nerror: max_macs must be met, but none is\n")
    monkeypatch.setattr(benches.subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(UserError, match="search, seed 0: max_macs must be met"):
        compare(tmp_path)
    assert json.loads((tmp_path / BENCH).read_text())["processor_seconds"] == {"search-seed0": 0.0}


def test_other_options_in_the_same_folder_are_refused(runs: list[str], tmp_path: Path) -> None:
    compare(tmp_path)
    with pytest.raises(ConfigurationError, match="a comparison continues with the options it began with"):
        compare(tmp_path, budget="2m")
    with pytest.raises(ConfigurationError, match="an arm continues with the options it began with"):
        compare(tmp_path, [Arm("search", ("--epochs", "3")), *THREE[1:]])


@pytest.mark.parametrize(
    ("arms", "baseline", "message"),
    [
        ([Arm("a")], None, "arms must be two or more"),
        ([Arm("a"), Arm("A")], None, "with different names"),
        ([Arm("a"), Arm("b")], "c", "baseline must be one of the arms"),
    ],
)
def test_wrong_arms_are_one_line(tmp_path: Path, arms: Any, baseline: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        compare(tmp_path, arms, baseline=baseline)
