"""The report's diagrams as plain data for plotly.js; colours are names that the page's style sheet resolves.

plotly shows texts as HTML, so every text that comes from the user is escaped here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

import numpy as np

from onepath.display import ShownCost
from onepath.record import NetworkRow, RunRecord, TrialRow
from onepath.report.findings import (
    Searched,
    baselines,
    front_costs,
    front_trials,
    is_done,
    limits,
    metric_of,
    searched_by,
    winner_trial,
)
from onepath.report.formats import shortened
from onepath.verdict import cost_of, on_front, ranked

Figure = dict[str, Any]

OUTLINE = {"color": "surface", "width": 1.5}
EVALUATED = {"color": "trial", "size": 6, "opacity": 0.45}
IN_FRONT = {"color": "front", "size": 10, "symbol": "circle-open"}
RANDOM = {"color": "baseline", "size": 12, "symbol": "diamond", "line": OUTLINE}
WINNER = {"color": "winner", "size": 18, "symbol": "star", "line": OUTLINE}
FRONT_LINE = {
    "mode": "lines+markers",
    "line": {"color": "front", "width": 2, "shape": "hv"},
    "marker": {"color": "front", "size": 7},
}
_MOST_POINTS = 400
_ARCHITECTURE_LENGTH = 60
_MOST_NAMED = 6
_TITLES = {
    "supernet": "Supernet",
    "winner": "Winner",
    "baseline": "Random",
    "ranked": "Ranked",
    "finalist": "Finalist",
}


def scatter(name: str, x: Iterable[Any], y: Iterable[float | None], hover: str, **style: Any) -> Figure:
    """Return a trace of points for plotly.

    Args:
        name: name of the trace in the legend.
        x: horizontal position of each point.
        y: vertical position of each point; None leaves a point out.
        hover: plotly template of the text under the pointer; the caller escapes it.
        style: further fields of the trace, which replace the usual ones.
    """
    points = {"type": "scatter", "mode": "markers", "name": name, "x": list(x), "y": list(y)}
    return {**points, "hovertemplate": f"{hover}<extra></extra>", **style}


def trials_scatter(
    name: str, trials: Sequence[TrialRow], x: Iterable[float], hover: str, by: Searched, **style: Any
) -> Figure:
    """Return a trace of trials with their scores on the vertical axis.

    Args:
        name: name of the trace in the legend.
        trials: trials that have a score.
        x: horizontal position of each trial.
        hover: plotly template for the x value; the score and the trial are added.
        by: says what the search optimised, and how to show it.
        style: further fields of the trace.
    """
    shown = [by.shown(trial.accuracy) for trial in trials]
    texts = [describe_trial(trial) for trial in trials]
    return scatter(name, x, shown, f"{hover}, {by.metric.hover()}<br>%{{text}}", **{"text": texts, **style})


def score_against(record: RunRecord, cost: ShownCost) -> Figure | None:
    """Draw the scores of all evaluated architectures against a cost; None if no trial has both.

    The diagram also shows the front, the winner, the random baseline and the limit.
    """
    trials = [row for row in record.trials if None not in (row.accuracy, cost_of(row, cost.name))]
    if not trials:
        return None
    winner, by, hover = winner_trial(record), searched_by(record), f"%{{x:.4~f}} {cost.axis}"

    def places(rows: Iterable[object]) -> list[float]:
        return [round((cost_of(row, cost.name) or 0.0) / cost.factor, 6) for row in rows]

    def points(name: str, rows: Sequence[TrialRow], **style: Any) -> Figure:
        return trials_scatter(name, rows, places(rows), hover, by, **style)

    data = [
        points("evaluated", trials, marker=EVALUATED),
        points("Pareto front", on_front(trials, [cost.name]), **FRONT_LINE),
    ]
    if cost in front_costs(record) and (front := [row for row in front_trials(record) if row in trials]):
        data.append(points("front of all costs", front, marker=IN_FRONT))
    others = [
        row for row in baselines(record) if None not in (row.inherited_validation, cost_of(row, cost.name))
    ]
    if others:
        data.append(
            scatter(
                "random baseline",
                places(others),
                [by.shown(row.inherited_validation) for row in others],
                f"%{{text}}<br>{hover}, {by.metric.hover()}",
                text=[escape(_role_title(row.role)) for row in others],
                marker=RANDOM,
            )
        )
    if winner in trials and winner is not None:
        name = "winner" if is_done(record, "search") else "best so far"
        data.append(points(name, [winner], marker=WINNER))
    layout = layout_of(cost.axis, by.axis)
    limit = limits(record).get(f"max_{cost.name}")
    if limit is not None:
        layout["shapes"] = [vertical_line(limit / cost.factor)]
        layout["annotations"] = [line_label(limit / cost.factor, "limit")]
    return {"id": f"score-against-{cost.name}", "data": data, "layout": layout}


def search_progress(record: RunRecord) -> Figure | None:
    """Draw the best score so far with the median and the quartiles of each generation; None without scored trials.

    With fewer than three generations, the diagram shows every trial and the best so far.
    """
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
    better, top = (np.maximum, max) if by.metric.higher_is_better else (np.minimum, min)
    best = better.accumulate([top(generations[g]) for g in x]).tolist()
    band = {"type": "scatter", "mode": "lines", "x": x, "line": {"width": 0}, "hoverinfo": "skip"}
    data = [
        {**band, "y": low, "showlegend": False},
        {**band, "y": high, "name": "quartiles", "fill": "tonexty", "fillcolor": "band"},
        _line("median of the generation", x, middle, "trial", by.metric.hover()),
        _line("best so far", x, best, "winner", by.metric.hover()),
    ]
    layout = layout_of("generation", by.axis)
    layout["hovermode"] = "x unified"
    layout["xaxis"]["dtick"] = max(1, round((x[-1] - x[0]) / 10))
    return {"id": "search-progress", "data": data, "layout": layout}


def training_curves(record: RunRecord) -> list[Figure]:
    """Draw the loss and the training metric by epoch, in separate diagrams for supernet and stand-alone networks."""
    metric, figures = metric_of(record), []
    for group, heading in (("supernet", "Supernet"), ("stand-alone", "Stand-alone networks")):
        curves = {
            name: curve
            for name, curve in record.curves.items()
            if curve and _is_supernet(name) == (group == "supernet")
        }
        names = sorted(curves, key=_curve_order)
        for quantity in ("loss", "metric"):
            hover = "%{y:.4~g}" if quantity == "loss" else metric.hover()
            lines = []
            for place, name in enumerate(names):
                known = [
                    (point.epoch, value if quantity == "loss" else metric.shown(value))
                    for point in curves[name]
                    if (value := getattr(point, quantity)) is not None
                ]
                is_first = all(_shared(name) != _shared(earlier) for earlier in names[:place])
                if known:
                    lines.append(_curve(name, known, f"epoch %{{x:.2~f}}: {hover}", is_first))
            if lines:
                title = "training loss" if quantity == "loss" else metric.axis("training")
                layout = layout_of("epoch", title) | {"showlegend": len(lines) > 1}
                figures.append(
                    {
                        "id": f"curves-{group}-{quantity}",
                        "heading": f"{heading}: {title}",
                        "data": lines,
                        "layout": layout,
                    }
                )
    return figures


def _is_supernet(name: str) -> bool:
    """Whether a curve is of the supernet or, in a run with several seeds, of the supernet of one seed."""
    return name.partition("-")[0] == "supernet"


def searched_against_alone(record: RunRecord) -> Figure | None:
    """Draw the test metric of networks trained from scratch against the score that the search used.

    Each network has its name beside it. Return None if no such network has both values.
    """
    rows, by, metric = ranked(record.networks), searched_by(record), metric_of(record)
    if not rows:
        return None
    x = {row.role: by.shown(row.inherited_validation) for row in rows}
    y = {row.role: metric.shown(row.retrained_test or 0.0) for row in rows}
    is_numbered = len(rows) > _MOST_NAMED
    data = []
    for name, marker in (("random", RANDOM), ("winner", WINNER)):
        members = [row.role for row in rows if (row.role == "winner") == (name == "winner")]
        titles = [escape(_role_title(role)) for role in members]
        data.append(
            scatter(
                name,
                [x[role] for role in members],
                [y[role] for role in members],
                f"%{{customdata}}<br>{by.word} {by.metric.hover('x')}<br>stand-alone {metric.hover()}",
                mode="markers+text",
                text=[title.removeprefix("Random ") for title in titles] if is_numbered else titles,
                customdata=titles,
                textposition="top center",
                cliponaxis=False,
                marker=marker,
            )
        )
    layout = layout_of(by.axis, metric.axis("stand-alone test")) | {"showlegend": False}
    for axis, values, shown in (("xaxis", x.values(), by.metric), ("yaxis", y.values(), metric)):
        # Leave room for the labels, and keep a difference of one example from filling the whole height.
        spread = max(values) - min(values)
        margin = max(0.5 if shown.is_share else 0.005 * max(map(abs, values)), 0.25 * spread)
        layout[axis]["range"] = [round(min(values) - margin, 4), round(max(values) + margin, 4)]
    return {"id": "searched-against-alone", "is_numbered": is_numbered, "data": data, "layout": layout}


def layout_of(x: str, y: str) -> Figure:
    """Return a layout with two titled axes and a legend; on the short y axis "(lower ..." starts a new line."""
    y = y.replace(" (lower", "<br>(lower")
    return {"xaxis": {"title": {"text": x}}, "yaxis": {"title": {"text": y}}, "showlegend": True}


def describe_trial(trial: TrialRow) -> str:
    """Return the escaped text that describes a trial under the pointer."""
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
    x, better = (
        [trial.number + 1 for trial in scored],
        np.maximum if by.metric.higher_is_better else np.minimum,
    )
    data = [
        trials_scatter("evaluated", scored, x, "trial %{x}", by, marker=EVALUATED),
        _line("best so far", x, [], "winner", by.metric.hover()),
    ]
    data[1]["y"] = better.accumulate(data[0]["y"]).tolist()
    data[1]["line"]["shape"] = "hv"
    layout = layout_of("architectures evaluated", by.axis)
    return {"id": "search-progress", "data": data, "layout": layout}


def _curve(name: str, known: Sequence[tuple[float, float]], hover: str, is_first: bool) -> Figure:
    """Return the trace of one training curve, thinned to a few hundred points."""
    step = -(-len(known) // _MOST_POINTS)
    kept = known[::-step][::-1]
    role, start = _role_and_start(name)
    shared = _shared(name)
    colour = {"Random": "baseline", "Finalists": "front"}.get(
        shared or "", "winner" if role == "winner" else "supernet"
    )
    dash = "solid" if start in ("", "scratch") or _is_supernet(name) else "dash"
    x, y = [round(epoch, 4) for epoch, _ in kept], [round(float(value), 5) for _, value in kept]
    line = _line(curve_title(name), x, y, colour, hover, dash)
    if shared is not None:
        line |= {"name": shared, "showlegend": is_first, "opacity": 0.8}
    return line


def _shared(name: str) -> str | None:
    """Return the entry of the legend that a curve shares with its kind; the pointer shows the name of each."""
    kind = _role_and_start(name)[0].partition("-")[0]
    return {"baseline": "Random", "ranked": "Random", "finalist": "Finalists"}.get(kind)


def curve_title(name: str) -> str:
    """Return the title of a training's curve: "baseline-0-inherited" -> "Random 1, inherited"."""
    if name in _TITLES:
        return _TITLES[name]
    role, start = _role_and_start(name)
    if role == "supernet":
        return f"Supernet, {start.replace('seed', 'seed ')}"
    return _role_title(role) + (f", {start.replace('as-is', 'as it is')}" if start != "scratch" else "")


