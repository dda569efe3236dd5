"""Finalists: several of the search's best networks are trained, and the validation split chooses the winner."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from small_cells import brightness_task, cell_space

import onepath as op
from onepath.data import ImageTask
from onepath.errors import ConfigurationError
from onepath.record import load_tensors
from onepath.record.directory import WEIGHTS
from onepath.runs import SilentProgress
from onepath.search.halving import kept

pytestmark = pytest.mark.usefixtures("no_graphs")

OPTIONS: dict[str, Any] = {
    "method": "spos",
    "max_macs": 200_000,
    "epochs": 1,
    "population": 6,
    "generations": 0,
    "batch_size": 16,
    "retrain_epochs": 4,
    "num_baselines": 1,
    "seed": 3,
    "workers": 1,
}


@pytest.fixture(scope="module")
def data() -> ImageTask:
    return brightness_task(130, 30)


def finals(data: ImageTask, out: Path, **options: Any) -> op.runs.Result:
    return op.run(data, space=cell_space, out=out, **{**OPTIONS, **options})


class KilledError(Exception):
    """What ends a run in the middle."""


class Ending(SilentProgress):
    """Ends the run at the n-th step that is told while the finals are played."""

    def __init__(self, num: int) -> None:
        self.left, self.plays = num, False

    def note(self, text: str) -> None:
        self.plays = self.plays or text.startswith("finals")

    def advance(self, done: int, detail: str = "") -> None:
        if self.plays:
            self.left -= 1
            if self.left == 0:
                raise KilledError


@pytest.fixture(scope="module")
def halved(data: ImageTask, tmp_path_factory: pytest.TempPathFactory) -> op.runs.Result:
    return finals(data, tmp_path_factory.mktemp("halved") / "run", finish="halving")


def test_halving_keeps_the_better_half_of_each_round(halved: op.runs.Result) -> None:
    played = halved.result["finals"]
    first, second = played["rounds"]
    assert (first["share"], second["share"], played["trainings"]) == (0.25, 0.5, 2.0)
    order = sorted(halved.trials, key=lambda row: (-(row.accuracy or 0), row.loss or 0, row.number))
    names = [row.architecture for row in order[:4]]
    assert set(first["validation"]) == set(names)
    left = [names[place] for place in kept([first["validation"][name] for name in names], 2)]
    assert set(second["validation"]) == set(left)
    winner = max(left, key=lambda name: (second["validation"][name], -names.index(name)))
    assert str(halved.architecture) == winner
    assert halved.result["architecture"] == halved.architecture.options
    assert not [path.name for path in (halved.path / "checkpoints").iterdir() if "finalist" in path.name]
    assert "among the finalists" in (halved.path / "report.html").read_text()


def test_the_winner_ends_as_if_it_had_been_trained_alone(halved: op.runs.Result, data: ImageTask) -> None:
    """A run whose only network is the winner of the finals trains it to the same weights, to the bit."""
    settings = {key: OPTIONS[key] for key in ("batch_size", "retrain_epochs", "seed")}
    job = op.methods.MemoryJob(op.Supernet(cell_space()), data, **settings)
    alone = job.finished(job.space.parse(str(halved.architecture)))
    weights = load_tensors(halved.path / WEIGHTS, None)
    assert all(torch.equal(value, weights[key]) for key, value in alone.state_dict().items())


@pytest.mark.parametrize("num", [3, 41])
def test_finals_that_were_interrupted_end_with_the_same_result(
    halved: op.runs.Result, data: ImageTask, tmp_path: Path, num: int
) -> None:
    with pytest.raises(KilledError):
        finals(data, tmp_path / "run", finish="halving", progress=Ending(num), checkpoint_seconds=0.0)
    resumed = finals(data, tmp_path / "run", finish="halving")
    for key in ("architecture", "accuracy", "finals", "random_baseline", "ranking"):
        assert halved.result[key] == resumed.result[key]
    weights, again = (load_tensors(run.path / WEIGHTS, None) for run in (halved, resumed))
    assert all(torch.equal(value, again[key]) for key, value in weights.items())


@pytest.mark.parametrize("finish", ["scratch", "inherited", "as-is"])
def test_finalists_are_trained_to_the_end_without_halving(
    data: ImageTask, tmp_path: Path, finish: str
) -> None:
    result = finals(data, tmp_path / "run", finish=finish, finalists=3, num_baselines=0).result
    (played,) = result["finals"]["rounds"]
    assert (played["share"], len(played["validation"]), result["finals"]["trainings"]) == (1.0, 3, 3.0)
    assert result["accuracy"]["retrained_validation"] == max(played["validation"].values())


def test_random_networks_are_finalists_that_nothing_has_evaluated(data: ImageTask, tmp_path: Path) -> None:
    drawn = {**{key: OPTIONS[key] for key in ("max_macs", "batch_size", "retrain_epochs", "seed")}, "num": 3}
    result = op.run(
        data, space=cell_space, method="random", num_baselines=0, out=tmp_path / "run", **drawn
    ).result
    (played,) = result["finals"]["rounds"]
    assert len(played["validation"]) == 3
    assert result["accuracy"]["inherited_validation"] is None
    assert result["accuracy"]["retrained_validation"] == max(played["validation"].values())


def test_both_starts_and_several_finalists_exclude_each_other(data: ImageTask, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="finish both compares two trainings of one network"):
        finals(data, tmp_path / "run", finish="both", finalists=2)
