"""The report's section on a differentiable search: probabilities of the candidates and other signals by epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from onepath.record import RunRecord
from onepath.report.drawing import option_hues
from onepath.report.figures import Figure, layout_of, line_label, scatter, vertical_line
from onepath.report.findings import stage_record
from onepath.report.formats import shortened, whole

_MOST_PLOTS = 9
"""Largest number of choices that each get their own plot; with more choices, each is a row of a heat map."""
_LABEL_LENGTH = 28
_ROW_PIXELS, _AROUND_PIXELS = 19, 110

_Point = Mapping[str, Any]


def differentiable_section(record: RunRecord) -> dict[str, Any] | None:
    """Return the sentences and diagrams of the section; None if no architecture logits were trained for an epoch."""
    architecture = stage_record(record, "train").get("architecture") or {}
    points: Sequence[_Point] = architecture.get("points") or ()
    candidates: Mapping[str, Sequence[str]] = architecture.get("candidates") or {}
    if not points or not candidates:
        return None
    names = sorted({name for own in candidates.values() for name in own}, key=_first_place(candidates))
    hues = option_hues(
        [
            *(stage_record(record, "search").get("space_choices") or ()),
            {"name": "", "options": names},
        ]
    )
    is_few = len(candidates) <= _MOST_PLOTS
    weights = (
        [
            _lines(index, choice, own, points, architecture, hues)
            for index, (choice, own) in enumerate(candidates.items())
        ]
        if is_few
        else [_leading(candidates, points), _final(candidates, names, points[-1])]
    )
    return {
        "text": _text(architecture, points) + _eigenvalue_text(points) + _loss_text(architecture, points),
        "guard": _guard_text(architecture),
        "signals": _signals(architecture, points),
        "weights": weights,
        "is_few": is_few,
        "legend": [(shortened(name, _LABEL_LENGTH), hues[name]) for name in names],
        "seeds": architecture.get("seeds") or [],
        "seed": architecture.get("seed"),
    }


def differentiable_figures(section: Mapping[str, Any] | None) -> list[Figure]:
    """List the diagrams of a section of `differentiable_section`; empty for None."""
    return [] if section is None else [*section["signals"], *section["weights"]]


def _first_place(candidates: Mapping[str, Sequence[str]]) -> Any:
    """Return a sort key that puts candidates in the order in which the choices first name them."""
    order = list(dict.fromkeys(name for own in candidates.values() for name in own))
    return order.index


def _text(architecture: Mapping[str, Any], points: Sequence[_Point]) -> str:
    last, num_warmup = points[-1], architecture.get("warmup_epochs") or 0
    first = f", after {whole(num_warmup)} that trained weights alone" if num_warmup else ""
    num = last.get("num_choices")
    of = f" of its {whole(num)} choices" if num else ""
    hand = "hands its" if last["num_skips"] == 1 else "hand their"
    return (
        f"One probability for every candidate of {whole(len(architecture['candidates']))} choices was trained for "
        f"{whole(max(last['epoch'] - num_warmup, 0))} epochs{first}. At the end their mean entropy is "
        f"{last['entropy']:.2f}, where 1 is undecided and 0 decided, and {whole(last['num_skips'])}{of} in the most "
        f"probable architecture {hand} input on as it is."
    )


def _eigenvalue_text(points: Sequence[_Point]) -> str:
    if all(point.get("eigenvalue") is None for point in points):
        return ""
    return (
        " The dominant eigenvalue is that of the Hessian of the validation loss in the logits: where it rises, small "
        "changes of the probabilities, and so taking one candidate of each, cost accuracy."
    )


def _loss_text(architecture: Mapping[str, Any], points: Sequence[_Point]) -> str:
    is_known = any(point.get("loss") is not None for point in points)
    if not is_known or not str(architecture.get("order", "first")).startswith("second"):
        return ""
    return (
        " The loss of the architecture steps is that on validation batches at the weights that the step looks ahead "
        "to, not at the present ones."
    )


def _guard_text(architecture: Mapping[str, Any]) -> str:
    guard = architecture.get("guard")
    if guard is None:
        return "No guard was set against a collapse to skip connections."
    rules = []
    if guard.get("max_skips") is not None:
        rules.append(f"over {whole(guard['max_skips'])} skip connections")
    if guard.get("eigenvalue_ratio") is not None:
        window = guard.get("window") or 1
        before = "an epoch" if window == 1 else f"{whole(window)} epochs"
        rules.append(
            f"a dominant eigenvalue over {1 / guard['eigenvalue_ratio']:.2f} times what it was {before} before"
        )
    what = " or ".join(rules)
    if architecture.get("stopped") is None:
        return f"The guard, which stops at {what}, did not fire."
    kept = architecture.get("kept_epoch")
    epoch = "an earlier epoch" if kept is None else f"epoch {whole(kept)}"
    return (
        f"The guard, which stops at {what}, fired: {architecture['stopped']}. The probabilities went back to those of "
        f"{epoch} and stayed."
    )


def _signals(architecture: Mapping[str, Any], points: Sequence[_Point]) -> list[Figure]:
    """Draw entropy and share of skips by epoch, then the eigenvalue and the loss if they are known."""
    entropy = _series("entropy", points, lambda p: p["entropy"], "front")
    skips = _series(
        "share of skips",
        points,
        lambda p: p["num_skips"] / p["num_choices"] if p.get("num_choices") else None,
        "winner",
    )
    found = [_signal("decisions", "Entropy and share of skips", [entropy, skips], architecture, points)]
    found[0]["layout"]["yaxis"]["range"] = [-0.03, 1.03]
    for name, heading in (
        ("eigenvalue", "Dominant eigenvalue"),
        ("loss", "Loss of the architecture steps"),
    ):
        if any(p.get(name) is not None for p in points):
            line = _series(heading, points, lambda p, name=name: p.get(name), "front")
            found.append(_signal(name, heading, [line], architecture, points))
    return found


def _series(name: str, points: Sequence[_Point], value: Any, colour: str) -> Figure:
    values = [value(point) for point in points]
    y = [None if number is None else round(number, 6) for number in values]
    line = scatter(name, [point["epoch"] for point in points], y, "", mode="lines+markers")
    style = {"line": {"color": colour, "width": 2.2}, "marker": {"color": colour, "size": 5}}
    return line | style | {"hovertemplate": f"epoch %{{x}}: %{{y:.4~g}}<extra>{name}</extra>"}


def _signal(
    name: str, heading: str, lines: list[Figure], architecture: Mapping[str, Any], points: Sequence[_Point]
) -> Figure:
    layout = layout_of("epoch", "") | {"showlegend": len(lines) > 1}
    _mark(layout, architecture, points)
    return {"id": f"architecture-{name}", "heading": heading, "data": lines, "layout": layout}


def _mark(layout: Figure, architecture: Mapping[str, Any], points: Sequence[_Point]) -> None:
    """Mark the end of the warm-up and the epoch in which the guard fired, and put whole epochs on the axis."""
    last = points[-1]["epoch"]
    layout["xaxis"] |= {"range": [min(0.5, last - 0.5), last + 0.5], "dtick": max(1, round(last / 8))}
    marks = []
    if architecture.get("warmup_epochs"):
        marks.append((architecture["warmup_epochs"] + 0.5, "warm-up ends"))
    if architecture.get("stopped_epoch"):
        marks.append((architecture["stopped_epoch"], "guard"))
    marks = [(x, text) for x, text in marks if x <= last]
    layout["shapes"] = [vertical_line(x) for x, _ in marks]
    layout["annotations"] = [
        {
            **line_label(x, text),
            "xanchor": "left" if x < last / 2 else "right",
            # The two labels are at opposite ends, so that they never overlap.
            **({"y": 0, "yanchor": "bottom"} if text == "guard" else {"yanchor": "top"}),
        }
        for x, text in marks
    ]


def _lines(
    index: int,
    choice: str,
    candidates: Sequence[str],
    points: Sequence[_Point],
    architecture: Mapping[str, Any],
    hues: Mapping[str, int],
) -> Figure:
    """Draw the probability of every candidate of one choice by epoch."""
    data = [
        _series(
            escape(name),
            points,
            lambda p, place=place: p["weights"][choice][place],
            f"hsl({hues[name]}, 65%, 50%)",
        )
        for place, name in enumerate(candidates)
    ]
    layout = layout_of("epoch", "probability") | {"showlegend": False}
    _mark(layout, architecture, points)
    layout["annotations"] = []
    # All choices have the same scale.
    highest = max(p for point in points for values in point["weights"].values() for p in values)
    layout["yaxis"]["range"] = [-0.02, round(1.08 * highest, 3)]
    return {
        "id": f"weights-{index}",
        "heading": shortened(choice, _LABEL_LENGTH),
        "data": data,
        "layout": layout,
    }


def _leading(candidates: Mapping[str, Sequence[str]], points: Sequence[_Point]) -> Figure:
    """Draw a heat map of the probability of the most probable candidate: a row per choice, a column per epoch."""
    rows, texts = [], []
    for choice, names in candidates.items():
        history = [point["weights"][choice] for point in points]
        rows.append([max(values) for values in history])
        texts.append(
            [
                "<br>".join(
                    f"{escape(shortened(name, _LABEL_LENGTH))} {p:.3f}"
                    for p, name in sorted(zip(values, names, strict=True), reverse=True)
                )
                for values in history
            ]
        )
    data = _heat(candidates, [point["epoch"] for point in points], rows, texts, "epoch %{x}<br>%{text}")
    layout = layout_of("epoch", "") | {"showlegend": False}
    layout["xaxis"]["dtick"] = max(1, round(points[-1]["epoch"] / 10))
    return {
        "id": "weights-leading",
        "heading": "Probability of the most probable candidate, by epoch",
        "height": _AROUND_PIXELS + _ROW_PIXELS * len(candidates),
        "data": [data],
        "layout": _with_rows(layout, candidates),
    }


def _final(candidates: Mapping[str, Sequence[str]], names: Sequence[str], last: _Point) -> Figure:
    """Draw a heat map of the probabilities at the end: a row per choice, a column per candidate."""
    rows: list[list[float | None]] = []
    for choice, own in candidates.items():
        known = dict(zip(own, last["weights"][choice], strict=True))
        rows.append([known.get(name) for name in names])
    texts = [[escape(name) for name in names] for _ in candidates]
    data = _heat(candidates, list(range(len(names))), rows, texts, "%{text}: %{z:.3f}")
    layout = layout_of("candidate", "") | {"showlegend": False}
    layout["xaxis"] |= {
        "tickmode": "array",
        "tickvals": list(range(len(names))),
        "ticktext": [escape(shortened(name, _LABEL_LENGTH)) for name in names],
    }
    return {
        "id": "weights-final",
        "heading": "Probability of every candidate at the end",
        "height": _AROUND_PIXELS + 30 + _ROW_PIXELS * len(candidates),
        "data": [data],
        "layout": _with_rows(layout, candidates),
    }


def _heat(
    candidates: Mapping[str, Sequence[str]], x: Sequence[int], rows: Any, texts: Any, hover: str
) -> Figure:
    return {
        "type": "heatmap",
        "x": list(x),
        "y": list(range(len(candidates))),
        "z": rows,
        "text": texts,
        "customdata": [[escape(choice)] * len(x) for choice in candidates],
        "zmin": 0,
        "zmax": max(p for row in rows for p in row if p is not None),
        "xgap": 1,
        "ygap": 1,
        "colorscale": [[0, "surface"], [1, "front"]],
        "colorbar": {"thickness": 12, "outlinewidth": 0},
        "hovertemplate": f"%{{customdata}}<br>{hover}<extra></extra>",
    }


def _with_rows(layout: Figure, candidates: Mapping[str, Sequence[str]]) -> Figure:
    layout["yaxis"] |= {
        "tickmode": "array",
        "tickvals": list(range(len(candidates))),
        "ticktext": [escape(shortened(choice, _LABEL_LENGTH)) for choice in candidates],
        "range": [len(candidates) - 0.5, -0.5],
        "showgrid": False,
    }
    layout["xaxis"]["showgrid"] = False
    return layout
