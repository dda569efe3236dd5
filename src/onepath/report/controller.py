"""The report's section on a controller that was trained beside shared weights: its entropy and rewards by epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from onepath.record import RunRecord
from onepath.report.figures import Figure, layout_of, scatter
from onepath.report.findings import metric_of, stage_record
from onepath.report.formats import whole

_COLOURS = ("front", "winner")


def controller_section(record: RunRecord) -> dict[str, Any] | None:
    """Return the text and diagrams of the section; None if no controller was trained for an epoch."""
    trained = stage_record(record, "train").get("architecture") or {}
    points: Sequence[Mapping[str, Any]] = trained.get("points") or ()
    if "controller" not in trained or not points:
        return None
    first, last, metric = points[0], points[-1], metric_of(record)
    text = (
        f"A controller drew the path of each update, and learned after each of {whole(last['epoch'])} epochs from the "
        f"{metric.name} of what it drew, on batches of the validation split. The entropy of its choices went from "
        f"{first['entropy']:.2f} to {last['entropy']:.2f} of the largest, where 1 is undecided and 0 decided; the mean "
        f"{metric.name} from {metric.text(first['reward'])} to {metric.text(last['reward'])}."
    )
    entropy = _figure("entropy", "Entropy of the controller's choices", "share of the largest", points)
    entropy["layout"]["yaxis"]["range"] = [-0.02, 1.05]
    lines = {"reward": "mean of what it drew", "baseline": "moving mean, the baseline"}
    shown = [{**point, **{name: metric.shown(point[name]) for name in lines}} for point in points]
    rewards = _figure(
        "reward", f"Rewards of the controller, {metric.name}", metric.axis("validation"), shown, lines
    )
    return {"text": text, "figures": [entropy, rewards]}


def _figure(
    name: str,
    heading: str,
    axis: str,
    points: Sequence[Mapping[str, Any]],
    lines: Mapping[str, str] | None = None,
) -> Figure:
    """Draw values of the points by epoch.

    Args:
        name: name of the figure, and of the value if there is only one.
        heading: its heading.
        axis: title of the axis of the values.
        points: the points.
        lines: value -> its name in the legend; None draws the one value `name`.
    """
    last = points[-1]["epoch"]
    epochs, data = [point["epoch"] for point in points], []
    for (value, title), colour in zip((lines or {name: heading}).items(), _COLOURS, strict=False):
        line = scatter(title, epochs, [round(point[value], 6) for point in points], "", mode="lines+markers")
        style = {"line": {"color": colour, "width": 2.2}, "marker": {"color": colour, "size": 5}}
        hover = f"epoch %{{x}}: %{{y:.4~g}}<extra>{title}</extra>"
        data.append(line | style | {"hovertemplate": hover})
    layout = layout_of("epoch", axis) | {"showlegend": len(data) > 1}
    layout["xaxis"] |= {"range": [min(0.5, last - 0.5), last + 0.5], "dtick": max(1, round(last / 8))}
    return {"id": f"controller-{name}", "heading": heading, "data": data, "layout": layout}
