from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from onepath.counting import CostTable, CostTerm
from onepath.space import SearchSpace
from onepath.testing import SAMPLER_CHECKS, MakeSampler
from onepath.testing.samplers import (
    check_every_option_is_trained,
    check_nothing_else_is_random,
    check_update_and_generator_decide,
)
from onepath.train import (
    ConstrainedSampler,
    OpenSampler,
    PathDropoutSampler,
    Sampler,
    SandwichSampler,
    StrictFairnessSampler,
    UniformSampler,
    WideningSampler,
)


def make_constrained(space: SearchSpace) -> Sampler:
    terms = [CostTerm((choice.name,), list(range(choice.num_options))) for choice in space.choices]
    return ConstrainedSampler(space, CostTable(1, terms, "macs"), 2, 8)


def make_widening(space: SearchSpace) -> Sampler:
    return WideningSampler(space, 200)


def make_path_dropout(space: SearchSpace) -> Sampler:
    return PathDropoutSampler(space, 200, rate=0.3)


def make_ghost_batches(space: SearchSpace) -> Sampler:
    return PathDropoutSampler(space, 200, rate=0.3, end=0, num_ghost_batches=3)


def make_open(space: SearchSpace) -> Sampler:
    return OpenSampler(space, {choice: choice.options for choice in space.choices}, 2)


MAKERS = [
    SandwichSampler,
    make_open,
    UniformSampler,
    StrictFairnessSampler,
    make_constrained,
    make_widening,
    make_path_dropout,
    make_ghost_batches,
]


@pytest.mark.parametrize("check", SAMPLER_CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("make", MAKERS)
def test_samplers_keep_the_contract(make: MakeSampler, check: Callable[[MakeSampler], None]) -> None:
    check(make)


class Remembering(UniformSampler):
    """Repeats the last path."""

    last = None

    def paths(self, update, rng):
        self.last = self.last or super().paths(update, rng)
        return self.last


class Global(UniformSampler):
    def paths(self, update, rng):
        np.random.random()  # noqa: NPY002
        return super().paths(update, rng)


@pytest.mark.parametrize(
    ("make", "check", "message"),
    [
        (Remembering, check_every_option_is_trained, "were not drawn"),
        (Remembering, check_update_and_generator_decide, "asked for before|continues with other"),
        (Global, check_nothing_else_is_random, "global generator"),
    ],
)
def test_the_contract_notices(make: MakeSampler, check: Callable[[MakeSampler], None], message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check(make)
