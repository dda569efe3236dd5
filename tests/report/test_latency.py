"""What the report says of a limit on latency."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

import pytest

from onepath.latency import Latency
from onepath.record import RunRecord
from onepath.report.command import reproduce
from onepath.report.latency import (
    latency_section,
    measured_rows,
    score_against_latency,
)
from onepath.report.page import cards, content, render
from onepath.report.sentences import limits_text
from onepath.report.winners import front_of_limits

Make = Callable[..., RunRecord]


def measured(median_ms: float, is_noisy: bool = False) -> dict[str, Any]:
    return {"median_ms": median_ms, "iqr_ms": 0.01, "repeats": 20, "threads": 1, "is_noisy": is_noisy}


@pytest.fixture
def limited(finished_record: RunRecord) -> RunRecord:
    """The finished run, as if under a limit of 1.5 ms; trial n is predicted to take 1 + n/1000 ms."""
    record = finished_record
    winner, random = record.networks[0], record.networks[1]
    other = next(
        trial
        for trial in record.trials
        if trial.architecture not in (winner.architecture, random.architecture)
    )
    search = record.stages["search"]["record"]
    changes = {
        "search": {
            **search,
            "limit": {"max_latency_ms": 1.5},
            "screen_ms": 1.4,
            "predicted_ms": [1 + trial.number / 1000 for trial in record.trials],
        },
        "profile": {"file": "latency-table.json", "error_ms_95": 0.02},
        "latency": {
            "settings": {"name": "board", "threads": 1},
            "measured": {
                other.architecture: measured(1.6),
                "unknown": measured(1.2, is_noisy=True),
                winner.architecture: measured(1.45),
                random.architecture: measured(1.1),
            },
        },
        "export": {**record.stages["export"]["record"], "latency_ms": 1.595},
    }
    stages = {
        **record.stages,
        **{name: {"seconds": 1.0, "done": True, "record": found} for name, found in changes.items()},
    }
    cost = {
        **record.result["cost"],
        "latency_ms": 1.45,
        "latency_device": "board",
        "latency_iqr_ms": 0.01,
        "latency_predicted_ms": 1.4,
    }
    return replace(record, stages=stages, result={**record.result, "cost": cost})


def with_winners(record: RunRecord) -> RunRecord:
    def winner(limit: float, ms: float, test: float | None, random_ms: float) -> dict[str, Any]:
        return {
            "max_latency_ms": limit,
            "path": f"limit-{limit:g}ms",
            "cost": {"macs": 1, "params": 2, "latency_ms": ms},
            "accuracy": {"retrained_test": test},
            "random_baseline": {
                "num": 2,
                "retrained_test": [0.5, None],
                "latency_ms": [random_ms, 1.0],
            },
        }

    found = [winner(1.5, 1.45, 0.98, 1.31), winner(1.2, 1.15, 0.97, 1.07), winner(2.0, 1.9, None, 1.8)]
    return replace(record, result={**record.result, "winners": found})


def test_a_run_without_a_limit_has_no_such_section(finished_record: RunRecord) -> None:
    assert latency_section(finished_record) is None
    assert 'id="latency"' not in render(finished_record)


def test_every_measured_network_has_a_row(limited: RunRecord) -> None:
    rows = measured_rows(limited)
    assert [row.name.split()[0] for row in rows] == ["Trial", "Random,", "Winner", "Random"]
    assert [row.is_within for row in rows] == [False, False, True, True]
    assert [row.is_noisy for row in rows] == [False, True, False, False]
    assert rows[1].predicted_ms is None
    number = int(rows[0].name.split()[1])
    assert rows[0].predicted_ms == 1 + number / 1000


def test_the_text_says_how_the_limit_was_held(limited: RunRecord) -> None:
    section = latency_section(limited)
    assert section is not None
    for part in (
        "The limit was 1.5\u00a0ms on board, 1 thread.",
        "within 0.02\u00a0ms for 95 % of fresh networks",
        "predicted to take at most 1.4\u00a0ms",
        "Of 2 candidates measured, the winner is the best within the limit: 1.45\u00a0ms measured",
        "takes 1.59\u00a0ms, 10.0\u00a0% more",
    ):
        assert part in section["text"]
    assert limits_text(limited) == "The limit was 1.5 ms of latency."


def test_the_scatter_has_predictions_the_front_measurements_and_the_limit(limited: RunRecord) -> None:
    figure = score_against_latency(limited)
    assert figure is not None
    traces = {trace["name"]: trace for trace in figure["data"]}
    assert len(traces["evaluated (predicted)"]["x"]) == len(limited.trials)
    front = traces["Pareto front (predicted)"]
    assert front["x"] == sorted(front["x"])
    assert front["y"] == sorted(set(front["y"]))
    assert max(front["y"]) == max(traces["evaluated (predicted)"]["y"])
    assert traces["winner (measured)"]["x"] == [1.45]
    # The random architecture is one of the trials, too.
    assert sorted(traces["measured"]["x"]) == [1.1, 1.6]
    assert figure["layout"]["shapes"][0]["x0"] == 1.5


def test_the_front_of_winners_is_in_the_order_of_latency(limited: RunRecord) -> None:
    assert front_of_limits(limited) is None
    figure = front_of_limits(with_winners(limited))
    assert figure is not None
    winners, random = figure["data"]
    assert (winners["x"], winners["y"]) == ([1.15, 1.45], [97.0, 98.0])
    assert winners["text"] == ["≤ 1.2 ms", "≤ 1.5 ms"]
    # At their own measured latency, as the axis says; not at the limit that they meet.
    assert (random["x"], random["y"]) == ([1.07, 1.31], [50.0, 50.0])
    assert random["text"] == ["≤ 1.2 ms", "≤ 1.5 ms"]
    assert figure["layout"]["xaxis"]["title"]["text"] == "measured latency (ms)"
    assert [found["id"] for found in content(with_winners(limited))["figures"]][-2:] == [
        "score-against-latency",
        "front-of-limits",
    ]


def test_random_networks_without_a_kept_latency_are_not_drawn(limited: RunRecord) -> None:
    record = with_winners(limited)
    for winner in record.result["winners"]:
        del winner["random_baseline"]["latency_ms"]
    figure = front_of_limits(record)
    assert figure is not None
    assert [trace["name"] for trace in figure["data"]] == ["winners"]


@pytest.mark.parametrize(
    ("median_ms", "iqr_ms", "is_noisy", "is_within", "words"),
    [
        (1.45, 0.05, False, True, "within the limit"),
        (1.45, 0.051, False, False, "over the limit with its spread"),
        (1.5, 0.0, False, True, "within the limit"),
        (1.51, 0.0, False, False, "over the limit"),
        (1.0, 0.2, True, False, "too noisy to be used"),
    ],
)
def test_run_and_report_hold_a_latency_to_a_limit_by_one_rule(
    limited: RunRecord, median_ms: float, iqr_ms: float, is_noisy: bool, is_within: bool, words: str
) -> None:
    found = Latency(median_ms, iqr_ms, 20, 1, is_noisy)
    assert found.is_within(1.5) is is_within
    measured_now = {"unknown": asdict(found)}
    stage = limited.stages["latency"]
    record = replace(
        limited,
        stages={
            **limited.stages,
            "latency": {**stage, "record": {**stage["record"], "measured": measured_now}},
        },
    )
    (row,) = measured_rows(record)
    assert row.is_within is is_within
    assert f'<td class="text">{words}</td>' in render(record)


def test_the_page_and_the_card(limited: RunRecord) -> None:
    page = render(with_winners(limited))
    for part in ("too noisy to be used", "over the limit", "within the limit", "limit-1.2ms"):
        assert part in page
    card = next(card for card in cards(limited) if card.title == "Latency")
    assert card[1:] == (
        "1.45\u00a0ms",
        "board, 1 thread, IQR 0.01\u00a0ms, predicted 1.4\u00a0ms, limit 1.5\u00a0ms",
    )


def test_a_search_that_has_not_ended_has_no_predictions(limited: RunRecord, make_record: Make) -> None:
    config = {**limited.config, "max_latency_ms": [1.5, 2.0], "device": "board"}
    record = make_record(config=config, trials=limited.trials[:5])
    section = latency_section(record)
    assert section is not None
    assert (section["scatter"], section["rows"]) == (None, [])
    assert section["text"] == "The limit was 1.5\u00a0ms on board."
    assert "--max-latency-ms 1.5,2.0" in reproduce(record).parts
