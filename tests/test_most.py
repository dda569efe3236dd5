"""Numbers that would end a machine are refused in Python as on the command line."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import onepath as op
from onepath.errors import ConfigurationError
from onepath.studies.comparison import RankOptions

SPACE = op.SearchSpace([op.Choice("a", [1, 2])])
BLOCKS = op.SearchSpace([op.Choice("a", ["x", "y"])])


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda number: op.Evolution(SPACE, population=number), "population"),
        (lambda number: op.Evolution(SPACE, parents=number), "parents"),
        (lambda number: op.Evolution(SPACE, generations=number), "generations"),
        (lambda number: op.NSGA2(SPACE, population=number), "population"),
        (lambda number: op.NSGA2(SPACE, generations=number), "generations"),
        (lambda number: op.MutationEvolution(SPACE, num=number), "num"),
        (lambda number: op.MutationEvolution(SPACE, population=number), "population"),
        (lambda number: op.RegularizedEvolution(SPACE, population=number), "population"),
        (lambda number: op.RegularizedEvolution(SPACE, batch=number), "batch"),
        (lambda number: op.RandomSearch(SPACE, num=number), "num"),
        (lambda number: op.RandomSearch(SPACE, batch=number), "batch"),
        (lambda number: op.PathDropoutSampler(BLOCKS, 10, num_ghost_batches=number), "num_ghost_batches"),
        (lambda number: op.spaces.build("nasbench201", number), "num_classes"),
        (lambda number: op.spaces.build("nasbench201", 10, input_size=number), "input_size"),
        (lambda number: op.spaces.build("nasbench201", 10, in_channels=number), "in_channels"),
        (lambda number: op.spaces.build("nasbench201", 10, width=number), "width"),
        (lambda number: op.Recipe(epochs=number, batch_size=1, learning_rate=0.1), "epochs"),
        (lambda number: op.Recipe(epochs=1, batch_size=number, learning_rate=0.1), "batch_size"),
    ],
)
def test_a_number_over_its_limit(make: Callable[[int], object], name: str) -> None:
    for number in (10**9, 10**40, 10**5000):
        with pytest.raises(ConfigurationError, match=rf"{name} <= [\d,.]+` must hold, but got") as caught:
            make(number)
        assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    "name", ["num", "calibration_images", "validation_images", "num_resamples", "similarity_paths", "seed"]
)
def test_numbers_of_a_ranking(name: str) -> None:
    for number in (10**40, -1, 2.5, True, "3"):
        with pytest.raises(ConfigurationError, match=f"{name} must be a whole number from [01] to"):
            RankOptions(**{name: number})  # type: ignore[arg-type]
    assert getattr(RankOptions(**{name: 3}), name) == 3  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["threads", "batch"])
def test_numbers_of_a_device(name: str) -> None:
    for number in (10**40, 10**9, 0, 2.5, True):
        with pytest.raises(ConfigurationError, match=name):
            op.latency.device("torch-cpu", **{name: number})  # type: ignore[arg-type]
