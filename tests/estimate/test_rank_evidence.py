"""Rank evidence: closed forms, intervals, and inputs that have no answer."""

from __future__ import annotations

import json
import math
import time

import numpy as np
import pytest
from scipy.stats import kendalltau, spearmanr

from onepath.errors import ConfigurationError
from onepath.estimate import rank_evidence

NAN = float("nan")


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_perfect_and_reversed_orders() -> None:
    truth = np.linspace(0.5, 0.9, 40)
    found = rank_evidence(truth, {"same": 10 * truth, "reversed": -truth}, rng(), num_resamples=50)
    same, backwards = found["scores"]["same"], found["scores"]["reversed"]
    for part in (same, same["top_10_percent"], same["top_25_percent"]):
        assert part["kendall_tau"] == {"value": 1.0, "low": 1.0, "high": 1.0}
        assert part["spearman"]["value"] == pytest.approx(1.0)
    assert backwards["kendall_tau"] == {"value": -1.0, "low": -1.0, "high": -1.0}
    assert found["best"] == same["best_in_top"]["1"]["value"] == 0.9
    assert backwards["best_in_top"]["1"]["value"] == 0.5
    assert backwards["best_in_top"]["10"]["value"] == truth[9]
    assert "50" not in same["best_in_top"], "there are only 40 rows"


def test_the_best_by_truth_are_a_part_of_their_own() -> None:
    """Only the order of the best quarter is wrong: overall nearly all pairs agree, there none does."""
    truth = np.arange(40.0)
    score = np.concatenate([np.arange(30.0), 100 - np.arange(10.0)])
    found = rank_evidence(truth, {"score": score}, rng(), num_resamples=0, shares=(0.25,))["scores"]["score"]
    assert found["top_25_percent"]["num"] == 10
    assert found["top_25_percent"]["kendall_tau"]["value"] == -1.0
    assert found["kendall_tau"]["value"] == pytest.approx(1 - 2 * 45 / 780)
    assert found["kendall_tau"]["low"] is None, "no resamples, no interval"


def test_rows_that_tie_with_the_last_of_the_best_belong_to_them() -> None:
    truth = [9.0, 8.0, 7.0, 7.0, 7.0, 1.0, 1.0, 1.0, 1.0, 1.0]
    found = rank_evidence(truth, {"score": list(range(10))}, rng(), num_resamples=0, shares=(0.25,))
    assert found["scores"]["score"]["top_25_percent"]["num"] == 5


def test_a_tie_in_the_score_earns_nothing() -> None:
    truth = [1.0, 5.0, 3.0, 4.0]
    found = rank_evidence(truth, {"constant": [2.0] * 4}, rng(), num_resamples=0, tops=(1, 2, 4))
    figures = found["scores"]["constant"]
    assert [figures["best_in_top"][k]["value"] for k in ("1", "2", "4")] == [1.0, 3.0, 5.0]
    assert figures["kendall_tau"] == figures["spearman"] == {"value": None, "low": None, "high": None}


def test_agrees_with_scipy() -> None:
    draw = rng(3)
    truth, score = draw.normal(size=200), draw.integers(0, 30, 200)
    best = np.argsort(-truth)[:50]
    found = rank_evidence(truth, {"score": score}, rng(), num_resamples=0)["scores"]["score"]
    assert found["kendall_tau"]["value"] == pytest.approx(kendalltau(truth, score).statistic)
    part = found["top_25_percent"]
    assert part["kendall_tau"]["value"] == pytest.approx(kendalltau(truth[best], score[best]).statistic)
    assert part["spearman"]["value"] == pytest.approx(spearmanr(truth[best], score[best]).statistic)


def test_intervals_cover_the_truth() -> None:
    """Normal pairs of correlation r have tau = 2 / pi * asin(r); 95 % of the intervals should hold it."""
    r, draw, num = 0.7, rng(5), 200
    expected = 2 / math.pi * math.asin(r)
    hits = []
    for _ in range(num):
        truth = draw.normal(size=80)
        score = r * truth + math.sqrt(1 - r * r) * draw.normal(size=80)
        figure = rank_evidence(truth, {"s": score}, draw, num_resamples=200, shares=(), tops=())["scores"][
            "s"
        ]
        hits.append(figure["kendall_tau"]["low"] <= expected <= figure["kendall_tau"]["high"])
    assert 0.90 <= np.mean(hits) <= 0.99


