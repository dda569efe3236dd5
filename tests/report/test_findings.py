"""What the records say: the winner, the comparison, the metric and the costs."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from onepath.record import NetworkRow, RunRecord, TrialRow
from onepath.report.findings import (
    compared,
    metric_of,
    searched_by,
    shown_costs,
    winner_network,
    winner_trial,
)

Make = Callable[..., RunRecord]


def trial(number: int, accuracy: float | None, macs: int | None = 100, loss: float | None = 1.0) -> TrialRow:
    costs = {"params": 10} if macs is None else {"macs": macs, "params": 10}
    return TrialRow(number, f"{number}", 0, "random", accuracy, loss, costs, 0.1)


def network(
    role: str,
    test: float | None,
    inherited: float | None = 0.5,
    start: str = "scratch",
    architecture: str = "0",
) -> NetworkRow:
    return NetworkRow(role, start, architecture, 0, {"macs": 100, "params": 10}, inherited, test, test, 1.0)


def test_winner_is_the_network_handed_over(make_record: Make) -> None:
    rows = [network("winner", 0.9), network("winner", 0.8, start="inherited"), network("baseline-0", 0.95)]
    assert winner_network(make_record(networks=rows)) is rows[0]
    handed_over = make_record(networks=rows, stages={"export": {"start": "inherited"}})
    assert winner_network(handed_over) is rows[1]
    assert winner_network(make_record(networks=rows[2:])) is None
    trials = [trial(0, 0.5), trial(1, 0.9)]
    assert winner_trial(make_record(networks=rows, trials=trials)) is trials[0]
    assert winner_trial(make_record(trials=trials)) is trials[1]


def test_comparison_is_between_equal_starts(make_record: Make) -> None:
    """The winner from inherited weights is better, but the baseline began from scratch."""
    rows = [
        network("winner", 0.99, start="inherited"),
        network("winner", 0.90),
        network("baseline-0", 0.80),
        network("baseline-1", 0.82),
    ]
    found = compared(make_record(networks=rows, stages={"export": {"start": "inherited"}}))
    assert found is not None
    assert (found[0].winner, found[1]) == (0.90, rows[1])


def test_comparison_needs_both_sides(make_record: Make) -> None:
    assert compared(make_record()) is None
    assert compared(make_record(networks=[network("winner", 0.9)])) is None
    assert compared(make_record(networks=[network("winner", None), network("baseline-0", 0.9)])) is None
    alone = compared(make_record(networks=[network("winner", 0.9), network("baseline-0", 0.8)]))
    assert alone is not None
    assert alone[0].noise is None


def test_of_a_metric_that_counts_down_the_lower_one_is_better(make_record: Make) -> None:
    """An rmse is stored as its negative; the test set says nothing about its sampling error."""
    rows = [network("winner", -2.0)] + [
        network(f"baseline-{i}", value) for i, value in enumerate((-3.0, -3.1, -2.9))
    ]
    noted = {"name": "rmse", "higher_is_better": False, "is_share": False}
    record = make_record(networks=rows, stages={"data": {"test": 100, "metric": noted}})
    found = compared(record)
    assert found is not None
    assert found[0].difference == pytest.approx(1.0)
    assert found[0].noise == pytest.approx(4.30265 * 0.1 * math.sqrt(4 / 3)), "the spread of the three alone"
    assert found[0].is_better
    assert searched_by(record).name == "inherited rmse"
    assert searched_by(record).axis == "inherited validation rmse (lower is better)"
    assert searched_by(record).shown(-3.25) == 3.25


@pytest.mark.parametrize(
    ("noted", "name", "is_share", "higher"),
    [
        (None, "accuracy", True, True),
        ("accuracy", "accuracy", True, True),
        ("perplexity", "perplexity", False, False),
    ],
)
def test_a_metric_noted_by_name_alone_is_understood(
    make_record: Make, noted: str | None, name: str, is_share: bool, higher: bool
) -> None:
    found = metric_of(make_record(stages={"data": {"metric": noted}}))
    assert (found.name, found.is_share, found.higher_is_better) == (name, is_share, higher)


def test_costs_are_shown_that_rows_have(make_record: Make) -> None:
    record = make_record(trials=[trial(0, 0.5)], networks=[network("winner", 0.9)])
    assert [cost.name for cost in shown_costs(record)] == ["macs", "params"]
    without = [trial(0, 0.5, macs=None)]
    assert [cost.name for cost in shown_costs(record, without)] == ["params"]
