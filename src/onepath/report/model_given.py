"""The report's section on a converted model: its cost beside that of the winner, and what was cut in each layer."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from onepath.display import shown_cost
from onepath.record import RunRecord
from onepath.report.findings import metric_of, stage_record, winner_network
from onepath.report.formats import milliseconds, whole


class Layer(NamedTuple):
    """A layer of the model that was converted, drawn as a bar whose filled part is what the winner keeps.

    Attributes:
        path: path of the layer in the model.
        length: length of the bar, in percent of the longest bar.
        filled: part of the bar that is filled, in percent.
        text: what is kept, for example "12 of 16 outputs".
    """

    path: str
    length: float
    filled: float
    text: str


def model_section(record: RunRecord) -> dict[str, Any] | None:
    """Return the table and the bars of the section; None if no model was converted or nothing is exported yet."""
    model, network = stage_record(record, "export").get("model"), winner_network(record)
    if not model or network is None or "winner_costs" not in model:
        return None
    metric = metric_of(record)
    costs = [shown_cost(name) for name in model["costs"]]
    return {
        "heads": [
            "",
            f"Test {metric.name}",
            f"Validation {metric.name}",
            *(cost.head for cost in costs),
            "Latency",
        ],
        "rows": [
            [
                "The model that came in",
                metric.text(model["test"]),
                metric.text(model["validation"]),
                *(cost.text(model["costs"][cost.name]) for cost in costs),
                milliseconds(model["latency_ms"]),
            ],
            [
                "Winner",
                metric.text(network.retrained_test),
                metric.text(network.retrained_validation),
                *(cost.text(model["winner_costs"][cost.name]) for cost in costs),
                milliseconds(model["winner_latency_ms"]),
            ],
        ],
        "device": model["latency_device"],
        "text": _text(model["layers"]),
        "layers": [_layer(row, max(map(_length, model["layers"]))) for row in model["layers"]],
    }


def _text(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return a sentence on how many layers were cut, and how."""
    layers = [row for row in rows if row["kind"] != "heads"]
    left_out = sum(row["kept_width"] is None for row in layers)
    present = [row for row in layers if row["kept_width"] is not None]
    narrower = sum(row["kept_width"] < row["width"] for row in present)
    smaller = sum(row["kept_kernel"] != row["kernel"] for row in present)
    counts = {"left out": left_out, "with fewer outputs": narrower, "with a smaller kernel": smaller}
    parts = ", ".join(f"{whole(num)} {how}" for how, num in counts.items() if num) or "none cut"
    return f"The model that came in has {_counted(len(layers), 'layer')} with weights: {parts}."


def _counted(num: int, noun: str) -> str:
    return f"{whole(num)} {noun}{'' if num == 1 else 's'}"


def _length(row: Mapping[str, Any]) -> float:
    """Return the length of a bar: the square root of the width, so that widths from 8 to 2,048 fit one drawing."""
    return math.sqrt(row["width"])


def _layer(row: Mapping[str, Any], longest: float) -> Layer:
    width, kept = row["width"], row["kept_width"]
    unit = "head" if row["kind"] == "heads" else "output"
    if kept is None:
        text = f"left out ({_counted(width, unit)})"
    elif kept == width:
        text = _counted(width, unit)
    else:
        text = f"{whole(kept)} of {_counted(width, unit)}"
    sides = [
        "x".join(map(str, row[name])) for name in ("kernel", "kept_kernel") if kept is not None and row[name]
    ]
    if len(set(sides)) == 2:
        text += f", kernel {sides[1]} of {sides[0]}"
    return Layer(
        row["path"] or "the model",
        round(100 * _length(row) / longest, 1),
        round(100 * (kept or 0) / width, 1),
        text,
    )
