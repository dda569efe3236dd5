from __future__ import annotations

import numpy as np
import pytest

from onepath.errors import ConfigurationError
from onepath.estimate import Estimate
from onepath.methods import Found, Trial, front_of
from onepath.space import Choice, SearchSpace

SPACE = SearchSpace([Choice("size", [1, 2, 3, 4]), Choice("kind", ["a", "b"])])
ACCURACIES = {"0,0": 0.5, "1,0": 0.4, "2,0": 0.8, "3,0": 0.8, "3,1": 0.9, "0,1": float("nan")}


def found() -> Found:
    trials = [
        Trial(SPACE.parse(text), Estimate(accuracy, 1.0, 0.0, 10), "random", 0)
        for text, accuracy in ACCURACIES.items()
    ]
    return Found(tuple(trials))


def size(matrix: np.ndarray) -> np.ndarray:
    return 10.0 * (matrix[:, 0] + 1)


def test_the_front_and_its_hypervolume_worked_out() -> None:
    front = front_of(found(), [size])
    assert [str(trial.architecture) for trial in front.trials] == ["0,0", "2,0", "3,1"]
    assert front.costs.tolist() == [[10], [30], [40]]
    assert front.hypervolume == pytest.approx(0.5 * 0.75 + 0.3 * 0.25)  # the largest one is at the reference
    wider = front_of(found(), [size], reference=[50])
    assert wider.hypervolume == pytest.approx(0.5 * 0.8 + 0.3 * 0.4 + 0.1 * 0.2)


def test_a_cost_that_is_equal_for_all_changes_nothing() -> None:
    front = front_of(found(), [size, lambda matrix: np.ones(len(matrix))], reference=[50, 2])
    assert front.costs.tolist() == [[10, 1], [30, 1], [40, 1]]
    assert front.hypervolume == pytest.approx((0.5 * 0.8 + 0.3 * 0.4 + 0.1 * 0.2) / 2)


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf, 1e308])
def test_costs_of_any_size_make_a_front(odd: float) -> None:
    """A cost that is NaN is on no front; one that is infinite or huge is on it for what else it has."""
    front = front_of(found(), [lambda matrix: np.where(matrix[:, 0] == 2, odd, size(matrix))])
    names = [str(trial.architecture) for trial in front.trials]
    assert names == (["2,0", "3,1"] if odd == -np.inf else ["0,0", "3,1"])
    assert np.isfinite(front.hypervolume)


def test_what_does_not_fit_is_an_error() -> None:
    with pytest.raises(ConfigurationError, match="at least one cost"):
        front_of(found(), [])
    with pytest.raises(ConfigurationError, match="1 costs above 0"):
        front_of(found(), [size], reference=[1, 2])
    with pytest.raises(ConfigurationError, match="1 costs above 0"):
        front_of(found(), [size], reference=[0])


def test_no_trial_is_one_line() -> None:
    with pytest.raises(ConfigurationError, match="evaluated architectures"):
        front_of(Found(()), [size])