def _role_and_start(name: str) -> tuple[str, str]:
    """Split a training's name: "baseline-0-fine-tuned" -> "baseline-0" and "fine-tuned"; the start may be ""."""
    found = re.fullmatch(r"([a-z]+(?:-\d+)?)(?:-(.+))?", name)
    return (name, "") if found is None else (found[1], found[2] or "")


def network_title(row: NetworkRow) -> str:
    """Return the title of a stand-alone network: "Winner", "Random 2, inherited"."""
    return curve_title(f"{row.role}-{row.start}")


def _role_title(role: str) -> str:
    kind, _, number = role.partition("-")
    title = _TITLES.get(kind, kind)
    return f"{title} {int(number) + 1}" if number.isdigit() else title


def _curve_order(name: str) -> tuple[bool, str, int, str]:
    """Return a sort key that puts random networks first, so that the winner is drawn over them."""
    role, start = _role_and_start(name)
    kind, _, number = role.partition("-")
    return (kind == "winner", kind, int(number) if number.isdigit() else 0, start)


def vertical_line(x: float) -> Figure:
    """Return a shape for plotly: a dashed vertical line at `x` over the whole height."""
    line = {"color": "limit", "width": 1.5, "dash": "dash"}
    return {"type": "line", "x0": x, "x1": x, "yref": "paper", "y0": 0, "y1": 1, "line": line}


def line_label(x: float, text: str) -> Figure:
    """Return an annotation for plotly: a text above a `vertical_line` at `x`."""
    return {
        "x": x,
        "y": 1,
        "yref": "paper",
        "yanchor": "bottom",
        "text": text,
        "showarrow": False,
        "font": {"color": "limit", "size": 12},
    }
