"""Which choices are active: a choice may depend on the options of earlier ones."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from onepath.errors import SpaceError
from onepath.space.choice import Choice, Option, nearest

Matrix = npt.NDArray[Any]
BoolMatrix = npt.NDArray[np.bool_]
Alternative = Mapping[str, Collection[Option]]


class Conditions:
    """The conditions of a search space, by column.

    A choice is active if any of its alternatives holds. An alternative holds if each of its parents is active and has
    an allowed option.

    Args:
        choices: choices of the space, in its order.
        conditions: choice name -> alternatives, as for `SearchSpace`.

    Attributes:
        alternatives: one entry per column. None for a choice that is always active; otherwise a tuple of alternatives,
            each a tuple of (parent column, allowed), where `allowed[index]` tells whether the parent's option of this
            index lets the choice be active.
        conditional: columns of the choices that have a condition, rising.

    Raises:
        SpaceError: a name or option does not exist, no option of a parent is allowed, or a parent does not come before
            its child.
    """

    def __init__(self, choices: Sequence[Choice], conditions: Mapping[str, Sequence[Alternative]]) -> None:
        columns = {choice.name: column for column, choice in enumerate(choices)}
        self.alternatives: list[tuple[tuple[tuple[int, BoolMatrix], ...], ...] | None] = [None] * len(choices)
        for name, alternatives in conditions.items():
            column = _column(columns, name)
            if isinstance(alternatives, Mapping) or not alternatives:
                raise SpaceError(
                    f"the condition of {name!r} must be a list of alternatives; got {alternatives!r};"
                    " write [{parent: [options]}]"
                )
            self.alternatives[column] = tuple(
                tuple(
                    _parent(choices, columns, name, parent, allowed)
                    for parent, allowed in alternative.items()
                )
                for alternative in alternatives
            )
        self.conditional = [column for column, found in enumerate(self.alternatives) if found is not None]

    def parents(self, column: int) -> set[int]:
        """Return the columns of the choices that decide whether the choice of this column is active."""
        return {parent for alternative in self.alternatives[column] or () for parent, _ in alternative}

    def is_active(self, column: int, index: Callable[[int], int]) -> bool:
        """Tell whether one choice is active.

        Args:
            column: column of the choice.
            index: column of a parent -> the parent's option index, negative for an inactive parent.
        """
        alternatives = self.alternatives[column]
        if alternatives is None:
            return True
        return any(
            all(index(parent) >= 0 and allowed[index(parent)] for parent, allowed in alternative)
            for alternative in alternatives
        )

    def active(self, matrix: Matrix) -> BoolMatrix:
        """Tell which choices are active in each architecture.

        Args:
            matrix: (rows, num_choices) option indices; the indices of inactive choices do not matter.

        Returns:
            (rows, num_choices), True for an active choice.
        """
        active = np.ones(matrix.shape, dtype=np.bool_)
        for column in self.conditional:
            holds = np.zeros(len(matrix), dtype=np.bool_)
            for alternative in self.alternatives[column] or ():
                all_hold = np.ones(len(matrix), dtype=np.bool_)
                for parent, allowed in alternative:
                    all_hold &= active[:, parent] & allowed[matrix[:, parent]]
                holds |= all_hold
            active[:, column] = holds
        return active

    def to_data(self) -> list[Any]:
        """Return plain lists that are equal for equal conditions and differ otherwise; for fingerprints."""
        return [
            [
                column,
                [
                    sorted([parent, allowed.tolist()] for parent, allowed in alternative)
                    for alternative in alternatives
                ],
            ]
            for column, alternatives in enumerate(self.alternatives)
            if alternatives is not None
        ]


def _column(columns: Mapping[str, int], name: str) -> int:
    if name not in columns:
        raise SpaceError(
            f"a condition names choices of the space; got {name!r}; {nearest(name, list(columns))}"
        )
    return columns[name]


def _parent(
    choices: Sequence[Choice],
    columns: Mapping[str, int],
    child: str,
    parent: str,
    allowed: Collection[Option],
) -> tuple[int, BoolMatrix]:
    column = _column(columns, parent)
    if column >= columns[child]:
        raise SpaceError(
            f"a parent must come before its child; {parent!r} comes after {child!r}; reorder the choices"
        )
    if isinstance(allowed, str):
        raise SpaceError(
            f"allowed options of {parent!r} must be a collection; got {allowed!r}; write [{allowed!r}]"
        )
    mask = np.zeros(choices[column].num_options, dtype=np.bool_)
    for option in allowed:
        mask[choices[column].index(option)] = True
    if not mask.any():
        raise SpaceError(
            f"{child!r} can never be active: no option of {parent!r} is allowed; allow at least one"
        )
    return column, mask
