"""What best, on the front, within the limit and tau mean, against closed forms and every pair."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from scipy.stats import kendalltau

from onepath.verdict import (
    COSTS,
    best,
    cost_of,
    front_of,
    held_ms,
    loss_of,
    on_front,
    ordered,
    ranked,
    ranking,
    score_of,
    within_latency,
)


@dataclass(frozen=True)
class Row:
    number: int
    accuracy: float | None
    loss: float | None = 1.0
    costs: dict[str, float | None] = field(default_factory=lambda: {"macs": 100.0, "params": 10.0})
    origin: str = "random"


@dataclass(frozen=True)
class Network:
    inherited_validation: float | None
    retrained_test: float | None
    start: str = "scratch"


def numbers(rows: list[Row]) -> list[int]:
    return [row.number for row in rows]


def test_the_best_has_the_higher_score_then_the_lower_loss_then_the_lower_number() -> None:
    rows = [Row(0, None), Row(1, 0.9, None), Row(3, 0.9, 0.4), Row(2, 0.9, 0.4), Row(4, 0.8, 0.1)]
    assert numbers(ordered(rows)) == [2, 3, 1, 4, 0]
    assert best(rows) is rows[3]
    assert best(rows[:1]) is None
    assert best([]) is None


def test_scores_below_zero_are_ordered_as_others_are() -> None:
    """Of a metric that counts down the score is the negative: an rmse of 2 is better than one of 3."""
    assert numbers(ordered([Row(0, -3.0), Row(1, -2.0), Row(2, math.nan), Row(3, None)])) == [1, 0, 2, 3]


def test_what_is_derived_comes_before_what_is_drawn_for_comparison() -> None:
    rows = [Row(0, 0.9), Row(1, 0.5, origin="derived"), Row(2, 0.6, origin="derived")]
    assert numbers(ordered(rows)) == [2, 1, 0]


def test_by_the_front_the_cheaper_of_equally_good_ones_wins_whatever_its_loss() -> None:
    dear = Row(0, 0.9, 0.1, {"macs": 200, "params": 10})
    cheap = Row(1, 0.9, 0.7, {"macs": 100, "params": 10})
    assert best([dear, cheap]) is dear
    assert best([dear, cheap], "front") is cheap
    # By a cost of which both have the same, both are on the front, and the loss decides again.
    assert best([dear, cheap], "front", ["params"]) is dear


def test_the_front_against_every_pair() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        rows = [
            Row(i, rng.integers(6) / 6, 1.0, {"macs": int(rng.integers(6)), "params": int(rng.integers(4))})
            for i in range(40)
        ]

        def beats(a: Row, b: Row) -> bool:
            first = (score_of(a), -a.costs["macs"], -a.costs["params"])
            second = (score_of(b), -b.costs["macs"], -b.costs["params"])
            return first != second and all(x >= y for x, y in zip(first, second, strict=True))

        expected = {row.number for row in rows if not any(beats(other, row) for other in rows)}
        front = on_front(rows)
        assert set(numbers(front)) == expected
        assert [row.costs["macs"] for row in front] == sorted(row.costs["macs"] for row in front)


def test_of_equal_trials_all_are_on_the_front_and_gaps_never() -> None:
    def row(number: int, score: float | None, macs: float | None) -> Row:
        return Row(number, score, 1.0, {"macs": macs, "params": 10})

    assert numbers(on_front([row(0, 0.5, 9), row(1, 0.5, 7), row(2, 0.5, 7)])) == [1, 2]
    assert on_front([row(0, None, 1), row(1, 0.5, None), row(2, 0.5, math.inf)]) == []
    assert on_front([]) == []
    assert numbers(on_front([row(0, 0.5, 0), row(1, 0.4, 1)])) == [0], "a cost of 0 is a cost"


def test_a_front_of_any_costs_has_the_hypervolume_of_its_steps() -> None:
    rows = [
        Row(0, 0.5, 1.0, {"memory": 25.0}),
        Row(1, 1.0, 1.0, {"memory": 50.0}),
        Row(2, 0.4, 1.0, {"memory": 30.0}),
    ]
    front = front_of(rows, ["memory"], [100.0])
    assert front.indices == (0, 1)
    # From 25 to 50 of 100 at 0.5, from 50 on at 1: 0.25 * 0.5 + 0.5 * 1.
    assert front.hypervolume == pytest.approx(0.625)


def test_costs_are_read_from_a_mapping_or_from_fields_of_their_names() -> None:
    @dataclass(frozen=True)
    class Flat:
        macs: int | None
        params: int | None = None

    assert [cost_of(Row(0, 0.5), name) for name in (*COSTS, "memory")] == [100.0, 10.0, None]
    assert [cost_of(Flat(7), name) for name in (*COSTS, "memory")] == [7, None, None]
    assert cost_of(Row(0, 0.5, 1.0, {"macs": math.inf}), "macs") is None


def test_what_was_not_finite_is_below_everything() -> None:
    assert score_of(Row(0, None)) == score_of(Row(0, math.nan)) == score_of(Row(0, math.inf)) == -math.inf
    assert loss_of(Row(0, 0.5, None)) == loss_of(Row(0, 0.5, math.nan)) == math.inf


@pytest.mark.parametrize(
    ("median", "iqr", "is_noisy", "is_within"),
    [
        (1.0, 0.25, False, True),
        (1.25, 0.25, False, True),
        (1.25, 0.2501, False, False),
        (1.5, 0.0, False, True),
        (1.5, 0.1, False, False),
        (0.1, 0.1, True, False),
    ],
)
def test_a_latency_is_within_its_limit_with_its_spread(
    median: float, iqr: float, is_noisy: bool, is_within: bool
) -> None:
    assert within_latency(1.5, median, iqr, is_noisy) is is_within
    assert held_ms(median, iqr) == median + iqr


def test_networks_enter_a_ranking_that_began_from_scratch_with_both_figures() -> None:
    rows = [
        Network(0.5, 0.6),
        Network(0.5, 0.6, "inherited"),
        Network(None, 0.6),
        Network(0.5, None),
        Network(0.0, 0.0),
    ]
    assert ranked(rows) == [rows[0], rows[4]]
    assert ranking(rows).num == 2


@pytest.mark.parametrize("num", [4, 6, 9, 14])
def test_ranking_against_scipy(num: int) -> None:
    rng = np.random.default_rng(num)
    x, y = rng.random(num), rng.random(num)
    found = ranking([Network(a, b) for a, b in zip(x, y, strict=True)])
    reference = kendalltau(x, y, alternative="greater", method="exact")
    assert found.kendall_tau == pytest.approx(reference.statistic)
    assert found.chance == pytest.approx(reference.pvalue)
    assert found.proves_nothing is (num < 10)


def test_chance_of_many_networks_with_ties_is_the_normal_approximation() -> None:
    rng = np.random.default_rng(3)
    x, y = rng.integers(6, size=40) / 6, rng.integers(6, size=40) / 6
    found = ranking([Network(a, b) for a, b in zip(x, y, strict=True)])
    reference = kendalltau(x, y, alternative="greater", method="asymptotic")
    assert found.kendall_tau == pytest.approx(reference.statistic)
    assert found.chance == pytest.approx(reference.pvalue)


def test_ranking_of_few_or_equal_networks_is_unknown() -> None:
    one = ranking([Network(0.5, 0.9)])
    assert one.document() == {"num": 1, "kendall_tau": None, "spearman": None}
    assert one.chance is None
    assert ranking([Network(0.5, 0.9), Network(0.5, 0.8)]).kendall_tau is None
    # Two of three pairs are in order and one is tied: tau-b = 2 / sqrt(3 * 2); 2 of 6 orders reach it.
    partly = ranking([Network(0.6, 0.9), Network(0.5, 0.8), Network(0.4, 0.8)])
    assert partly.kendall_tau == pytest.approx(2 / math.sqrt(6))
    assert partly.chance == pytest.approx(1 / 3)


def test_run_result_and_report_say_the_same_of_hard_cases(tmp_path: object) -> None:
    """Ties in the score, equal costs, and a median within the limit whose spread is over it."""
    from pathlib import Path

    from onepath.latency import Latency
    from onepath.record import RunRecord
    from onepath.report.findings import winner_trial
    from onepath.report.front import front_trials
    from onepath.report.latency import measured_rows
    from onepath.runs.fronts import front_record, front_result

    rows = [
        Row(0, 0.9, 0.2, {"macs": 200, "params": 10}),
        Row(1, 0.9, 0.5, {"macs": 100, "params": 10}),
        Row(2, 0.9, 0.5, {"macs": 100, "params": 10}),
        Row(3, 0.7, 0.1, {"macs": 50, "params": 10}),
    ]
    trials = [Named(**vars(row), architecture=str(row.number)) for row in rows]
    measured = {
        "0": {"median_ms": 1.45, "iqr_ms": 0.1, "is_noisy": False},
        "1": {"median_ms": 1.45, "iqr_ms": 0.05, "is_noisy": False},
    }
    for ties, won in (("loss", 0), ("front", 1)):
        noted = front_record(trials, {"max_macs": 200}, ties)
        search = {"front": noted, "limit": {"max_latency_ms": 1.5}}
        stages = {
            name: {"seconds": 1.0, "done": True, "record": record}
            for name, record in (("search", search), ("latency", {"measured": measured}))
        }
        record = RunRecord(Path("run"), {}, trials=trials, stages=stages)
        assert ordered(trials, ties)[0].number == won
        assert winner_trial(record).number == won
        assert noted["trials"] == [row.number for row in on_front(trials)] == [3, 1, 2]
        assert [row.number for row in front_trials(record)] == noted["trials"]
        result = front_result(search, trials)
        assert [row["architecture"] for row in result["architectures"]] == ["3", "1", "2"]
        for found in measured_rows(record):
            run = Latency(found.median_ms, found.iqr_ms, 20, 1, found.is_noisy).is_within(1.5)
            assert found.is_within is run is (found.iqr_ms == 0.05)


@dataclass(frozen=True)
class Named(Row):
    architecture: str = ""
    generation: int = 0


def test_a_worse_score_is_worse_whatever_else() -> None:
    good = Row(1, 0.9, 9.0, {"macs": 9e9, "params": 9e9})
    assert best([good, replace(good, number=0, accuracy=0.8, loss=0.0)]) is good
