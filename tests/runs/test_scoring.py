"""Several processes that score: the scores of one, and what ends them."""

from __future__ import annotations

import dataclasses
import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import torch
from test_zen import ZEN

from onepath import runs
from onepath.errors import ConfigurationError, UserError
from onepath.estimate import ScoreEstimator
from onepath.runs import scored, scoring_team
from onepath.runs.scoring_team import ScoringTeam
from onepath.runs.stages import run_stage
from onepath.space import Architecture
from onepath.workers import processes

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def run(tmp_path: Path) -> Iterator[runs.Run]:
    with runs.Run(runs.make_config({**ZEN, "out": str(tmp_path / "run")})) as run:
        yield run


def drawn(run: runs.Run, num: int) -> list[Architecture]:
    import numpy as np

    return run.blank.space.architectures(run.blank.space.sample(num, np.random.default_rng(0)))


def test_scores_are_those_of_one_process(run: runs.Run) -> None:
    architectures = drawn(run, 6)
    own = ScoreEstimator("zen", run.blank, run.task, batch_size=16, seed=3)
    with closing(ScoringTeam(run, "zen", (16, *run.input_shape), 3, num_workers=2)) as team:
        team.anticipate(architectures)
        # Asked in another order than given out, and again, and one that was not announced.
        found = [team.estimate(each) for each in [*reversed(architectures), *drawn(run, 8)]]
    expected = [own.estimate(each) for each in [*reversed(architectures), *drawn(run, 8)]]
    assert [dataclasses.replace(each, seconds=0) for each in found] == [
        dataclasses.replace(each, seconds=0) for each in expected
    ]
    assert all(estimate.seconds > 0 for estimate in found)
    assert len(set(found)) > 3


def test_a_process_that_is_ended_is_told_in_one_line(run: runs.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def start(*arguments: Any, **options: Any) -> Any:
        process = original(*arguments, **options)
        process.send_signal(signal.SIGKILL)
        return process

    original = processes._start_process
    monkeypatch.setattr(processes, "_start_process", start)
    team = ScoringTeam(run, "zen", (16, *run.input_shape), 3, num_workers=1)
    with closing(team), pytest.raises(UserError, match="that of scores was ended by SIGKILL") as error:
        team.estimate(drawn(run, 1)[0])
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_the_others_take_over_what_an_ended_or_stopped_process_had(
    run: runs.Run, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    monkeypatch.setattr(scoring_team, "MOST_STOPPED_SECONDS", 0.5)
    architectures = drawn(run, 8)
    with closing(ScoringTeam(run, "zen", (16, *run.input_shape), 3, num_workers=2)) as team:
        team.anticipate(architectures)
        first = team._workers[0]
        first._process.send_signal(number)
        found = [team.estimate(each).accuracy for each in architectures]
        assert len(team._workers) == 1
    own = ScoreEstimator("zen", run.blank, run.task, batch_size=16, seed=3)
    assert found == [own.value(each) for each in architectures]


def test_an_error_of_a_process_is_raised_here(run: runs.Run) -> None:
    team = ScoringTeam(run, "snip", (16, *run.input_shape), 3, num_workers=1)
    with closing(team), pytest.raises(ConfigurationError, match="snip does; give the estimator a task"):
        team.estimate(drawn(run, 1)[0])


def searched(out: Path, workers: int) -> Any:
    given = {**ZEN, "out": str(out), "workers": workers}
    with runs.Run(runs.make_config(given)) as run:
        run_stage(run, "train")
        run_stage(run, "search")
        store = run.directory.store
        trials = [dataclasses.replace(trial, seconds=0) for trial in store.trials()]
        return trials, store.stage("search").record


def test_a_search_finds_what_it_finds_in_one_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(2)
    alone = searched(tmp_path / "alone", workers=2)
    monkeypatch.setattr(scored, "FEWEST_SCORED", 6)
    teams: list[ScoringTeam] = []
    close = ScoringTeam.close
    monkeypatch.setattr(ScoringTeam, "close", lambda team: (teams.append(team), close(team)))
    assert searched(tmp_path / "together", workers=2) == alone
    assert len(teams) == 1
    assert not teams[0]._workers


def test_who_scores_by_several_processes(run: runs.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def num_workers(**options: Any) -> int | None:
        monkeypatch.setattr(run, "config", run.config.model_copy(update=options))
        team = scored.scoring_team(run)
        return None if team is None else team._num_workers

    large = {"population": 512, "generations": 7}
    assert num_workers(**large, workers=4) is None, "the space has 27 networks"
    monkeypatch.setitem(run.blank.space.__dict__, "size", 10**6)
    assert num_workers(workers=1) is None
    assert num_workers(workers=4) == 4
    assert num_workers(workers=64) == 32
    assert num_workers(population=50, generations=4) is None
    assert num_workers(**large, proxy="snip") is None


def test_data_given_in_python_are_no_hindrance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import numpy as np

    monkeypatch.setattr(scored, "FEWEST_SCORED", 6)
    monkeypatch.setattr("onepath.train.threads.usable_cores", lambda: 2)
    rng = np.random.default_rng(0)
    arrays = (rng.integers(0, 256, (200, 8, 8, 1), np.uint8), np.arange(200) % 10)
    given = {**ZEN, "out": str(tmp_path / "run"), "workers": None, "data": "python:arrays"}
    for _ in range(2):  # the second continues
        with runs.Run(runs.make_config(given), data=arrays) as run:
            run_stage(run, "train")
            run_stage(run, "search")
            assert run.config.workers == 2
            assert len(run.directory.store.trials()) == 12
            assert scored.scoring_team(run) is None, "nothing is left to score"
