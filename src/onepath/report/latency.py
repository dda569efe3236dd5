"""What the report shows of a limit on latency: accuracy against latency, and predictions beside measurements."""

from __future__ import annotations

import math
from collections.abc import Mapping
from html import escape
from typing import Any, NamedTuple

from onepath.record import RunRecord, TrialRow
from onepath.report.figures import (
    OUTLINE,
    Figure,
    describe_trial,
    layout_of,
    line_label,
    network_title,
    vertical_line,
)
from onepath.report.findings import Searched, limits, searched_by, stage_record, winner_trial
from onepath.report.formats import milliseconds, percent, whole
from onepath.verdict import within_latency


class MeasuredRow(NamedTuple):
    """A network that was measured on the device.

    Attributes:
        name: "Winner", "Random 1", "Trial 12".
        predicted_ms: None where nothing was predicted.
        is_within: whether median and IQR together are within the limit; a noisy measurement is not.
    """

    name: str
    predicted_ms: float | None
    median_ms: float
    iqr_ms: float
    is_noisy: bool
    is_within: bool


def limit_ms(record: RunRecord) -> float | None:
    """The limit on latency; None without one."""
    return limits(record).get("max_latency_ms")


def latency_section(record: RunRecord) -> dict[str, Any] | None:
    """The section of the page; None for a run without a limit on latency."""
    limit = limit_ms(record)
    if limit is None:
        return None
    return {
        "limit_ms": limit,
        "text": _text(record),
        "scatter": accuracy_against_latency(record),
        "front": front_of_limits(record),
        "winners": record.result.get("winners") or [],
        "rows": measured_rows(record),
    }


def figures_of(section: Mapping[str, Any] | None) -> list[Figure]:
    """The diagrams of the section that there are."""
    return [figure for name in ("scatter", "front") if section and (figure := section[name]) is not None]


def winner_latency(record: RunRecord) -> Mapping[str, Any]:
    """The measurement by which the winner was chosen; empty before it."""
    winner = winner_trial(record)
    measured = stage_record(record, "latency").get("measured") or {}
    return measured.get(winner.architecture, {}) if winner is not None else {}


def measured_rows(record: RunRecord) -> list[MeasuredRow]:
    """Every measured network, in the order of measurement."""
    limit, predicted = limit_ms(record), _predicted(record)
    names = {trial.architecture: f"Trial {trial.number}" for trial in record.trials}
    names |= {row.architecture: network_title(row) for row in reversed(record.networks)}
    winner = winner_trial(record)
    if winner is not None and stage_record(record, "search").get("winner") == winner.architecture:
        names[winner.architecture] = "Winner"
    return [
        MeasuredRow(
            names.get(architecture, "Random, not taken"),
            predicted.get(architecture),
            found["median_ms"],
            found["iqr_ms"],
            found["is_noisy"],
            limit is not None
            and within_latency(limit, found["median_ms"], found["iqr_ms"], found["is_noisy"]),
        )
        for architecture, found in (stage_record(record, "latency").get("measured") or {}).items()
    ]


def accuracy_against_latency(record: RunRecord) -> Figure | None:
    """Every evaluated architecture at its predicted latency, and at the measured one those that were measured."""
    predicted, limit = _predicted(record), limit_ms(record)
    trials = [
        trial for trial in record.trials if trial.accuracy is not None and trial.architecture in predicted
    ]
    if not trials:
        return None
    measured = stage_record(record, "latency").get("measured") or {}
    winner, by = winner_trial(record), searched_by(record)
    tried = [trial for trial in trials if trial.architecture in measured and trial is not winner]
    data = [
        _trials(
            "evaluated (predicted)",
            trials,
            [predicted[trial.architecture] for trial in trials],
            by,
            marker={"color": "trial", "size": 6, "opacity": 0.45},
        )
    ]
    front = _front(trials, predicted)
    data.append(
        _trials(
            "Pareto front (predicted)",
            front,
            [predicted[trial.architecture] for trial in front],
            by,
            mode="lines+markers",
            line={"color": "front", "width": 2, "shape": "hv"},
            marker={"color": "front", "size": 7},
        )
    )
    for name, shown, marker in (
        ("measured", tried, {"color": "limit", "size": 10, "symbol": "x", "line": OUTLINE}),
        (
            "winner (measured)",
            [trial for trial in trials if trial is winner and trial.architecture in measured],
            {"color": "winner", "size": 18, "symbol": "star", "line": OUTLINE},
        ),
    ):
        if shown:
            data.append(
                _trials(
                    name,
                    shown,
                    [measured[trial.architecture]["median_ms"] for trial in shown],
                    by,
                    marker=marker,
                )
            )
    layout = layout_of("latency (ms)", by.axis)
    assert limit is not None, "without a limit there is no section"
    layout["shapes"], layout["annotations"] = [vertical_line(limit)], [line_label(limit, "limit")]
    return {"id": "accuracy-against-latency", "data": data, "layout": layout}


