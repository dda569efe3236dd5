"""The least sum of losses under additive limits, against trying every architecture."""

from __future__ import annotations

import numpy as np
import pytest

from onepath.counting import CostTable, CostTerm
from onepath.errors import InfeasibleError
from onepath.search import FeasibleSet, Limit, MixedInteger
from onepath.space import Choice, SearchSpace
from onepath.testing.algorithms import known_space


def random_problem(seed: int) -> tuple[SearchSpace, CostTable, CostTable, dict[str, dict]]:
    """A conditional space, one cost of single terms and one of joint terms, and losses that also fall below zero."""
    rng = np.random.default_rng(seed)
    choices = [Choice(name, list(range(int(rng.integers(2, 5))))) for name in "abcde"]
    space = SearchSpace(
        [Choice("depth", [1, 2]), *choices], {"d": [{"depth": [2]}], "e": [{"d": [1]}, {"a": [0]}]}
    )
    single = [CostTerm(c.name, rng.integers(1, 50, c.num_options)) for c in space.choices]
    pairs = [("a", "b"), ("b", "c"), ("c", "d"), ("d", "e"), ("a", "c", "e")]
    sizes = {choice.name: choice.num_options for choice in space.choices}
    joint = [CostTerm(pair, rng.random([sizes[name] for name in pair])) for pair in pairs]
    losses = {
        c.name: dict(zip(c.options, rng.normal(size=c.num_options).tolist(), strict=True))
        for c in space.choices
    }
    return space, CostTable(7, single, "MACs"), CostTable(0.5, joint, "ms"), losses


def limit(space: SearchSpace, table: CostTable, maximum: float) -> Limit:
    return Limit("max_cost", table.unit, maximum, lambda rows: table.costs(space, rows), table)


def totals(space: SearchSpace, losses: dict[str, dict], rows: np.ndarray) -> np.ndarray:
    terms = [CostTerm(n, [float(v) for v in found.values()]) for n, found in losses.items()]
    return CostTable(0.0, terms).costs(space, rows)


@pytest.mark.parametrize("seed", range(12))
def test_the_first_answer_is_the_best_of_all_legal_architectures(seed: int) -> None:
    space, macs, time, losses = random_problem(seed)
    rows = space.enumerate_matrix()
    limits = [limit(space, t, float(np.quantile(t.costs(space, rows), 0.3))) for t in (macs, time)]
    feasible = FeasibleSet(space, limits)
    legal = rows[feasible.is_legal(rows)]
    proposals = MixedInteger(space, losses, 6).ask(feasible)
    found = space.matrix([proposal.architecture for proposal in proposals])
    assert feasible.is_legal(found).all()
    best = np.sort(totals(space, losses, legal))[:6]
    np.testing.assert_allclose(totals(space, losses, found), best, atol=1e-3)
    assert len({proposal.architecture for proposal in proposals}) == min(6, len(legal))


def test_answers_differ_in_as_many_choices_as_asked() -> None:
    space, macs, _, losses = random_problem(1)
    feasible = FeasibleSet(space, [limit(space, macs, 150)])
    found = [p.architecture for p in MixedInteger(space, losses, 4, 3).ask(feasible)]
    assert len(found) > 1
    for place, first in enumerate(found):
        active = space.active_columns(first.indices)
        for other in found[place + 1 :]:
            same = [
                c
                for c in active
                if c in space.active_columns(other.indices) and first.indices[c] == other.indices[c]
            ]
            assert len(same) <= len(active) - 3


def test_fewer_answers_are_the_first_of_more() -> None:
    space, macs, _, losses = random_problem(2)
    feasible = FeasibleSet(space, [limit(space, macs, 120)])
    few, many = (MixedInteger(space, losses, num).ask(feasible) for num in (2, 5))
    assert [p.architecture for p in few] == [p.architecture for p in many][:2]


def test_a_limit_without_a_table_is_kept_too() -> None:
    space, table = known_space()
    losses = {c.name: {o: -float(i) for i, o in enumerate(c.options)} for c in space.choices}

    def odd(rows: np.ndarray) -> np.ndarray:
        return table.costs(space, rows) % 7

    feasible = FeasibleSet(space, [limit(space, table, 80), Limit("max_odd", "", 2, odd)])
    algorithm = MixedInteger(space, losses, 3)
    proposals = algorithm.ask(feasible)
    rows = space.matrix([p.architecture for p in proposals])
    assert feasible.is_legal(rows).all()
    every = space.enumerate_matrix()
    best = totals(space, losses, every[feasible.is_legal(every)]).min()
    assert totals(space, losses, rows)[0] == pytest.approx(best)
    algorithm.tell([p.architecture for p in proposals], [0.0] * len(proposals))
    assert algorithm.ask(feasible) == []


@pytest.mark.parametrize("share", [0.05, 0.3, 0.6])
def test_a_tight_limit_on_a_peak_is_met_with_what_it_leaves(share: float) -> None:
    """Thousands of better architectures break it, so that leaving out one after the other would not end."""
    rng = np.random.default_rng(0)
    space = SearchSpace([Choice(f"c{place}", [1, 2, 3, 4], role="size") for place in range(10)])
    sizes = np.cumsum(rng.random((10, 4)) + 0.05, axis=1)
    losses = {c.name: {o: -float(o) for o in c.options} for c in space.choices}

    def peak(rows: np.ndarray) -> np.ndarray:
        own = sizes[np.arange(10), rows]
        return np.maximum(own[:, 1:], own[:, :-1]).max(axis=1)

    every = np.sort(np.unique(sizes))
    low = peak(np.zeros((1, 10), dtype=np.int64))[0]
    maximum = float(low + share * (every.max() - low))
    feasible = FeasibleSet(space, [Limit("max_peak", "bytes", maximum, peak)])
    found = [proposal.architecture for proposal in MixedInteger(space, losses, 2).ask(feasible)]
    best = [max(o for o in range(4) if sizes[place, o] <= maximum) for place in range(10)]
    assert tuple(found[0].indices) == tuple(best)
    assert [p.architecture for p in MixedInteger(space, losses, 1).ask(feasible)] == found[:1]
    assert feasible.is_legal(space.matrix(found)).all()


def test_a_tight_limit_on_a_sum_without_a_table_is_met() -> None:
    space, macs, _, losses = random_problem(3)
    rows = space.enumerate_matrix()
    maximum = float(np.quantile(macs.costs(space, rows), 0.02))
    feasible = FeasibleSet(space, [Limit("max_cost", "", maximum, lambda rows: macs.costs(space, rows))])
    found = [proposal.architecture for proposal in MixedInteger(space, losses, 2).ask(feasible)]
    assert found
    assert feasible.is_legal(space.matrix(found)).all()


def test_limits_that_nothing_meets_are_one_line() -> None:
    space, table = known_space()
    with pytest.raises(InfeasibleError, match="none of those tried meets max_cost=5"):
        MixedInteger(space, {}).ask(FeasibleSet(space, [limit(space, table, 5)]))
