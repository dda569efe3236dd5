from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from onepath.counting import CostTable, CostTerm
from onepath.errors import ConfigurationError
from onepath.policy import GrowthController
from onepath.search import FeasibleSet, Limit
from onepath.search.growth import Growth
from onepath.space import Architecture, Choice, SearchSpace

SPACE = SearchSpace(
    [
        Choice("width", [8, 16, 24, 32], role="size"),
        Choice("operation", ["a", "b"]),
        Choice("depth", [1, 2, 3, 4, 5], role="depth"),
    ]
)
GROWERS = ("controller", "evolution", "random")


def grown(algorithm: Growth, feasible: FeasibleSet | None = None) -> list:
    """All proposals of a search whose score is the size of the architecture, in [0, 1]."""
    found = []
    while proposals := algorithm.ask(feasible or FeasibleSet(SPACE)):
        scores = [score(proposal.architecture) for proposal in proposals]
        algorithm.tell([proposal.architecture for proposal in proposals], scores)
        found += proposals
    return found


def score(architecture: Architecture) -> float:
    width, _, depth = architecture.indices
    return (width + depth) / 8


@pytest.mark.parametrize("grower", GROWERS)
def test_every_child_is_a_larger_one_of_a_parent_that_is_known(grower: str) -> None:
    found = grown(Growth(SPACE, num=15, batch=4, grower=grower))
    first, *others = found
    assert (first.architecture.indices, first.origin, first.parent) == ((0, 0, 0), "given", None)
    known = {first.architecture}
    for proposal in others:
        assert proposal.origin != "random" or proposal.parent is None
        if proposal.parent is not None:
            assert proposal.parent in known
            small, large = proposal.parent.indices, proposal.architecture.indices
            assert all(0 <= b - a <= 2 for a, b in zip(small, large, strict=True))
            assert small != large
            assert small[1] == large[1]
        known.add(proposal.architecture)
    assert len(known) == len(found)


@pytest.mark.parametrize("grower", GROWERS)
def test_a_replayed_search_continues_alike(grower: str) -> None:
    whole = [p.architecture for p in grown(Growth(SPACE, 3, num=15, batch=4, grower=grower))]
    again = [p.architecture for p in grown(Growth(SPACE, 3, num=15, batch=4, grower=grower))]
    assert whole == again
    if grower != "controller":
        other = [p.architecture for p in grown(Growth(SPACE, 4, num=15, batch=4, grower=grower))]
        assert whole != other


def test_limits_are_hard() -> None:
    table = CostTable(0, [CostTerm(("width",), [1, 2, 3, 4]), CostTerm(("depth",), [1, 2, 3, 4, 5])], "MACs")
    limit = Limit("max_macs", "MACs", 4, lambda rows: table.costs(SPACE, rows), table)
    found = grown(Growth(SPACE, num=30, batch=4), FeasibleSet(SPACE, [limit]))
    assert all(table.cost(proposal.architecture) <= 4 for proposal in found)


def test_the_best_is_the_start_of_the_next_stage() -> None:
    algorithm = Growth(SPACE, num=13, batch=3, stage=2)
    starts = []
    while proposals := algorithm.ask(FeasibleSet(SPACE)):
        algorithm.tell([p.architecture for p in proposals], [score(p.architecture) for p in proposals])
        starts.append(tuple(algorithm.controller.parent.tolist()))
    assert starts[0] == starts[1] == (0, 0, 0)
    assert sum(starts[2]) > 0


def test_a_child_has_the_probability_of_its_rises() -> None:
    controller = GrowthController(SPACE)
    with torch.no_grad():
        for parameter in controller.parameters():
            parameter.normal_(0, 0.5, generator=torch.Generator().manual_seed(0))
    controller.parent = np.array([1, 1, 3], dtype=SPACE.dtype)
    rises = np.array([[a, b] for a in range(3) for b in range(2)])
    children = controller.child(rises)
    p = controller(children).log_probabilities.exp()
    assert p.sum().item() == pytest.approx(1, abs=1e-5)
    drawn = controller.sample(20_000, np.random.default_rng(0))
    assert (drawn[:, 1] == 1).all()
    for child, probability in zip(children, p.tolist(), strict=True):
        share = (drawn == child).all(axis=1).mean()
        assert share == pytest.approx(probability, abs=4 * math.sqrt(probability / 20_000) + 1e-3)


def test_a_space_without_sizes_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="grows by its sizes and depths"):
        Growth(SearchSpace([Choice("operation", ["a", "b"])]))
    falling = SearchSpace([Choice("width", [16, 8], role="size")])
    with pytest.raises(ConfigurationError, match="do not rise"):
        Growth(falling)