def front_of_limits(record: RunRecord) -> Figure | None:
    """Stand-alone test accuracy against measured latency, of the winners of several limits and their random networks.

    None for one limit. Random networks whose latency was not kept are left out: a limit is no measurement.
    """
    winners = [
        winner
        for winner in record.result.get("winners") or []
        if winner["cost"]["latency_ms"] is not None and winner["accuracy"]["retrained_test"] is not None
    ]
    if len(winners) < 2:
        return None
    winners.sort(key=lambda winner: winner["cost"]["latency_ms"])
    baselines = [
        (winner["max_latency_ms"], ms, accuracy)
        for winner in winners
        for ms, accuracy in zip(
            winner["random_baseline"].get("latency_ms", ()),
            winner["random_baseline"]["retrained_test"],
            strict=False,
        )
        if accuracy is not None and ms is not None
    ]
    data: list[Figure] = [
        {
            "type": "scatter",
            "mode": "lines+markers+text",
            "name": "winners",
            "x": [winner["cost"]["latency_ms"] for winner in winners],
            "y": [round(100 * winner["accuracy"]["retrained_test"], 4) for winner in winners],
            "text": [f"≤ {winner['max_latency_ms']:g} ms" for winner in winners],
            "textposition": "top center",
            "cliponaxis": False,
            "line": {"color": "winner", "width": 1.5, "dash": "dot"},
            "marker": {"color": "winner", "size": 16, "symbol": "star", "line": OUTLINE},
            "hovertemplate": "%{text}<br>%{x:.4~g} ms measured, %{y:.2f} %<extra></extra>",
        }
    ]
    if baselines:
        data.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": "random",
                "x": [ms for _, ms, _ in baselines],
                "y": [round(100 * accuracy, 4) for _, _, accuracy in baselines],
                "text": [f"≤ {limit:g} ms" for limit, _, _ in baselines],
                "marker": {"color": "baseline", "size": 11, "symbol": "diamond", "line": OUTLINE},
                "hovertemplate": "%{text}<br>%{x:.4~g} ms measured, %{y:.2f} %<extra></extra>",
            }
        )
    layout = layout_of("measured latency (ms)", "stand-alone test accuracy (%)")
    return {"id": "front-of-limits", "data": data, "layout": layout}


def _predicted(record: RunRecord) -> dict[str, float]:
    values = stage_record(record, "search").get("predicted_ms") or []
    return {trial.architecture: ms for trial, ms in zip(record.trials, values, strict=False)}


def _front(trials: list[TrialRow], predicted: Mapping[str, float]) -> list[TrialRow]:
    """The trials that are faster than every trial as accurate, by latency."""
    front: list[TrialRow] = []
    best = -math.inf
    for trial in sorted(trials, key=lambda trial: (predicted[trial.architecture], -(trial.accuracy or 0.0))):
        if trial.accuracy is not None and trial.accuracy > best:
            front.append(trial)
            best = trial.accuracy
    return front


def _trials(
    name: str, trials: list[TrialRow], latencies_ms: list[float], by: Searched, **style: Any
) -> Figure:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": [round(ms, 6) for ms in latencies_ms],
        "y": [by.shown(trial.accuracy) for trial in trials],
        "text": [describe_trial(trial) for trial in trials],
        "hovertemplate": f"%{{x:.4~g}} ms, %{{y:.2f}}{by.unit}<br>%{{text}}<extra>{escape(name)}</extra>",
        **style,
    }


def _text(record: RunRecord) -> str:
    """How the limit was held, in words."""
    settings = stage_record(record, "latency").get("settings") or {}
    device = settings.get("name") or record.config.get("device")
    threads = settings.get("threads")
    where = f"{device}, {threads} thread{'' if threads == 1 else 's'}" if threads else str(device)
    limit = limit_ms(record)
    parts = [f"The limit was {milliseconds(limit)} on {where}."]
    bound = stage_record(record, "profile").get("error_ms_95")
    if bound is not None:
        parts.append(f"The predictions are within {milliseconds(bound)} for 95 % of fresh networks.")
    search, rows, winner = stage_record(record, "search"), measured_rows(record), winner_latency(record)
    screen = search.get("screen_ms")
    if screen is not None and limit is not None and screen < limit:
        parts.append(
            f"Nothing measured after the first search was within it, so the search went on among networks predicted to "
            f"take at most {milliseconds(screen)}."
        )
    if winner:
        num = sum(row.name.startswith(("Trial", "Winner")) for row in rows)
        parts.append(
            f"Of {whole(num)} candidate{'' if num == 1 else 's'} measured, the winner is the most accurate within "
            f"the limit: {milliseconds(winner['median_ms'])} measured (the slowest of its sessions, IQR "
            f"{milliseconds(winner['iqr_ms'])}), {milliseconds(_winner_prediction(record))} predicted."
        )
    again = stage_record(record, "export").get("latency_ms")
    if winner and again is not None:
        excess = again / winner["median_ms"] - 1
        parts.append(
            f"What is handed over, measured once more at the end, takes {milliseconds(again)}, "
            f"{percent(abs(excess))} {'more' if excess > 0 else 'less'}."
        )
    return " ".join(parts)


def _winner_prediction(record: RunRecord) -> float | None:
    winner = winner_trial(record)
    return None if winner is None else _predicted(record).get(winner.architecture)
