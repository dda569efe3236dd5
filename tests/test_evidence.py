"""What few networks and few examples can tell, against closed forms."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import pytest
from scipy.stats import binomtest, t

from onepath.evidence import compare, paired_difference, sampling_error, smallest_as_good, wilson


@dataclass(frozen=True)
class Row:
    number: int
    accuracy: float | None
    macs: float | None
    loss: float | None = 1.0
    origin: str = "random"
    costs: dict[str, float | None] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "costs", {"macs": self.macs})


@pytest.mark.parametrize(("right", "num"), [(0, 10), (3, 10), (10, 10), (350, 360), (180, 360)])
def test_wilson_against_scipy(right: int, num: int) -> None:
    expected = binomtest(right, num).proportion_ci(0.95, method="wilson")
    assert wilson(right / num, num) == pytest.approx((expected.low, expected.high))


def test_sampling_error_is_binomial_and_never_zero() -> None:
    assert sampling_error(0.8, 400) == pytest.approx(0.02)
    assert sampling_error(1.0, 99) == pytest.approx(math.sqrt(0.99 * 0.01 / 99))
    assert sampling_error(None, 10) is None
    assert sampling_error(0.5, None) is None


def test_noise_is_the_larger_of_spread_and_sampling() -> None:
    tests = (0.60, 0.70, 0.80)
    comparison = compare(0.9, tests, 10_000)
    assert comparison.difference == pytest.approx(0.2)
    # Student's t of two degrees of freedom is 4.3027.
    assert comparison.noise == pytest.approx(4.3027 * 0.1 * math.sqrt(4 / 3), rel=1e-4)
    assert comparison.interval == pytest.approx((0.2 - 0.49683, 0.2 + 0.49683), abs=1e-4)
    sampling = math.sqrt(0.7 * 0.3 / 10)
    assert compare(0.9, (0.7, 0.7, 0.7), 10).noise == pytest.approx(
        1.96 * sampling * math.sqrt(4 / 3), rel=1e-4
    )
    assert (comparison.is_better, comparison.is_worse) == (False, False)
    assert compare(1.20, tests, None).is_better
    assert compare(0.20, tests, None).is_worse


@pytest.mark.parametrize("num", [10, 360, 10_000])
def test_one_example_is_no_difference(num: int) -> None:
    """Whatever the accuracy, also where the random networks all agree."""
    for right in {num // 2, num - 2, num - 1}:
        found = compare((right + 1) / num, [right / num] * 3, num)
        assert not found.is_better
        assert not compare(right / num, [(right + 1) / num] * 3, num).is_worse


def test_without_a_spread_or_a_number_of_examples_nothing_is_told() -> None:
    found = compare(0.9, [0.8], None)
    assert found.noise is None
    assert not found.is_better
    assert not found.is_worse


def test_the_gain_is_the_cheapest_within_the_interval_of_the_best() -> None:
    rows = [Row(0, 0.98, 900), Row(1, 0.98, 800), Row(2, 0.96, 400), Row(3, 0.90, 100), Row(4, None, 1)]
    low = wilson(0.98, 300)[0]
    assert 0.95 < low < 0.96
    found = smallest_as_good(rows, "macs", 300)
    assert found is not None
    assert (found.number, found.cost, found.of_best, found.best) == (2, 400, 800, 0.98)
    assert found.lowest == pytest.approx(low)


def test_without_an_interval_only_the_best_score_is_the_best() -> None:
    rows = [Row(0, -2.0, 900), Row(1, -2.0, 700), Row(2, -2.001, 100)]
    found = smallest_as_good(rows, "macs")
    assert found is not None
    assert (found.number, found.cost, found.of_best, found.lowest) == (1, 700, 700, -2.0)


def test_of_equally_cheap_ones_the_better_one_is_named() -> None:
    found = smallest_as_good([Row(0, 0.97, 100), Row(1, 0.98, 100), Row(2, 0.99, 500)], "macs", 50)
    assert found is not None
    assert found.number == 1


def test_nothing_known_is_no_gain() -> None:
    assert smallest_as_good([], "macs") is None
    assert smallest_as_good([Row(0, 0.5, None), Row(1, None, 5)], "macs", 10) is None
    assert smallest_as_good([Row(0, 0.5, 5)], "energy", 10) is None


def test_with_seeds_alone_it_is_the_paired_t_interval() -> None:
    values = [0.01, 0.03, 0.02, 0.05]
    found = paired_difference(values, [None] * 4)
    assert found is not None
    error = np.std(values, ddof=1) / 2
    low, high = t.interval(0.95, 3, loc=np.mean(values), scale=error)
    assert (found.mean, found.low, found.high) == pytest.approx((np.mean(values), low, high))
    assert found.probability == pytest.approx(t.cdf(np.mean(values) / error, 3))


def test_with_one_seed_it_is_the_paired_interval_over_examples() -> None:
    rng = np.random.default_rng(0)
    each = rng.choice([-1.0, 0.0, 1.0], 500, p=[0.1, 0.7, 0.2])
    found = paired_difference([float(each.mean())], [each.tolist()])
    assert found is not None
    low, high = t.interval(0.95, 499, loc=each.mean(), scale=each.std(ddof=1) / math.sqrt(500))
    assert (found.low, found.high) == pytest.approx((low, high))


def test_both_sources_add_their_variances() -> None:
    each = [0.0, 1.0] * 50
    seeds = paired_difference([0.1, 0.2], [None, None])
    both = paired_difference([0.1, 0.2], [each, each])
    assert seeds is not None
    assert both is not None
    a, b = 0.005 / 2, np.var(each, ddof=1) / 100
    freedom = (a + b) ** 2 / (a**2 / 1 + b**2 / 99)
    assert both.high - both.mean == pytest.approx(t.ppf(0.975, freedom) * math.sqrt(a + b))
    assert seeds.high - seeds.mean == pytest.approx(t.ppf(0.975, 1) * math.sqrt(a))


def test_the_luck_of_a_training_on_an_example_shrinks_with_the_seeds() -> None:
    left, right = [0.0, 1.0] * 50, [1.0, 0.0] * 50
    apart, alike = paired_difference([0.5, 0.5], [left, right]), paired_difference([0.5, 0.5], [left, left])
    assert apart is not None
    assert alike is not None
    assert (apart.low, apart.high) == (0.5, 0.5)
    assert alike.high - 0.5 == pytest.approx(t.ppf(0.975, 99) * math.sqrt(np.var(left, ddof=1) / 100))


def test_seeds_with_other_examples_are_independent() -> None:
    short, long = [0.0, 1.0] * 20, [1.0, 0.0] * 50
    found = paired_difference([0.5, 0.5], [short, long])
    assert found is not None
    variance = (np.var(short, ddof=1) / 40 + np.var(long, ddof=1) / 100) / 4
    assert found.high - 0.5 == pytest.approx(t.ppf(0.975, 39) * math.sqrt(variance))


def test_the_interval_covers_the_truth_of_crossed_samples() -> None:
    """Differences of a seed, of an example and of both, each of its own size: at least 95 of 100 intervals hold 0."""
    rng, num_covered = np.random.default_rng(0), 0
    for _ in range(300):
        each = 0.02 * rng.standard_normal((6, 1)) + 0.3 * rng.standard_normal(200)
        each = each + 0.3 * rng.standard_normal((6, 200))
        found = paired_difference(each.mean(1).tolist(), each.tolist())
        assert found is not None
        num_covered += found.low <= 0 <= found.high
    assert 0.94 <= num_covered / 300 <= 0.995


def test_the_interval_covers_the_truth_where_each_seed_draws_its_test_set() -> None:
    """As on the digits: a fifth of 1,800 examples at each seed, so that two sets share a fifth of theirs."""
    rng, num_covered = np.random.default_rng(0), 0
    for _ in range(300):
        own = 0.3 * rng.standard_normal(1800)
        sets = np.array([rng.choice(own, 360, replace=False) for _ in range(6)])
        each = sets + 0.005 * rng.standard_normal((6, 1)) + 0.1 * rng.standard_normal((6, 360))
        found = paired_difference(each.mean(1).tolist(), each.tolist())
        assert found is not None
        num_covered += found.low <= 0 <= found.high
    assert 0.93 <= num_covered / 300 <= 0.995


def test_equal_ways_are_not_told_apart() -> None:
    found = paired_difference([0.0, 0.0], [[0.0, 0.0], [0.0, 0.0]])
    assert found is not None
    assert (found.low, found.high, found.probability) == (0.0, 0.0, 0.5)


def test_one_seed_without_examples_says_nothing_about_what_is_uncertain() -> None:
    assert paired_difference([0.1], [None]) is None
