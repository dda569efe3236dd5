"""What the report shows of the front: the trade-offs between accuracy, MACs and parameters that a search found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from onepath.record import RunRecord, TrialRow
from onepath.report.figures import OUTLINE, Figure, describe_trial, layout_of
from onepath.report.findings import stage_record, winner_trial
from onepath.report.formats import short_count

_MOST_ROWS = 15
_AXES = {"macs": ("MACs", "million MACs", 1e6), "params": ("parameters", "thousand parameters", 1e3)}


def front_section(record: RunRecord) -> dict[str, Any] | None:
    """The section of the page; None before the search has ended, and for runs that did not note a front."""
    rows = front_trials(record)
    if not rows:
        return None
    winner = winner_trial(record)
    shown = _thinned(rows, winner)
    return {
        "text": _text(record, rows),
        "plots": [accuracy_against(cost, record, rows) for cost in _AXES],
        "rows": [(trial, trial is winner) for trial in shown],
        "num_hidden": len(rows) - len(shown),
    }


def front_trials(record: RunRecord) -> list[TrialRow]:
    """The trials on the front, by rising MACs."""
    noted: Mapping[str, Any] = stage_record(record, "search").get("front") or {}
    by_number = {trial.number: trial for trial in record.trials}
    return [by_number[number] for number in noted.get("trials", ()) if number in by_number]


def accuracy_against(cost: str, record: RunRecord, front: Sequence[TrialRow]) -> Figure:
    """Every evaluated architecture's accuracy against one cost, those on the front, and the winner.

    Args:
        cost: "macs" or "params".
        record: the run.
        front: the trials on the front.
    """
    title, axis, _ = _AXES[cost]
    inside = {trial.number for trial in front}
    others = [trial for trial in record.trials if trial.number not in inside]
    winner = winner_trial(record)
    data = [
        _points("evaluated", cost, others, {"color": "trial", "size": 6, "opacity": 0.45}),
        _points("front", cost, front, {"color": "front", "size": 8}),
    ]
    if winner is not None:
        marker = {"color": "winner", "size": 16, "symbol": "star", "line": OUTLINE}
        data.append(_points("winner", cost, [winner], marker))
    layout = layout_of(axis, "inherited accuracy (%)")
    return {
        "id": f"front-{cost}",
        "heading": f"Accuracy against {title}",
        "data": data,
        "layout": layout,
    }


def _points(name: str, cost: str, trials: Sequence[TrialRow], marker: Figure) -> Figure:
    title, _, unit = _AXES[cost]
    known = [trial for trial in trials if None not in (trial.accuracy, getattr(trial, cost))]
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": [round(getattr(trial, cost) / unit, 6) for trial in known],
        "y": [round(100 * (trial.accuracy or 0.0), 4) for trial in known],
        "text": [
            f"{short_count(getattr(trial, cost))} {title}<br>{describe_trial(trial)}" for trial in known
        ],
        "hovertemplate": "%{y:.2f} %, %{text}<extra></extra>",
        "marker": marker,
    }


def _thinned(rows: Sequence[TrialRow], winner: TrialRow | None) -> list[TrialRow]:
    """At most so many rows, evenly spread, with the first, the last and the winner."""
    if len(rows) <= _MOST_ROWS:
        return list(rows)
    step = (len(rows) - 1) / (_MOST_ROWS - 1)
    kept = {round(index * step) for index in range(_MOST_ROWS)}
    return [row for index, row in enumerate(rows) if index in kept or row is winner]


def _text(record: RunRecord, rows: Sequence[TrialRow]) -> str:
    """What the front is, how large, and whether the winner is on it."""
    noted = stage_record(record, "search")["front"]
    reference = noted.get("reference") or {}
    num = len(rows)
    box = " and ".join(
        f"{short_count(value)} {_AXES[name][0]}" for name, value in reference.items() if name in _AXES
    )
    text = (
        f"{num} of the {len(record.trials):,} evaluated architectures {'is' if num == 1 else 'are'} on the front: none "
        "other is as good in inherited accuracy, MACs and parameters and better in one of them. "
    )
    if noted.get("hypervolume") is not None and box:
        text += (
            f"The front's hypervolume is {noted['hypervolume']:.4f}: the share it dominates of the box from accuracy 0 "
            f"at {box} to accuracy 1 at no cost; higher is better, but only runs with the same box compare. "
        )
    return text + _place_of_winner(winner_trial(record), rows)


def _place_of_winner(winner: TrialRow | None, rows: Sequence[TrialRow]) -> str:
    best = max(row.accuracy or 0.0 for row in rows)
    if winner is None or winner.accuracy is None:
        return ""
    if winner.accuracy < best:
        return (
            "The winner is less accurate than the best on the front, which did not meet the limit on latency."
        )
    if winner in rows:
        return "The winner, which was retrained, is the most accurate on the front."
    return (
        "The winner is not on the front: a cheaper architecture has the same inherited accuracy, and the lower loss "
        "decided."
    )
