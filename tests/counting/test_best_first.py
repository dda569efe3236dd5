"""Architectures in the order of their scores, against enumeration."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from counting.tables import conditional_space, conditional_table, plain_space

from onepath.counting import most_probable
from onepath.counting.best_first import best_first
from onepath.errors import InfeasibleError, SpaceError


def scored(seed: int, shift: float) -> tuple[list[np.ndarray], np.ndarray]:
    """Scores of every option, and their sum for every architecture of the conditional space."""
    space, rng = conditional_space(), np.random.default_rng(seed)
    scores = [rng.normal(shift, 1.0, choice.num_options) for choice in space.choices]
    rows = space.enumerate_matrix()
    active = space.active(rows)
    own = np.stack([scores[column][rows[:, column]] for column in range(space.num_choices)], axis=1)
    return scores, np.where(active, own, 0.0).sum(axis=1)


@pytest.mark.parametrize("shift", [-2.0, 0.0, 2.0])
def test_every_architecture_comes_once_by_falling_score(shift: float) -> None:
    space = conditional_space()
    scores, totals = scored(0, shift)
    by_indices = dict(zip(map(tuple, space.enumerate_matrix().tolist()), totals, strict=True))
    found = list(best_first(space, scores))
    assert len(set(found)) == len(found) == space.size
    assert [by_indices[a.indices] for a in found] == pytest.approx(sorted(totals, reverse=True))


def test_the_best_accepted_one_within_a_limit_equals_enumeration() -> None:
    space, table = conditional_space(), conditional_table("int")
    scores, totals = scored(1, 0.0)
    rows = space.enumerate_matrix()
    costs = table.costs(space, rows)
    limit = float(np.quantile(costs, 0.3))
    taken = (rows.sum(axis=1) % 5 == 0) & (costs <= limit)
    named = {choice.name: own.tolist() for choice, own in zip(space.choices, scores, strict=True)}
    found = most_probable(space, named, table, limit, accepts=lambda a: sum(a.indices) % 5 == 0)
    assert found.indices == tuple(rows[np.flatnonzero(taken)[totals[taken].argmax()]].tolist())
    with pytest.raises(InfeasibleError, match="none is"):
        most_probable(space, named, table, limit, accepts=lambda _: False)


def test_an_endless_search_ends_with_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onepath.counting.best_first._MOST_LOOKED_AT", 100)
    space = plain_space()
    scores = [np.zeros(choice.num_options) for choice in space.choices]
    with pytest.raises(SpaceError, match="may look at 100"):
        list(itertools.islice(best_first(space, scores), 1000))
