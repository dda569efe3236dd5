"""The best architecture under a limit: ties, limits and messages; `tests/nn/relaxations` compares with enumeration."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from counting.tables import conditional_space, conditional_table, plain_space

from onepath.counting import CostTable, CostTerm, most_probable
from onepath.errors import InfeasibleError, SpaceError


@pytest.mark.parametrize("kind", ["int", "float"])
@pytest.mark.parametrize("seed", range(3))
def test_the_best_under_any_limit_equals_enumeration(kind: str, seed: int) -> None:
    space, table, rng = conditional_space(), conditional_table(kind), np.random.default_rng(seed)
    own = [rng.normal(size=choice.num_options) for choice in space.choices]
    rows = space.enumerate_matrix()
    totals = np.where(space.active(rows), [[s[i] for s, i in zip(own, r, strict=True)] for r in rows], 0).sum(
        1
    )
    costs = table.costs(space, rows)
    named = dict(zip(space.names, (scores.tolist() for scores in own), strict=True))
    for limit in np.quantile(costs, [0.0, 0.01, 0.3, 0.7, 1.0]):
        inside = np.flatnonzero(costs <= limit)
        expected = rows[inside[totals[inside].argmax()]]
        assert most_probable(space, named, table, float(limit)).indices == tuple(expected.tolist())
    assert most_probable(space, named).indices == tuple(rows[totals.argmax()].tolist())
    assert most_probable(space, named, table) == most_probable(space, named)


def test_of_equal_scores_the_less_costly_one_is_taken_then_the_first() -> None:
    space = plain_space(3, 3)
    table = CostTable(0, [CostTerm("c0", [2, 1, 1]), CostTerm("c2", [3, 3, 2])])
    assert most_probable(space, {}, table, 100).indices == (1, 0, 2)
    assert most_probable(space, {}).indices == (0, 0, 0)
    assert most_probable(space, {"c1": [0, 1, 1]}).indices == (0, 1, 0)
    one_of_two = CostTable(0, [CostTerm("c0", [0, 1, 9]), CostTerm("c1", [0, 1, 9])])
    scores = {"c0": [0, 1, 0], "c1": [0, 1, 0]}
    assert most_probable(space, scores, one_of_two, 1).indices == (
        0,
        1,
        0,
    )  # (1, 0, 0) scores and costs as much


def test_scores_of_inactive_choices_do_not_count() -> None:
    space = conditional_space()
    scores = {"depth": [0.0, 0.5, -1.0], "blocks.2": [-2.0, -3.0, -2.0], "blocks.5": [9.0, 0.0, 0.0]}
    assert most_probable(space, scores)["depth"] == 3
    scores["blocks.5"] = [0.5, 0.0, 0.0]
    assert most_probable(space, scores)["depth"] == 1


def test_a_limit_under_the_smallest_cost_names_it() -> None:
    space = plain_space(2, 2)
    terms = [CostTerm("c0", [3, 4]), CostTerm("c1", [5, 9])]
    with pytest.raises(InfeasibleError) as caught:
        most_probable(space, {}, CostTable(100, terms, "MACs"), 107)
    assert str(caught.value) == (
        "the limit must leave an architecture, but the least costly one has 108 MACs and the limit is 107; raise it"
    )
    with pytest.raises(InfeasibleError, match="has 108 and the limit"):
        most_probable(space, {}, CostTable(100, terms), 107)
    assert most_probable(space, {"c0": [0, 1]}, CostTable(100, terms), 108).indices == (0, 0)


def test_the_next_best_is_taken_where_the_best_is_not_accepted() -> None:
    space = plain_space(2, 3)
    scores = {"c0": [0.0, 1.0, 3.0], "c1": [0.0, 0.5, 5.0]}
    found = most_probable(space, scores, accepts=lambda architecture: architecture["c1"] != 2)
    assert found.indices == (2, 1)
    with pytest.raises(InfeasibleError, match=r"must be accepted, but none is: .*; raise the limit$"):
        most_probable(space, scores, accepts=lambda _: False)


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        (
            {"c0": [0.0, 1.0]},
            r"one finite number per option; got \[0\.0, 1\.0\] for choice 'c0' of 3 options",
        ),
        ({"c0": [0.0, 1.0, float("nan")]}, "one finite number per option"),
        ({"c0": [0.0, 1.0, float("inf")]}, "one finite number per option"),
        ({"c7": [0.0]}, "got 'c7'"),
    ],
)
def test_scores_that_do_not_fit(scores, message) -> None:
    with pytest.raises(SpaceError, match=message):
        most_probable(plain_space(2, 3), scores)


def test_too_many_partial_architectures_end_with_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["onepath.counting.most_probable"], "_MOST_LABELS", 50)
    space, rng = plain_space(12), np.random.default_rng(0)
    costs = rng.integers(0, 10**6, (12, 4))
    scores = {
        name: own.tolist() for name, own in zip(space.names, costs + rng.normal(size=(12, 4)), strict=True)
    }
    table = CostTable(0, [CostTerm(name, own) for name, own in zip(space.names, costs, strict=True)])
    with pytest.raises(
        SpaceError, match="may keep 50 partial ones, but needs more; use a cost table with coarser"
    ):
        most_probable(space, scores, table, float(costs.max(axis=1).sum()))
