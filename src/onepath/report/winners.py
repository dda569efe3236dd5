"""The report's section on a run under several limits: a row for each winner, and the test metric against the cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from onepath.display import SPACE, ShownCost, shown_cost
from onepath.pareto import pareto_front
from onepath.record import RunRecord
from onepath.report.figures import RANDOM, WINNER, Figure, layout_of, scatter
from onepath.report.findings import metric_of

Winner = Mapping[str, Any]


def limits_section(record: RunRecord) -> dict[str, Any] | None:
    """Return the section of the page; None for a run with one limit."""
    winners = record.result.get("winners") or []
    if len(winners) < 2:
        return None
    limited = limited_cost(winners)
    names = ["macs", "params", *(["latency_ms"] if any(_cost(row, "latency_ms") for row in winners) else [])]
    names += [name for row in winners for name in row.get("costs") or () if name not in names]
    costs = [shown_cost(name) for name in dict.fromkeys([*names, limited.name])]
    metric = metric_of(record)
    return {
        "heads": ["Limit", f"Test {metric.name}", *(cost.head for cost in costs), "On the front", "Folder"],
        "rows": [
            (
                _limit_text(row),
                metric.text(row["accuracy"]["retrained_test"]),
                *(cost.text(_cost(row, cost.name)) for cost in costs),
                "yes" if is_best else "no",
                row["path"],
            )
            for row, is_best in zip(winners, _on_front(winners, limited), strict=True)
        ],
        "front": front_of_limits(record),
    }


def _on_front(winners: Sequence[Winner], limited: ShownCost) -> list[bool]:
    """Return whether each winner is on the front of test metric (higher is better) and limited cost (lower is better).

    A winner is not on it if another one has an equal metric at a lower cost, or a better metric at no higher cost.
    """
    points = [(row["accuracy"]["retrained_test"], _cost(row, limited.name)) for row in winners]
    known = np.array([[np.nan if value is None else value for value in point] for point in points])
    return [bool(is_best) for is_best in pareto_front(known, [True, False])]


def limited_cost(winners: Sequence[Winner]) -> ShownCost:
    """Return the cost whose limit differs between the winners; if no limit differs, the first limited cost."""
    names = list(dict.fromkeys(name for row in winners for name in _limits(row)))
    differing = [name for name in names if len({_limits(row).get(name) for row in winners}) > 1]
    return shown_cost((differing or names)[0].removeprefix("max_"))


def front_of_limits(record: RunRecord) -> Figure | None:
    """Draw the stand-alone test metric against the limited cost, for the winners and their random networks.

    Random networks whose cost was not recorded are left out, because their limit is not their cost. Return None if
    fewer than two winners have both values.
    """
    winners = record.result.get("winners") or []
    if len(winners) < 2:
        return None
    cost, metric = limited_cost(winners), metric_of(record)
    known = sorted(
        (row for row in winners if None not in (_cost(row, cost.name), row["accuracy"]["retrained_test"])),
        key=lambda row: float(_cost(row, cost.name) or 0),
    )
    if len(known) < 2:
        return None
    random = [
        (row, value, score)
        for row in known
        for value, score in zip(
            row["random_baseline"].get(cost.name, ()), row["random_baseline"]["retrained_test"], strict=False
        )
        if None not in (value, score)
    ]
    hover = f"%{{text}}<br>%{{x:.4~g}} {cost.axis}, {metric.hover()}"
    data = [
        scatter(
            "winners",
            [(_cost(row, cost.name) or 0) / cost.factor for row in known],
            [metric.shown(row["accuracy"]["retrained_test"]) for row in known],
            hover,
            mode="lines+markers+text",
            text=[f"≤ {_limit_text(row)}".replace(SPACE, " ") for row in known],
            textposition="top center",
            cliponaxis=False,
            line={"color": "winner", "width": 1.5, "dash": "dot"},
            marker=WINNER,
        )
    ]
    if random:
        data.append(
            scatter(
                "random",
                [value / cost.factor for _, value, _ in random],
                [metric.shown(score) for _, _, score in random],
                hover,
                text=[f"≤ {_limit_text(row)}".replace(SPACE, " ") for row, _, _ in random],
                marker=RANDOM,
            )
        )
    axis = f"measured {cost.axis}" if cost.unit == "ms" else cost.axis
    return {"id": "front-of-limits", "data": data, "layout": layout_of(axis, metric.axis("stand-alone test"))}


def _limits(winner: Winner) -> Mapping[str, float]:
    """Return the limits of a winner by name, for example {"max_macs": 2000000}."""
    found: Mapping[str, float] = winner.get("limits") or {"max_latency_ms": winner["max_latency_ms"]}
    return found


def _limit_text(winner: Winner) -> str:
    costs = {shown_cost(name.removeprefix("max_")): value for name, value in _limits(winner).items()}
    return " and ".join(cost.text(ms) if cost.unit == "ms" else cost.named(ms) for cost, ms in costs.items())


def _cost(winner: Winner, name: str) -> float | None:
    noted = (winner.get("costs") or {}).get(name) or {}
    found: float | None = noted.get("value", winner["cost"].get(name))
    return found