def test_the_difference_of_two_scores_is_of_the_same_resamples() -> None:
    draw = rng(7)
    truth = draw.normal(size=150)
    shared = truth + draw.normal(size=150)
    better = shared + 0.3 * truth
    found = rank_evidence(truth, {"score": better, "macs": shared}, rng(), baselines=["macs"])
    difference = found["differences"]["score"]["macs"]["kendall_tau"]
    ours, theirs = (found["scores"][name]["kendall_tau"] for name in ("score", "macs"))
    assert difference["value"] == pytest.approx(ours["value"] - theirs["value"])
    assert 0 < difference["low"] < difference["value"] < difference["high"]
    assert difference["high"] - difference["low"] < 0.5 * (ours["high"] - ours["low"])
    assert "macs" not in found["differences"]
    same = rank_evidence(truth, {"score": shared, "macs": shared}, rng(), baselines=["macs"])
    assert same["differences"]["score"]["macs"]["kendall_tau"] == {"value": 0.0, "low": 0.0, "high": 0.0}


@pytest.mark.parametrize(
    ("truth", "score"),
    [
        ([1.0, 2.0], [1.0, 2.0]),
        ([1.0], [NAN]),
        ([3.0, 3.0, 3.0, 3.0], [1.0, 2.0, 3.0, 4.0]),
        ([1.0, 2.0, 3.0, 4.0], [NAN, float("-inf"), NAN, NAN]),
    ],
)
def test_no_order_is_none_and_never_nan(truth: list[float], score: list[float]) -> None:
    found = rank_evidence(truth, {"score": score}, rng(), num_resamples=20)
    json.dumps(found, allow_nan=False)
    assert found["scores"]["score"]["kendall_tau"] == {"value": None, "low": None, "high": None}
    assert found["scores"]["score"]["best_in_top"]["1"]["value"] is not None


def test_what_is_not_finite_ranks_last_and_is_counted() -> None:
    found = rank_evidence(
        [1.0, 2.0, 3.0, 4.0], {"score": [NAN, float("-inf"), 5.0, 6.0]}, rng(), num_resamples=0, tops=(1,)
    )["scores"]["score"]
    assert found["num_not_finite"] == 2
    assert found["kendall_tau"]["value"] == pytest.approx(5 / math.sqrt(6 * 5))
    assert found["best_in_top"]["1"]["value"] == 4.0


@pytest.mark.parametrize(
    ("truth", "scores", "options", "word"),
    [
        ([], {"s": []}, {}, "at least one"),
        ([1.0, NAN], {"s": [1, 2]}, {}, "1 that are not"),
        ([1.0, 2.0], {"s": [1]}, {}, "1 for 2 rows"),
        ([1.0, 2.0], {"s": [1, 2]}, {"baselines": ["macs"]}, "macs"),
        ([1.0, 2.0], {"s": [1, 2]}, {"shares": [0.0]}, "0 < share"),
        ([1.0, 2.0], {"s": [1, 2]}, {"tops": [0]}, "top >= 1"),
    ],
)
def test_mistakes_are_one_line(truth: object, scores: object, options: dict[str, object], word: str) -> None:
    with pytest.raises(ConfigurationError, match=word) as caught:
        rank_evidence(truth, scores, rng(), **options)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_a_thousand_resamples_of_300_rows_take_a_second_or_two() -> None:
    draw = rng(9)
    scores = {name: draw.normal(size=300) for name in ("accuracy", "loss", "macs", "params")}
    began = time.perf_counter()
    rank_evidence(draw.normal(size=300), scores, draw, baselines=["macs", "params"])
    assert time.perf_counter() - began < 8


def test_the_seed_decides() -> None:
    draw = rng(2)
    truth, score = draw.normal(size=30), draw.normal(size=30)
    assert rank_evidence(truth, {"s": score}, rng(1)) == rank_evidence(truth, {"s": score}, rng(1))
