"""A controller under hard limits: what it draws is rejected until it is legal."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from onepath.policy.controller import Controller
from onepath.space.conditions import Matrix

_ROUNDS, _MOST_TRIES = 10, 512


class LegalPolicy:
    """Draws legal architectures from a controller.

    Args:
        controller: the controller.
        is_legal: function from a matrix of architectures to a mask of the legal ones.
        otherwise: draws legal architectures where the controller finds too few in ten rounds of tries.
    """

    def __init__(
        self,
        controller: Controller,
        is_legal: Callable[[Matrix], npt.NDArray[np.bool_]],
        otherwise: Callable[[int, np.random.Generator], Matrix],
    ) -> None:
        self.controller, self._is_legal, self._otherwise = controller, is_legal, otherwise

    def draw(self, num: int, rng: np.random.Generator) -> Matrix:
        """Return (num, num_choices) legal architectures; the same one may come more than once."""
        found = np.zeros((0, self.controller.space.num_choices), dtype=self.controller.space.dtype)
        for number in range(_ROUNDS):
            rows = self.controller.sample(max(num, _MOST_TRIES) if number else num, rng)
            found = np.concatenate([found, rows[self._is_legal(rows)]])[:num]
            if len(found) == num:
                return found
        return np.concatenate([found, self._otherwise(num - len(found), rng)])
