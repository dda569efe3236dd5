"""What the report shows of the front: the trade-offs between the score and the costs that a search found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from onepath.display import ShownCost, shown_cost
from onepath.record import RunRecord, TrialRow
from onepath.report.figures import OUTLINE, Figure, layout_of, trials_scatter
from onepath.report.findings import metric_of, searched_by, shown_costs, stage_record, winner_trial
from onepath.verdict import COSTS, cost_of, score_of

_MOST_ROWS = 15


def front_section(record: RunRecord) -> dict[str, Any] | None:
    """The section of the page; None before the search has ended, and for runs that did not note a front."""
    rows = front_trials(record)
    if not rows:
        return None
    winner = winner_trial(record)
    shown = _thinned(rows, winner)
    costs = front_costs(record)
    return {
        "names": _and([metric_of(record).name, *(cost.title for cost in costs)]),
        "text": _text(record, rows, costs),
        "plots": [front_against(cost, record, rows) for cost in costs],
        "costs": shown_costs(record, rows),
        "rows": [(trial, trial is winner) for trial in shown],
        "num_hidden": len(rows) - len(shown),
    }


def front_costs(record: RunRecord) -> list[ShownCost]:
    """The costs that the front weighs against the score."""
    noted = stage_record(record, "search").get("front") or {}
    return [shown_cost(name) for name in noted.get("reference") or COSTS]


def front_trials(record: RunRecord) -> list[TrialRow]:
    """The trials on the front, by rising cost."""
    noted: Mapping[str, Any] = stage_record(record, "search").get("front") or {}
    by_number = {trial.number: trial for trial in record.trials}
    return [by_number[number] for number in noted.get("trials", ()) if number in by_number]


def front_against(cost: ShownCost, record: RunRecord, front: Sequence[TrialRow]) -> Figure:
    """Every evaluated architecture against one cost, those on the front of all costs, and the winner."""
    inside, by = {trial.number for trial in front}, searched_by(record)
    winner = winner_trial(record)
    data = []
    for name, rows, marker in (
        (
            "evaluated",
            [trial for trial in record.trials if trial.number not in inside],
            {"color": "trial", "size": 6, "opacity": 0.45},
        ),
        ("front", front, {"color": "front", "size": 8}),
        (
            "winner",
            [] if winner is None else [winner],
            {"color": "winner", "size": 16, "symbol": "star", "line": OUTLINE},
        ),
    ):
        known = [row for row in rows if None not in (row.accuracy, cost_of(row, cost.name))]
        x = [round((cost_of(row, cost.name) or 0.0) / cost.factor, 6) for row in known]
        if known or name != "winner":
            data.append(trials_scatter(name, known, x, f"%{{x:.4~f}} {cost.axis}", by, marker=marker))
    heading = f"{by.metric.name[:1].upper()}{by.metric.name[1:]} against {cost.title}"
    return {
        "id": f"front-{cost.name}",
        "heading": heading,
        "data": data,
        "layout": layout_of(cost.axis, by.axis),
    }


def _thinned(rows: Sequence[TrialRow], winner: TrialRow | None) -> list[TrialRow]:
    """At most so many rows, evenly spread, with the first, the last and the winner."""
    if len(rows) <= _MOST_ROWS:
        return list(rows)
    step = (len(rows) - 1) / (_MOST_ROWS - 1)
    kept = {round(index * step) for index in range(_MOST_ROWS)}
    return [row for index, row in enumerate(rows) if index in kept or row is winner]


def _text(record: RunRecord, rows: Sequence[TrialRow], costs: Sequence[ShownCost]) -> str:
    """What the front is, how large, and whether the winner is on it."""
    noted, metric = stage_record(record, "search")["front"], metric_of(record)
    reference = noted.get("reference") or {}
    num = len(rows)
    what = _and([searched_by(record).name, *(cost.title for cost in costs)])
    text = (
        f"{num} of the {len(record.trials):,} evaluated architectures {'is' if num == 1 else 'are'} on the front: no "
        f"other is as good in {what} and better in one of them. "
    )
    if noted.get("hypervolume") is not None and reference and metric.is_share:
        box = _and([cost.named(reference[cost.name]) for cost in costs])
        text += (
            f"The front's hypervolume is {noted['hypervolume']:.4f}: the share it dominates of the box from "
            f"{metric.name} 0 at {box} to {metric.name} 1 at no cost; higher is better, but only runs with the same "
            "box compare. "
        )
    return text + _place_of_winner(record, rows)


def _place_of_winner(record: RunRecord, rows: Sequence[TrialRow]) -> str:
    winner = winner_trial(record)
    if winner is None or winner.accuracy is None:
        return ""
    name = searched_by(record).name
    if score_of(winner) < max(map(score_of, rows)):
        return f"The winner's {name} is not the best on the front, which did not meet the limit on latency."
    if winner in rows:
        return f"The winner has the best {name} on the front."
    return f"The winner is not on the front: a cheaper architecture has the same {name}, and the lower loss decided."


def _and(words: Sequence[str]) -> str:
    return f"{', '.join(words[:-1])} and {words[-1]}" if len(words) > 1 else "".join(words)
