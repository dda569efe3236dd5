"""kill -9 at any moment, the same command again: the result is that of an uninterrupted run."""

from __future__ import annotations

from pathlib import Path

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


def test_time_adds_up_over_kills(runner: Runner, tmp_path: Path) -> None:
    from onepath.record import RunRecord

    assert runner(tmp_path / "run", ("searching", 2)) == -9
    before = RunRecord.load(tmp_path / "run").stages["train"]["seconds"]
    assert runner(tmp_path / "run", ("retraining", 1)) == -9
    stages = RunRecord.load(tmp_path / "run").stages
    assert stages["train"]["seconds"] == before
    assert stages["search"]["done"]
    assert not stages["retrain"]["done"]
