"""The numbers behind the page, against closed forms."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import kendalltau

from onepath.record import NetworkRow, RunRecord, TrialRow
from onepath.report.findings import (
    best_trial,
    compare,
    pareto_front,
    rank,
    sampling_error,
    winner_network,
    winner_trial,
)

Make = Callable[..., RunRecord]


def trial(number: int, accuracy: float | None, macs: int | None = 100, loss: float | None = 1.0) -> TrialRow:
    return TrialRow(number, f"{number}", 0, "random", accuracy, loss, macs, 10, 0.1)


def network(
    role: str,
    test: float | None,
    inherited: float | None = 0.5,
    start: str = "scratch",
    architecture: str = "0",
) -> NetworkRow:
    return NetworkRow(role, start, architecture, 0, 100, 10, inherited, test, test, 1.0)


def test_pareto_front_against_every_pair() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        trials = [trial(i, rng.integers(8) / 8, int(rng.integers(8))) for i in range(40)]
        front = pareto_front(trials)
        points = [(row.macs, row.accuracy) for row in front]
        dominated = [
            any(
                other.macs <= row.macs
                and other.accuracy >= row.accuracy
                and (other.macs, other.accuracy) != (row.macs, row.accuracy)
                for other in trials
            )
            for row in trials
        ]
        assert set(points) == {
            (r.macs, r.accuracy) for r, bad in zip(trials, dominated, strict=True) if not bad
        }
        assert points == sorted(set(points))


def test_pareto_front_of_ties_and_gaps() -> None:
    assert [row.number for row in pareto_front([trial(0, 0.5, 9), trial(1, 0.5, 7), trial(2, 0.5, 7)])] == [1]
    assert pareto_front([trial(0, None), trial(1, 0.5, None)]) == []


def test_best_trial_breaks_ties_by_loss_then_age() -> None:
    rows = [
        trial(0, None),
        trial(1, 0.9, loss=None),
        trial(2, 0.9, loss=0.4),
        trial(3, 0.9, loss=0.4),
        trial(4, 0.8),
    ]
    assert best_trial(rows) is rows[2]
    assert best_trial(rows[:1]) is None


def test_winner_is_the_network_handed_over(make_record: Make) -> None:
    rows = [network("winner", 0.9), network("winner", 0.8, start="inherited"), network("baseline-0", 0.95)]
    assert winner_network(make_record(networks=rows)) is rows[0]
    handed_over = make_record(networks=rows, stages={"export": {"start": "inherited"}})
    assert winner_network(handed_over) is rows[1]
    assert winner_network(make_record(networks=rows[2:])) is None
    trials = [trial(0, 0.5), trial(1, 0.9)]
    assert winner_trial(make_record(networks=rows, trials=trials)) is trials[0]
    assert winner_trial(make_record(trials=trials)) is trials[1]


def test_noise_is_the_larger_of_spread_and_sampling(make_record: Make) -> None:
    tests = (0.60, 0.70, 0.80)
    rows = [network("winner", 0.9)] + [network(f"baseline-{i}", value) for i, value in enumerate(tests)]
    comparison = compare(make_record(networks=rows, stages={"data": {"test": 10_000}}))
    assert comparison is not None
    assert comparison.difference == pytest.approx(0.2)
    assert comparison.noise == pytest.approx(2 * 0.1 * math.sqrt(4 / 3))
    few = compare(make_record(networks=rows, stages={"data": {"test": 10}}))
    assert few is not None
    assert few.noise == pytest.approx(2 * math.sqrt(0.7 * 0.3 / 10) * math.sqrt(4 / 3))
    assert (comparison.is_better, comparison.is_worse) == (False, False)
    better = compare(make_record(networks=[replace(rows[0], retrained_test=0.95), *rows[1:]]))
    assert better is not None
    assert better.is_better
    worse = compare(make_record(networks=[replace(rows[0], retrained_test=0.45), *rows[1:]]))
    assert worse is not None
    assert worse.is_worse


def test_comparison_is_between_equal_starts(make_record: Make) -> None:
    """The winner from inherited weights is better, but the baseline began from scratch."""
    rows = [
        network("winner", 0.99, start="inherited"),
        network("winner", 0.90),
        network("baseline-0", 0.80),
        network("baseline-1", 0.82),
    ]
    comparison = compare(make_record(networks=rows, stages={"export": {"start": "inherited"}}))
    assert comparison is not None
    assert comparison.winner == 0.90


def test_comparison_needs_both_sides(make_record: Make) -> None:
    assert compare(make_record()) is None
    assert compare(make_record(networks=[network("winner", 0.9)])) is None
    assert compare(make_record(networks=[network("winner", None), network("baseline-0", 0.9)])) is None
    alone = compare(make_record(networks=[network("winner", 0.9), network("baseline-0", 0.8)]))
    assert alone is not None
    assert alone.noise is None
    assert not alone.is_better


@pytest.mark.parametrize("num", [4, 6, 9])
def test_rank_against_scipy(make_record: Make, num: int) -> None:
    rng = np.random.default_rng(num)
    inherited, alone = rng.random(num), rng.random(num)
    roles = ["winner", *(f"baseline-{i}" for i in range(num - 1))]
    rows = [network(role, y, x) for role, x, y in zip(roles, inherited, alone, strict=True)]
    rows.append(network("winner", 0.1, 0.9, start="inherited"))
    found = rank(make_record(networks=rows))
    reference = kendalltau(inherited, alone, alternative="greater", method="exact")
    assert found.num == num
    assert found.kendall_tau == pytest.approx(reference.statistic)
    assert found.chance == pytest.approx(reference.pvalue)


def test_rank_of_few_or_equal_networks_is_unknown(make_record: Make) -> None:
    found = rank(make_record(networks=[network("winner", 0.9)]))
    assert (found.num, found.kendall_tau, found.chance) == (1, None, None)
    ties = [network("winner", 0.9, 0.5), network("baseline-0", 0.8, 0.5)]
    assert rank(make_record(networks=ties)).kendall_tau is None
    partly = [network("winner", 0.9, 0.6), network("baseline-0", 0.8, 0.5), network("baseline-1", 0.8, 0.4)]
    # Two of three pairs are in order and one is tied: tau-b = 2 / sqrt(3 * 2); 2 of 6 orders reach it.
    assert rank(make_record(networks=partly)).kendall_tau == pytest.approx(2 / math.sqrt(6))
    assert rank(make_record(networks=partly)).chance == pytest.approx(1 / 3)


def test_sampling_error_is_binomial_and_never_zero() -> None:
    assert sampling_error(0.8, 400) == pytest.approx(0.02)
    assert sampling_error(1.0, 99) == pytest.approx(math.sqrt(0.99 * 0.01 / 99))
    assert sampling_error(None, 10) is None
    assert sampling_error(0.5, None) is None
