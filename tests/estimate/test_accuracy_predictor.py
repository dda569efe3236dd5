"""Accuracy predicted from pairs: what it learns, what error it states, and which architectures it learns from."""

from __future__ import annotations

import numpy as np
import pytest

from onepath.errors import ConfigurationError
from onepath.estimate import AccuracyPredictor, spread
from onepath.space import Choice, SearchSpace

CHOICES = [
    Choice("depth", [1, 2], role="depth"),
    *(Choice(f"width{place}", [32, 8, 16], role="size") for place in range(6)),
    *(Choice(f"block{place}", ["conv", "pool", "skip"], role="operation") for place in range(2)),
]
SPACE = SearchSpace(CHOICES, {"width5": [{"depth": [2]}]})
WORTH = {8: 0.0, 16: 0.03, 32: 0.05, "conv": 0.04, "pool": 0.0, "skip": 0.02}


def truth(matrix: np.ndarray) -> np.ndarray:
    """Worth of each active option, less where the first two widths are both small."""
    found = []
    for architecture in SPACE.architectures(matrix):
        options = architecture.options
        worth = sum(WORTH.get(option, 0.0) for name, option in options.items() if name != "depth")
        found.append(0.5 + worth - 0.1 * (options["width0"] == options["width1"] == 8))
    return np.array(found)


@pytest.fixture(scope="module")
def rows() -> np.ndarray:
    return spread(SPACE, 500, np.random.default_rng(0))


@pytest.fixture(scope="module")
def fitted(rows: np.ndarray) -> AccuracyPredictor:
    return AccuracyPredictor.fit(SPACE.architectures(rows[:300]), truth(rows[:300]).tolist())


def test_it_learns_and_states_the_error_it_has_on_others(fitted: AccuracyPredictor, rows: np.ndarray) -> None:
    fresh, expected = fitted(rows[300:]), truth(rows[300:])
    error = np.abs(fresh - expected).mean()
    assert error < np.abs(expected - fitted.base).mean() / 4
    assert (
        error <= 1.3 * fitted.error
    )  # the mean of five knows more than one that saw four fifths of the pairs
    assert fitted.error < 3 * error
    assert fitted.tau is not None
    assert fitted.tau > 0.85


def test_no_network_is_asked_about_what_it_has_seen() -> None:
    """Of noise nothing can be known; a network that saw the pairs would tell many of them."""
    rng = np.random.default_rng(1)
    rows = spread(SPACE, 100, rng)
    noise = AccuracyPredictor.fit(SPACE.architectures(rows), rng.random(len(rows)).tolist())
    assert noise.tau is not None
    assert abs(noise.tau) < 0.3
    assert np.corrcoef(noise(rows), noise.accuracies)[0, 1] > 0.6


def test_what_is_not_active_does_not_matter(fitted: AccuracyPredictor) -> None:
    shallow = np.zeros((3, SPACE.num_choices), dtype=int)
    shallow[:, SPACE.column("width5")] = [0, 1, 2]
    assert np.ptp(fitted(shallow)) < 1e-6  # float32
    shallow[:, SPACE.column("depth")] = 1
    assert np.diff(np.sort(fitted(shallow))).min() > 1e-4


def test_the_seed_decides(fitted: AccuracyPredictor, rows: np.ndarray) -> None:
    pairs = SPACE.architectures(rows[:60]), truth(rows[:60]).tolist()
    first, again, other = (AccuracyPredictor.fit(*pairs, seed=seed)(rows) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_equal_accuracies_are_predicted_and_rank_nothing(rows: np.ndarray) -> None:
    same = AccuracyPredictor.fit(SPACE.architectures(rows[:20]), [0.7] * 20)
    assert np.allclose(same(rows), 0.7, atol=0.05)
    assert same.tau is None


@pytest.mark.parametrize(("num", "accuracies"), [(9, [0.5] * 9), (12, [0.5] * 11)])
def test_too_few_pairs_are_one_line(rows: np.ndarray, num: int, accuracies: list[float]) -> None:
    with pytest.raises(ConfigurationError, match="10 or more architectures with one accuracy each, but got"):
        AccuracyPredictor.fit(SPACE.architectures(rows[:num]), accuracies)


def test_pairs_are_distinct_and_reach_from_the_smallest_to_the_largest() -> None:
    space = SearchSpace([Choice(f"width{place}", [32, 8, 16], role="size") for place in range(30)])
    rows = spread(space, 400, np.random.default_rng(0))
    assert len(np.unique(rows, axis=0)) == len(rows) == 400
    sizes = np.array([0, 1, 2])[np.array([2, 0, 1])[rows]].mean(axis=1) / 2  # of options by their size
    assert (
        np.histogram(sizes, bins=5, range=(0, 1))[0].min() > 50
    )  # uniform choices leave all but the middle empty
    independent = np.array([2, 0, 1])[space.sample(400, np.random.default_rng(0))].mean(axis=1) / 2
    assert np.histogram(independent, bins=5, range=(0, 1))[0][[0, 4]].sum() == 0


def test_operations_are_uniform_and_a_small_space_is_given_whole() -> None:
    space = SearchSpace([Choice("a", ["x", "y", "z"], role="operation"), Choice("b", [1, 2], role="size")])
    assert len(spread(space, 100, np.random.default_rng(0))) == 6
    wide = SearchSpace([Choice(f"c{place}", ["x", "y", "z"], role="operation") for place in range(8)])
    shares = np.bincount(spread(wide, 600, np.random.default_rng(0)).ravel()) / (600 * 8)
    assert np.allclose(shares, 1 / 3, atol=0.03)
