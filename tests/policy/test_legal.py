from __future__ import annotations

import numpy as np

from onepath.policy import Controller, LegalPolicy
from onepath.search import FeasibleSet
from onepath.testing import known_space
from onepath.testing.algorithms import limited


def test_what_is_drawn_is_legal() -> None:
    space, table = known_space()
    feasible = limited(space, table, 40)
    policy = LegalPolicy(Controller(space), feasible.is_legal, feasible.sample)
    rows = policy.draw(50, np.random.default_rng(0))
    assert len(rows) == 50
    assert feasible.is_legal(rows).all()


def test_others_fill_what_a_controller_does_not_find() -> None:
    space, _ = known_space()
    asked: list[int] = []

    def otherwise(num: int, rng: np.random.Generator) -> np.ndarray:
        asked.append(num)
        return FeasibleSet(space).sample(num, rng)

    policy = LegalPolicy(Controller(space), lambda rows: np.zeros(len(rows), dtype=bool), otherwise)
    assert len(policy.draw(7, np.random.default_rng(0))) == 7
    assert asked == [7]
