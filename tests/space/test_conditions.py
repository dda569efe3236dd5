"""Which choices are active, row by row and choice by choice."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from onepath.errors import SpaceError
from onepath.space import Choice
from onepath.space.conditions import Conditions

CHOICES = [Choice(name, ["x", "y", "z"]) for name in "abcd"]


def by_hand(row: tuple[int, ...]) -> list[bool]:
    """b needs a in {y, z}; c needs a = x, or b active and z; d needs c active and y."""
    a, b, c, _ = row
    b_active = a in (1, 2)
    c_active = a == 0 or (b_active and b == 2)
    return [True, b_active, c_active, c_active and c == 1]


CONDITIONS = Conditions(
    CHOICES,
    {
        "b": [{"a": ["y", "z"]}],
        "c": [{"a": ["x"]}, {"b": ["z"]}],
        "d": [{"c": ["y"]}],
    },
)


def test_activity_of_every_row_agrees_with_the_rules() -> None:
    rows = np.array(list(itertools.product(range(3), repeat=4)))
    active = CONDITIONS.active(rows)
    assert active.tolist() == [by_hand(tuple(row)) for row in rows.tolist()]
    for row, own in zip(rows.tolist(), active.tolist(), strict=True):
        known = [index if is_active else -1 for index, is_active in zip(row, own, strict=True)]
        assert [CONDITIONS.is_active(column, known.__getitem__) for column in range(4)] == own


def test_parents_and_conditional_columns() -> None:
    assert CONDITIONS.conditional == [1, 2, 3]
    assert [CONDITIONS.parents(column) for column in range(4)] == [set(), {0}, {0, 1}, {2}]


def test_data_tells_conditions_apart_and_not_their_spelling() -> None:
    swapped = {"c": [{"a": ["x"], "b": ["z", "x"]}]}
    same = {"c": [{"b": ("x", "z"), "a": {"x"}}]}
    other = {"c": [{"a": ["x"], "b": ["z"]}]}
    data = [Conditions(CHOICES, conditions).to_data() for conditions in (swapped, same, other)]
    assert data[0] == data[1] != data[2]
    assert Conditions(CHOICES, {}).to_data() == []


@pytest.mark.parametrize(
    ("conditions", "message"),
    [
        ({"e": [{"a": ["x"]}]}, "names choices of the space; got 'e'"),
        ({"b": [{"e": ["x"]}]}, "names choices of the space; got 'e'"),
        ({"b": {"a": ["x"]}}, r"must be a list of alternatives; .* write \[\{parent: \[options\]\}\]"),
        ({"b": []}, "must be a list of alternatives"),
        ({"a": [{"b": ["x"]}]}, "a parent must come before its child; 'b' comes after 'a'"),
        ({"b": [{"b": ["x"]}]}, "a parent must come before its child"),
        ({"b": [{"a": "x"}]}, r"must be a collection; got 'x'; write \['x'\]"),
        ({"b": [{"a": []}]}, "'b' can never be active"),
        ({"b": [{"a": ["q"]}]}, "takes its options only; got 'q'"),
    ],
)
def test_conditions_that_do_not_fit(conditions, message) -> None:
    with pytest.raises(SpaceError, match=message):
        Conditions(CHOICES, conditions)
