"""The report's diagrams as plain data for plotly.js; colours are names that the page's style sheet resolves.

Texts here are shown as HTML by plotly; what comes from the user is escaped.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np

from onepath.record import CurvePoint, NetworkRow, RunRecord, TrialRow
from onepath.report.findings import (
    Searched,
    baselines,
    is_done,
    limits,
    pareto_front,
    ranked_pairs,
    searched_by,
    winner_trial,
)
from onepath.report.formats import shortened

Figure = dict[str, Any]

_MOST_POINTS = 400
_ARCHITECTURE_LENGTH = 60
_MOST_NAMED = 6
_TITLES = {"supernet": "Supernet", "winner": "Winner", "baseline": "Random", "ranked": "Ranked"}


def accuracy_against_macs(record: RunRecord) -> Figure | None:
    """Every evaluated architecture, the Pareto front, the winner, the random baseline, and the limit on MACs."""
    trials = [trial for trial in record.trials if trial.accuracy is not None and trial.macs is not None]
    if not trials:
        return None
    front, winner, by = pareto_front(trials), winner_trial(record), searched_by(record)
    others = [
        row for row in baselines(record) if row.inherited_validation is not None and row.macs is not None
    ]
    data = [
        _points("evaluated", trials, by, marker={"color": "trial", "size": 6, "opacity": 0.45}),
        _points(
            "Pareto front",
            front,
            by,
            mode="lines+markers",
            line={"color": "front", "width": 2, "shape": "hv"},
            marker={"color": "front", "size": 7},
        ),
    ]
    if others:
        data.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": "random baseline",
                "x": [_millions(row.macs) for row in others],
                "y": [by.shown(row.inherited_validation) for row in others],
                "text": [escape(_role_title(row.role)) for row in others],
                "marker": {"color": "baseline", "size": 12, "symbol": "diamond", "line": OUTLINE},
                "hovertemplate": f"%{{text}}<br>%{{x:.4~f}} M MACs, %{{y:.2f}}{by.unit}<extra></extra>",
            }
        )
    if winner is not None and winner.macs is not None and winner.accuracy is not None:
        marker = {"color": "winner", "size": 18, "symbol": "star", "line": OUTLINE}
        name = "winner" if is_done(record, "search") else "best so far"
        data.append(_points(name, [winner], by, marker=marker))
    layout = layout_of("million MACs", by.axis)
    limit = limits(record).get("max_macs")
    if limit is not None:
        layout["shapes"] = [vertical_line(_millions(limit))]
        layout["annotations"] = [line_label(_millions(limit), "limit")]
    return {"id": "accuracy-against-macs", "data": data, "layout": layout}


def search_progress(record: RunRecord) -> Figure | None:
    """Best so far, median and quartiles of what was searched by, by generation; by trial where these are few."""
    by = searched_by(record)
    scored = [trial for trial in record.trials if trial.accuracy is not None]
    if not scored:
        return None
    generations: dict[int, list[float]] = {}
    for trial in scored:
        generations.setdefault(trial.generation, []).append(by.shown(trial.accuracy))
    if len(generations) < 3:
        return _progress_by_trial(scored, by)
    x = sorted(generations)
    low, middle, high = ([round(float(np.percentile(generations[g], q)), 4) for g in x] for q in (25, 50, 75))
    best = np.maximum.accumulate([max(generations[g]) for g in x]).tolist()
    band = {"type": "scatter", "mode": "lines", "x": x, "line": {"width": 0}, "hoverinfo": "skip"}
    data = [
        {**band, "y": low, "showlegend": False},
        {**band, "y": high, "name": "quartiles", "fill": "tonexty", "fillcolor": "band"},
        _line("median of the generation", x, middle, "trial", f"%{{y:.2f}}{by.unit}"),
        _line("best so far", x, best, "winner", f"%{{y:.2f}}{by.unit}"),
    ]
    layout = layout_of("generation", by.axis)
    layout["hovermode"] = "x unified"
    layout["xaxis"]["dtick"] = max(1, round((x[-1] - x[0]) / 10))
    return {"id": "search-progress", "data": data, "layout": layout}


def training_curves(record: RunRecord) -> list[Figure]:
    """Loss and training accuracy of the supernet, and of the stand-alone networks."""
    supernet = {name: curve for name, curve in record.curves.items() if _is_supernet(name) and curve}
    alone = {name: curve for name, curve in record.curves.items() if not _is_supernet(name) and curve}
    figures = []
    for group, curves in (("supernet", supernet), ("stand-alone", alone)):
        for quantity in ("loss", "accuracy"):
            names = sorted(curves, key=_curve_order)
            lines = [_curve(name, curves[name], quantity, name == names[0]) for name in names]
            data = [line for line in lines if line is not None]
            if data:
                title = "training loss" if quantity == "loss" else "training accuracy (%)"
                layout = layout_of("epoch", title) | {"showlegend": len(data) > 1}
                heading = "Supernet" if group == "supernet" else "Stand-alone networks"
                figures.append(
                    {
                        "id": f"curves-{group}-{quantity}",
                        "heading": f"{heading}: {title}",
                        "data": data,
                        "layout": layout,
                    }
                )
    return figures


def _is_supernet(name: str) -> bool:
    """Whether a curve is of the supernet, or of one seed's, where there are several."""
    return name.partition("-")[0] == "supernet"


