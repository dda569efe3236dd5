"""The mean of ranks."""

from __future__ import annotations

import math

import pytest

from onepath.errors import ConfigurationError
from onepath.estimate import mean_ranks


def test_one_score_keeps_its_order() -> None:
    ranks = mean_ranks({"zen": [3.0, -math.inf, 2.0, math.nan]}, {"zen": 2.0})
    assert ranks == [7 / 8, 2 / 8, 5 / 8, 2 / 8]


def test_weights() -> None:
    values = {"zen": [1.0, 2.0], "nwot": [9.0, 1.0]}
    assert mean_ranks(values, {"zen": 1.0, "nwot": 1.0}) == [0.5, 0.5]
    assert mean_ranks(values, {"zen": 3.0, "nwot": 1.0}) == [0.375, 0.625]


@pytest.mark.parametrize(
    ("values", "weights"),
    [
        ({}, {}),
        ({"zen": [1.0]}, {}),
        ({"zen": [1.0]}, {"zen": 0.0}),
        ({"zen": [1.0], "nwot": [1.0, 2.0]}, {"zen": 1.0, "nwot": 1.0}),
    ],
)
def test_what_does_not_fit(values: dict[str, list[float]], weights: dict[str, float]) -> None:
    with pytest.raises(ConfigurationError):
        mean_ranks(values, weights)
