"""The report's section on the front: the trade-offs between the score and the costs that a search found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from onepath.display import ShownCost
from onepath.record import RunRecord, TrialRow
from onepath.report.findings import (
    front_costs,
    front_trials,
    metric_of,
    searched_by,
    shown_costs,
    stage_record,
    winner_trial,
)
from onepath.verdict import score_of

_MOST_ROWS = 15


def front_section(record: RunRecord) -> dict[str, Any] | None:
    """Return the section of the page; None before the search has ended or if the run recorded no front."""
    rows = front_trials(record)
    if not rows:
        return None
    winner = winner_trial(record)
    shown = _thinned(rows, winner)
    costs = front_costs(record)
    return {
        "names": _and([metric_of(record).name, *(cost.title for cost in costs)]),
        "text": _text(record, rows, costs),
        "costs": shown_costs(record, rows),
        "rows": [(trial, trial is winner) for trial in shown],
        "num_hidden": len(rows) - len(shown),
    }


def _thinned(rows: Sequence[TrialRow], winner: TrialRow | None) -> list[TrialRow]:
    """Return about `_MOST_ROWS` of the rows, evenly spread, including the first, the last and the winner."""
    if len(rows) <= _MOST_ROWS:
        return list(rows)
    step = (len(rows) - 1) / (_MOST_ROWS - 1)
    kept = {round(index * step) for index in range(_MOST_ROWS)}
    return [row for index, row in enumerate(rows) if index in kept or row is winner]


def _text(record: RunRecord, rows: Sequence[TrialRow], costs: Sequence[ShownCost]) -> str:
    """Return sentences on what the front is, how large it is, and whether the winner is on it."""
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