def inherited_against_alone(record: RunRecord) -> Figure | None:
    """What was searched by, against the test accuracy of the networks trained from scratch, each with its name."""
    rows, by = ranked_pairs(record), searched_by(record)
    if not rows:
        return None
    is_numbered = len(rows) > _MOST_NAMED
    data = []
    for name, colour, size, symbol in (
        ("random", "baseline", 12, "diamond"),
        ("winner", "winner", 18, "star"),
    ):
        members = [row for row in rows if (row.role == "winner") == (name == "winner")]
        titles = [escape(_role_title(row.role)) for row in members]
        data.append(
            {
                "type": "scatter",
                "mode": "markers+text",
                "name": name,
                "x": [by.shown(row.inherited_validation) for row in members],
                "y": [_hundredths(row.retrained_test) for row in members],
                "text": [title.removeprefix("Random ") for title in titles] if is_numbered else titles,
                "customdata": titles,
                "textposition": "top center",
                "cliponaxis": False,
                "marker": {"color": colour, "size": size, "symbol": symbol, "line": OUTLINE},
                "hovertemplate": f"%{{customdata}}<br>{'score' if by.is_score else 'inherited'} %{{x:.2f}}{by.unit}"
                "<br>stand-alone %{y:.2f} %<extra></extra>",
            }
        )
    layout = layout_of(by.axis, "stand-alone test accuracy (%)")
    layout["showlegend"] = False
    for axis, values in (
        ("xaxis", [by.shown(row.inherited_validation) for row in rows]),
        ("yaxis", [_hundredths(row.retrained_test) for row in rows]),
    ):
        # Room for the labels, and no axis that blows a difference of one image up to the full height.
        margin = max(0.5, 0.25 * (max(values) - min(values)))
        layout[axis]["range"] = [round(min(values) - margin, 4), round(max(values) + margin, 4)]
    return {"id": "inherited-against-alone", "is_numbered": is_numbered, "data": data, "layout": layout}


OUTLINE = {"color": "surface", "width": 1.5}


def layout_of(x: str, y: str) -> Figure:
    """Two titled axes with a legend."""
    return {"xaxis": {"title": {"text": x}}, "yaxis": {"title": {"text": y}}, "showlegend": True}


def _points(name: str, trials: Sequence[TrialRow], by: Searched, **style: Any) -> Figure:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": [_millions(trial.macs) for trial in trials],
        "y": [by.shown(trial.accuracy) for trial in trials],
        "text": [describe_trial(trial) for trial in trials],
        "hovertemplate": f"%{{x:.4~f}} M MACs, %{{y:.2f}}{by.unit}<br>%{{text}}<extra></extra>",
        **style,
    }


def describe_trial(trial: TrialRow) -> str:
    """What shows under the pointer, escaped."""
    architecture = escape(shortened(trial.architecture, _ARCHITECTURE_LENGTH))
    return f"trial {trial.number}, generation {trial.generation}, {escape(trial.origin)}<br>{architecture}"


