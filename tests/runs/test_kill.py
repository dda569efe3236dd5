"""kill -9 at any moment, the same command again: the result is that of an uninterrupted run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from run_processes import Runner, without_times


def test_a_run_that_is_killed_again_and_again_ends_with_the_same_result(
    runner: Runner, finished: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    runner.evaluated()
    moments = [
        ("training", 3),
        ("searching", 4),
        ("retraining winner-inherited", 4),
        ("exporting", 3),
        ("writing the report", 1),
    ]
    for moment in moments:
        assert runner(out, moment) == -9, f"not killed at {moment}"
    assert runner(out) == 0
    evaluated = runner.evaluated()
    assert len(evaluated) == len(set(evaluated)), "an architecture was evaluated twice"
    assert without_times(out) == without_times(finished)


WITHOUT_SUPERNET = {
    "epochs": None,
    "population": None,
    "generations": None,
    "retrain_from": None,
    "num_baselines": 1,
}
OTHERS: dict[str, tuple[dict[str, Any], list[tuple[str, int]]]] = {
    "rl": (
        {**WITHOUT_SUPERNET, "num": 5, "controller_batch": 3, "proxy_epochs": 1, "proxy_subset": 0.3},
        [("searching", 1), ("searching", 4)],
    ),
    "enas": (
        {"population": None, "generations": None, "retrain_from": None, "controller_steps": 2, "num": 5},
        [("training", 3), ("training", 8), ("searching", 2)],
    ),
    "smash": ({}, [("training", 3), ("searching", 2), ("retraining winner-inherited", 2)]),
    "ghn": ({"meta_batch": 2, "retrain_from": None}, [("training", 3), ("searching", 2)]),
    "eas": (
        {
            **WITHOUT_SUPERNET,
            "space": "eas",
            "width": 0.5,
            "max_macs": "100k",
            "num": 5,
            "children": 2,
            "child_epochs": 1,
        },
        [("searching", 2), ("searching", 4)],
    ),
}


@pytest.mark.parametrize("method", sorted(OTHERS))
def test_other_methods_end_with_the_same_result_too(runner: Runner, tmp_path: Path, method: str) -> None:
    """What they train beside a supernet is kept as well: a controller, a hypernetwork, weights of parents."""
    options, moments = OTHERS[method]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert runner(whole, method=method, **options) == 0
    for moment in moments:
        assert runner(killed, moment, method=method, **options) == -9, f"not killed at {moment}"
    assert runner(killed, method=method, **options) == 0
    assert without_times(killed) == without_times(whole)


def test_time_adds_up_over_kills(runner: Runner, tmp_path: Path) -> None:
    from onepath.record import RunRecord

    assert runner(tmp_path / "run", ("searching", 2)) == -9
    before = RunRecord.load(tmp_path / "run").stages["train"]["seconds"]
    assert runner(tmp_path / "run", ("retraining", 1)) == -9
    stages = RunRecord.load(tmp_path / "run").stages
    assert stages["train"]["seconds"] == before
    assert stages["search"]["done"]
    assert not stages["retrain"]["done"]
