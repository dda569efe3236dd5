from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from onepath.errors import ConfigurationError
from onepath.randomness import generator
from onepath.space import Choice, SearchSpace
from onepath.train import WideningSampler
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