def _line(
    name: str, x: Sequence[float], y: Sequence[float], colour: str, hover: str, dash: str = "solid"
) -> Figure:
    return {
        "type": "scatter",
        "mode": "lines",
        "name": escape(name),
        "x": list(x),
        "y": list(y),
        "line": {"color": colour, "width": 1.5 if colour == "baseline" else 2.2, "dash": dash},
        "hovertemplate": f"{hover}<extra>{escape(name)}</extra>",
    }


def _progress_by_trial(scored: Sequence[TrialRow], by: Searched) -> Figure:
    x = [trial.number + 1 for trial in scored]
    y = [by.shown(trial.accuracy) for trial in scored]
    best = np.maximum.accumulate(y).tolist()
    marker = {"color": "trial", "size": 6, "opacity": 0.45}
    data = [
        _points("evaluated", scored, by, marker=marker)
        | {"x": x, "y": y, "hovertemplate": f"%{{y:.2f}}{by.unit}<br>%{{text}}<extra></extra>"},
        _line("best so far", x, best, "winner", f"%{{y:.2f}}{by.unit}"),
    ]
    data[1]["line"]["shape"] = "hv"
    layout = layout_of("architectures evaluated", by.axis)
    return {"id": "search-progress", "data": data, "layout": layout}


def _curve(name: str, curve: Sequence[CurvePoint], quantity: str, is_first: bool) -> Figure | None:
    """One training curve, thinned to a few hundred points; None if nothing finite was noted."""
    known = [
        (point.epoch, point.loss if quantity == "loss" else _hundredths(point.metric))
        for point in curve
        if (point.loss if quantity == "loss" else point.metric) is not None
    ]
    if not known:
        return None
    step = -(-len(known) // _MOST_POINTS)
    kept = known[::-step][::-1]
    role, _, start = name.rpartition("-") if name.count("-") else (name, "", "")
    colour = (
        "winner"
        if role == "winner"
        else "baseline"
        if role.startswith(("baseline", "ranked"))
        else "supernet"
    )
    dash = "dash" if start == "inherited" else "solid"
    x, y = [round(epoch, 4) for epoch, _ in kept], [round(float(value or 0.0), 5) for _, value in kept]
    hover = "epoch %{x:.2~f}: %{y:.4~f}" if quantity == "loss" else "epoch %{x:.2~f}: %{y:.2f} %"
    line = _line(curve_title(name), x, y, colour, hover, dash)
    if colour == "baseline":
        # One entry of the legend for all of them; the name of each shows under the pointer.
        line |= {"name": "Random", "showlegend": is_first, "opacity": 0.8}
    return line


def curve_title(name: str) -> str:
    """What a curve is called: "baseline-0-inherited" -> "Random 1, inherited"."""
    if name in _TITLES:
        return _TITLES[name]
    role, _, start = name.rpartition("-")
    if role == "supernet":
        return f"Supernet, {start.replace('seed', 'seed ')}"
    return _role_title(role) + (f", {start}" if start != "scratch" else "")


def network_title(row: NetworkRow) -> str:
    """What a stand-alone network is called: "Winner", "Random 2, inherited"."""
    return curve_title(f"{row.role}-{row.start}")


def _role_title(role: str) -> str:
    kind, _, number = role.partition("-")
    title = _TITLES.get(kind, kind)
    return f"{title} {int(number) + 1}" if number.isdigit() else title


def _curve_order(name: str) -> tuple[bool, str, int, str]:
    """Random networks first, so that the winner is drawn over them."""
    role, _, start = name.rpartition("-")
    kind, _, number = role.partition("-")
    return (kind == "winner", kind, int(number) if number.isdigit() else 0, start)


def vertical_line(x: float) -> Figure:
    """A dashed line over the whole height."""
    line = {"color": "limit", "width": 1.5, "dash": "dash"}
    return {"type": "line", "x0": x, "x1": x, "yref": "paper", "y0": 0, "y1": 1, "line": line}


def line_label(x: float, text: str) -> Figure:
    """A text above such a line."""
    return {
        "x": x,
        "y": 1,
        "yref": "paper",
        "yanchor": "bottom",
        "text": text,
        "showarrow": False,
        "font": {"color": "limit", "size": 12},
    }


def _millions(value: float | None) -> float:
    assert value is not None, "only trials with MACs are drawn"
    return round(value / 1e6, 6)


def _hundredths(value: float | None) -> float:
    assert value is not None, "only what was measured is drawn"
    return round(100 * value, 4)
