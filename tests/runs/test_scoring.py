"""Several processes that estimate: the estimates of one, and what ends them."""

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
from onepath.estimate import AnticipatingEstimator, ScoreEstimator
from onepath.methods.job import Trained
from onepath.runs import scoring
from onepath.runs.definition import Given
from onepath.runs.run_job import RunJob
from onepath.runs.scoring import PooledEstimates
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


def scored(run: runs.Run, num_workers: int, name: str = "zen") -> PooledEstimates:
    options = {"name": name, "shape": (16, *run.input_shape), "seed": 3}
    return PooledEstimates(run, "score", options, num_workers)


def untimed(estimates: Any) -> list[Any]:
    return [dataclasses.replace(each, seconds=0) for each in estimates]


def test_scores_are_those_of_one_process(run: runs.Run) -> None:
    architectures = drawn(run, 6)
    own = ScoreEstimator("zen", run.blank, run.task, batch_size=16, seed=3)
    with closing(scored(run, 2)) as pooled:
        assert isinstance(pooled, AnticipatingEstimator)
        pooled.anticipate(architectures)
        # Asked in another order than given out, and again, and one that was not announced.
        found = [pooled.estimate(each) for each in [*reversed(architectures), *drawn(run, 8)]]
    expected = [own.estimate(each) for each in [*reversed(architectures), *drawn(run, 8)]]
    assert untimed(found) == untimed(expected)
    assert all(estimate.seconds > 0 for estimate in found)
    assert len(set(found)) > 3


def test_a_process_that_is_ended_is_told_in_one_line(run: runs.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def start(*arguments: Any, **options: Any) -> Any:
        process = original(*arguments, **options)
        process.send_signal(signal.SIGKILL)
        return process

    original = processes._start_process
    monkeypatch.setattr(processes, "_start_process", start)
    pooled = scored(run, 1)
    with closing(pooled), pytest.raises(UserError, match="that of scores was ended by SIGKILL") as error:
        pooled.estimate(drawn(run, 1)[0])
    assert "\n" not in str(error.value)


def test_an_error_of_a_process_is_raised_here(run: runs.Run) -> None:
    pooled = scored(run, 1, "snip")
    with closing(pooled), pytest.raises(ConfigurationError, match="snip does; give the estimator a task"):
        pooled.estimate(drawn(run, 1)[0])


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
    monkeypatch.setattr(scoring, "FEWEST_SCORED", 6)
    ended: list[PooledEstimates] = []
    close = PooledEstimates.close
    monkeypatch.setattr(PooledEstimates, "close", lambda pooled: (ended.append(pooled), close(pooled)))
    assert searched(tmp_path / "together", workers=2) == alone
    assert len(ended) == 1
    assert len(ended[0]._asked) == len(alone[0])
    assert not ended[0]._pool._workers


def test_who_scores_by_several_processes(run: runs.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def num_scoring(workers: int, num_left: int = 4096, name: str = "zen") -> int:
        monkeypatch.setattr(run, "config", run.config.model_copy(update={"workers": workers}))
        return scoring.num_scoring(run, name, num_left)

    assert num_scoring(workers=1) == 1
    assert num_scoring(workers=4) == 4
    assert num_scoring(workers=64) == 32
    assert num_scoring(workers=4, num_left=250) == 1
    assert num_scoring(workers=4, name="snip") == 1, "each would load the data"
    monkeypatch.setattr(run, "config", run.config.model_copy(update={"workers": 4}))
    estimator = run.config.options.search(RunJob(run), Trained(run.blank)).estimator
    assert isinstance(estimator, ScoreEstimator), "the space has 27 networks"


def test_data_given_in_python_are_no_hindrance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import numpy as np

    monkeypatch.setattr(scoring, "FEWEST_SCORED", 6)
    monkeypatch.setattr("onepath.train.threads.usable_cores", lambda: 2)
    rng = np.random.default_rng(0)
    arrays = (rng.integers(0, 256, (200, 8, 8, 1), np.uint8), np.arange(200) % 10)
    given = {**ZEN, "out": str(tmp_path / "run"), "workers": None, "data": "python:arrays"}
    for _ in range(2):  # the second continues
        with runs.Run(runs.make_config(given), given=Given(data=arrays)) as run:
            run_stage(run, "train")
            run_stage(run, "search")
            assert run.config.workers == 2
            assert len(run.directory.store.trials()) == 12
