"""The report's section on how often each candidate of the supernet was trained."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from onepath.record import RunRecord
from onepath.report.figures import Figure, layout_of, scatter
from onepath.report.findings import stage_record
from onepath.report.formats import percent, shortened, whole

Counts = dict[str, dict[str, int]]

_LABEL_LENGTH = 24


def counts_section(record: RunRecord) -> dict[str, Any] | None:
    """Return the "text" and the "plot" of the section; None if the supernet has no training or no choice blocks."""
    counts = sampled_counts(record)
    if not any(counts.values()):
        return None
    return {"text": _text(record, counts), "plot": spread_of_counts(counts)}


def sampled_counts(record: RunRecord) -> Counts:
    """Return block -> candidate -> number of passes that trained the candidate.

    The first updates, which train only one path, are not counted.
    """
    train = stage_record(record, "train")
    first: Mapping[str, Mapping[str, int]] = (train.get("start") or {}).get("counts") or {}
    return {
        block: {name: num - first.get(block, {}).get(name, 0) for name, num in passes.items()}
        for block, passes in (train.get("counts") or {}).items()
    }


def spread_of_counts(counts: Counts) -> Figure:
    """Draw the passes of every candidate: a column of points for each block, with a line from fewest to most."""
    blocks = list(counts)
    lines: dict[str, list[Any]] = {"x": [], "y": []}
    points: dict[str, list[Any]] = {"x": [], "y": [], "text": []}
    for place, (block, passes) in enumerate(counts.items()):
        # A gap between the lines of two blocks.
        lines["x"] += [place, place, None]
        lines["y"] += [min(passes.values()), max(passes.values()), None]
        for name, num in passes.items():
            points["x"].append(place)
            points["y"].append(num)
            points["text"].append(f"{escape(block)}: {escape(name)}")
    between = scatter(
        "", **lines, hover="", mode="lines", line={"color": "trial", "width": 2}, hoverinfo="skip"
    )
    marker = {"color": "front", "size": 7, "opacity": 0.8}
    data = [between, scatter("", **points, hover="%{text}<br>%{y:,} passes", marker=marker)]
    layout = layout_of("choice block", "training passes") | {"showlegend": False}
    labels = [escape(shortened(block, _LABEL_LENGTH)) for block in blocks]
    layout["xaxis"] |= {
        "tickmode": "array",
        "tickvals": list(range(len(blocks))),
        "ticktext": labels,
        "range": [-0.6, len(blocks) - 0.4],
    }
    layout["yaxis"]["rangemode"] = "tozero"
    return {"id": "candidate-counts", "data": data, "layout": layout}


def _text(record: RunRecord, counts: Counts) -> str:
    """Return sentences on how evenly the candidates were trained."""
    train = stage_record(record, "train")
    num_first = (train.get("start") or {}).get("num_updates") or 0
    values = [num for passes in counts.values() for num in passes.values()]
    num_candidates, num_blocks = whole(len(values)), whole(len(counts))
    updates = whole((train.get("num_updates") or 0) - num_first)
    low, high = min(values), max(values)
    where = f"{num_candidates} candidates in {num_blocks} block{'' if len(counts) == 1 else 's'}"
    if low == high:
        text = f"In {updates} updates each of the {where} was trained in exactly {whole(low)} passes."
    else:
        block, passes = max(counts.items(), key=lambda item: _spread(item[1]))
        fewest, most = whole(min(passes.values())), whole(max(passes.values()))
        text = (
            f"In {updates} updates each of the {where} was trained in {whole(low)} to {whole(high)} passes. The "
            f"largest difference inside one block is {percent(_spread(passes))} of its mean: {fewest} to {most} in "
            f"{block}."
        )
    if num_first:
        text += f" The {whole(num_first)} updates before them trained one path and are left out."
    return text


def _spread(passes: Mapping[str, int]) -> float:
    """Return the largest minus the smallest count, in units of the mean count; 0 if all counts are 0."""
    total = sum(passes.values())
    return (max(passes.values()) - min(passes.values())) * len(passes) / total if total else 0.0
