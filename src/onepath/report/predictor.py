"""The report's section on the accuracy predictor that a search used."""

from __future__ import annotations

from typing import Any

from onepath.display import ShownCost
from onepath.record import RunRecord
from onepath.report.figures import EVALUATED, Figure, layout_of, scatter
from onepath.report.findings import searched_by, stage_record
from onepath.report.formats import whole


def predictor_section(record: RunRecord) -> dict[str, Any] | None:
    """Return sentences and a plot on the predictor's training data and error; None if the search used no predictor."""
    known = stage_record(record, "search").get("predictor")
    if not known:
        return None
    metric = searched_by(record).metric
    error = f"{100 * known['error']:.2f} points" if metric.is_share else f"{known['error']:.4f}"
    tau = "" if known["tau"] is None else f", with Kendall's tau {known['tau']:.2f}"
    return {
        "text": (
            f"The search went by an accuracy predictor, which learned from {whole(known['num_pairs'])} architectures "
            f"of the whole space with the supernet's weights. On architectures that it had not seen it is off by "
            f"{error} on average{tau}. The best that it found within the limits were then evaluated themselves."
        ),
        "figure": _figure(record, known),
    }


def _figure(record: RunRecord, known: dict[str, Any]) -> Figure:
    """Draw predicted against evaluated scores; each prediction is of a network trained without the architecture."""
    by = searched_by(record)
    predicted, evaluated = (
        [round(by.shown(value) or 0.0, 5) for value in known[name]] for name in ("held_out", "accuracies")
    )
    ends = [min(*predicted, *evaluated), max(*predicted, *evaluated)]
    data = [
        scatter(
            "architecture", evaluated, predicted, "evaluated %{x:.4~f}, predicted %{y:.4~f}", marker=EVALUATED
        ),
        {
            "type": "scatter",
            "mode": "lines",
            "name": "no error",
            "x": ends,
            "y": ends,
            "line": {"color": "limit", "width": 1},
        },
    ]
    return {
        "id": "predicted",
        "data": data,
        "layout": layout_of(f"{by.axis}, evaluated", f"{by.axis}, predicted"),
    }


def with_pairs(figure: Figure, record: RunRecord, cost: ShownCost) -> Figure:
    """Add the architectures that the predictor learned from to the plot of scores against a cost, behind its points.

    Return the figure unchanged if their costs are unknown.
    """
    known = stage_record(record, "search").get("predictor") or {}
    costs = known.get("costs", {}).get(cost.name)
    if not costs:
        return figure
    by = searched_by(record)
    x = [round(value / cost.factor, 6) for value in costs]
    y = [by.shown(value) for value in known["accuracies"]]
    hover = f"%{{x:.4~f}} {cost.axis}, {by.metric.hover()}"
    pairs = scatter("of the predictor", x, y, hover, marker={**EVALUATED, "opacity": 0.2})
    return {**figure, "data": [pairs, *figure["data"]]}
