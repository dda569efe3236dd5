from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from onepath.errors import ConfigurationError
from onepath.nn import ChoiceBlock, ElasticConv2d, ElasticLinear, Supernet
from onepath.randomness import generator
from onepath.space import Choice, SearchSpace
from onepath.train import Recipe, WideningSampler, train_phases, train_supernet, widening_phases
from onepath.train.phase import ends
from onepath.train.widening import is_size


@pytest.fixture
def space() -> SearchSpace:
    return SearchSpace([Choice("block", ["k3", "k5", "k7"]), Choice("width", [0.5, 1.5, 1.0, 2.0])])


def drawn(sampler: WideningSampler, update: int, num: int = 400) -> Counter[object]:
    rng = np.random.default_rng(update)
    return Counter(sampler.paths(update, rng)[0].options["width"] for _ in range(num))


def test_sizes_open_from_the_largest_to_the_smallest(space: SearchSpace) -> None:
    sampler = WideningSampler(space, 100, begin=0.4, end=0.7)
    opened = [set(drawn(sampler, update)) for update in (0, 39, 40, 51, 61, 70, 99)]
    everything = {2.0, 1.5, 1.0, 0.5}
    assert opened == [{2.0}, {2.0}, {2.0, 1.5}, {2.0, 1.5, 1.0}, everything, everything, everything]


def test_other_choices_are_uniform_from_the_first_update(space: SearchSpace) -> None:
    sampler = WideningSampler(space, 10_000)
    found = Counter(sampler.paths(t, generator(0, "paths", t))[0].options["block"] for t in range(3000))
    expected = 1000
    assert (
        sum((count - expected) ** 2 / expected for count in found.values()) < 13.8
    )  # chi-squared, p = 0.001


def test_open_sizes_are_drawn_evenly(space: SearchSpace) -> None:
    found = drawn(WideningSampler(space, 10), 9, 4000)
    assert len(found) == 4
    assert sum((count - 1000) ** 2 / 1000 for count in found.values()) < 16.3


def test_no_stretch_between_begin_and_end_opens_all_at_once(space: SearchSpace) -> None:
    sampler = WideningSampler(space, 10, begin=0.5, end=0.5)
    assert [sampler.num_open(4, update) for update in (4, 5)] == [1, 4]


def test_what_counts_as_a_size() -> None:
    assert is_size(Choice("width", [1, 2]))
    assert not is_size(Choice("only", [1]))
    assert not is_size(Choice("block", ["a", "b"]))


@pytest.mark.parametrize("wrong", [{"begin": 0.8, "end": 0.5}, {"end": 1.5}, {"begin": -0.1}])
def test_shares_out_of_order(space: SearchSpace, wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigurationError, match="begin <= end"):
        WideningSampler(space, 10, **wrong)


def test_no_updates(space: SearchSpace) -> None:
    with pytest.raises(ConfigurationError, match="num_updates"):
        WideningSampler(space, 0)


@pytest.mark.parametrize("num_updates", [1, 7, 66, 101, 588])
@pytest.mark.parametrize("shares", [(0.5, 0.8), (0.4, 0.7), (0, 1), (0.5, 0.5), (0, 0.8), (0.5, 1), (0, 0)])
def test_phases_draw_the_paths_of_the_sampler(num_updates: int, shares: tuple[float, float]) -> None:
    """Also where a share of the updates is no whole number of them."""
    supernet = sized_supernet()
    space = supernet.space
    options = {"begin": shares[0], "end": shares[1]}
    sampler = WideningSampler(space, num_updates, **options)
    recipe = Recipe(epochs=num_updates, batch_size=1, learning_rate=0.1)
    phases = widening_phases(supernet, OneUpdatePerEpoch(), recipe, **options)
    found, begin = [], 0
    for phase, end in zip(phases, ends(phases, num_updates), strict=True):
        assert begin < end
        found += [phase.sampler.paths(t, generator(0, "paths", t)) for t in range(begin, end)]
        begin = end
    assert found == [sampler.paths(t, generator(0, "paths", t)) for t in range(num_updates)]


@pytest.mark.parametrize("one_path", [0.0, 0.1, 0.6, 0.9])
def test_training_in_phases_is_training_with_the_sampler(toys: Any, one_path: float) -> None:
    """To the bit, with a start from one path that ends before, within or after the widening."""
    ours, theirs, task = sized_supernet(), sized_supernet(), toys.NoiseTask()
    recipe = Recipe(epochs=3, batch_size=16, learning_rate=0.1, one_path=one_path)  # 18 updates
    sampler = WideningSampler(theirs.space, 18)
    train_supernet(theirs, task, sampler=sampler, recipe=recipe, seed=3)
    phases = widening_phases(ours, task, recipe)
    assert ("one path" in [phase.name for phase in phases]) is (one_path > 0)
    train_phases(ours, task, phases, seed=3)
    others = theirs.state_dict()
    for name, value in ours.state_dict().items():
        assert torch.equal(value, others[name]), name


class OneUpdatePerEpoch:
    """All that `widening_phases` asks of a task."""

    def updates_per_epoch(self, batch_size: int) -> int:
        return 1


def sized_supernet() -> Supernet:
    """A block, then two layers of 4 and of 3 widths."""
    widths = [Choice("width", [2, 6, 4, 8]), Choice("second", [2, 3, 4])]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Supernet(
            nn.Sequential(
                ChoiceBlock({name: nn.Conv2d(3, 3, 1) for name in ("a", "b")}),
                ElasticConv2d(3, widths[0], 3, padding=1),
                nn.AdaptiveAvgPool2d(1),
                nn.Flatten(),
                ElasticLinear(widths[0], widths[1]),
                ElasticLinear(widths[1], 4),
            )
        )
