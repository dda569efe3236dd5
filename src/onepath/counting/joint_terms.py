"""The terms of a cost table over all choices that decide about them, also about whether they count."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from onepath.counting.cost_table import CostTable
from onepath.errors import ConfigurationError
from onepath.space.search_space import SearchSpace

MOST_JOINT = 2**16

JointTerm = tuple[tuple[int, ...], npt.NDArray[Any]]
"""Columns of choices, and the cost of each of their joint options, which is 0 where the term does not count."""


def joint_terms(space: SearchSpace, table: CostTable) -> list[JointTerm]:
    """Return the terms of a table, each over its choices and over those that decide whether it counts.

    Args:
        space: space of the choices.
        table: the table; its constant is not part of the terms.

    Raises:
        ConfigurationError: a term has more than 65,536 joint options.
        SpaceError: a term does not fit the space.
    """
    return [
        _expanded(space, columns, term.costs)
        for columns, term in zip(table.columns(space), table.terms, strict=True)
    ]


def _expanded(space: SearchSpace, columns: tuple[int, ...], costs: npt.NDArray[Any]) -> JointTerm:
    closure = list(columns)
    for column in closure:  # grows while it is walked
        closure += [parent for parent in sorted(space.conditions.parents(column)) if parent not in closure]
    shape = tuple(space.choices[column].num_options for column in closure)
    if math.prod(shape) > MOST_JOINT:
        raise ConfigurationError(
            f"a term of a cost table may depend on {MOST_JOINT:,} joint options here, but one has "
            f"{math.prod(shape):,}; use a table with terms over fewer choices"
        )
    joint = np.indices(shape).reshape(len(shape), -1).T
    rows = np.zeros((len(joint), space.num_choices), dtype=space.dtype)
    rows[:, closure] = joint
    counts = space.active(rows)[:, list(columns)].all(axis=1)
    values = costs[tuple(joint[:, : len(columns)].T)]
    return tuple(closure), np.where(counts, values, 0).reshape(shape)
