"""The page of `onepath bench`: what each arm reached with one budget, and where its time went."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from onepath.report.figures import EVALUATED, WINNER, layout_of, scatter
from onepath.report.template import scripts, template


def head(found: Mapping[str, Any]) -> list[str]:
    """Return the titles of the table's columns."""
    return [
        "arm",
        f"test {found['metric']}",
        "by seed",
        f"minus {found['against']}",
        "95 % interval",
        "P(better)",
        "processor s",
        "supernet s",
        "search s",
        "finish s",
    ]


def table(found: Mapping[str, Any]) -> list[list[str]]:
    """Return the rows of the table, one per arm."""
    rows = []
    for row in found["rows"]:
        difference = row["difference"]
        compared = ["-", "-", "-"]
        if difference is not None:
            compared = [
                f"{difference['mean']:+.4f}",
                f"{difference['low']:+.4f} ... {difference['high']:+.4f}",
                f"{difference['probability']:.3f}",
            ]
        rows.append(
            [
                row["name"],
                f"{statistics.fmean(row['test']):.4f}",
                " ".join(f"{value:.4f}" for value in row["test"]),
                *compared,
                f"{row['processor_seconds']:.0f}",
                *(f"{row['seconds'][stage]:.0f}" for stage in ("train", "search", "retrain")),
            ]
        )
    return rows


def verdicts(found: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each arm that is compared: whether it is better, worse or not told apart."""
    sentences = []
    for row in found["rows"]:
        difference = row["difference"]
        if difference is None:
            continue
        if difference["low"] > 0:
            told = "is better than"
        elif difference["high"] < 0:
            told = "is worse than"
        else:
            told = "is not told apart from"
        sentences.append(
            f"{row['name']} {told} {found['against']} at this budget: {difference['mean']:+.4f} "
            f"({difference['low']:+.4f} to {difference['high']:+.4f}) over {found['num_seeds']} "
            f"seed{'s' if found['num_seeds'] > 1 else ''}."
        )
    return sentences


def bench_page(found: Mapping[str, Any], budget: str, common: Sequence[str]) -> str:
    """Return the comparison as one HTML page that loads nothing.

    Args:
        found: what `studies.bench.bench` returns.
        budget: budget of each run, as the user wrote it.
        common: options of all runs.
    """
    names = [row["name"] for row in found["rows"]]
    points = [(row["name"], value) for row in found["rows"] for value in row["test"]]
    means = [statistics.fmean(row["test"]) for row in found["rows"]]
    hover = "%{x}<br>%{y:.4f}"
    data = [
        scatter(
            "one seed", [name for name, _ in points], [value for _, value in points], hover, marker=EVALUATED
        ),
        scatter("mean", names, means, hover, marker=WINNER),
    ]
    layout = layout_of("", f"test {found['metric']}")
    layout["xaxis"] = {**layout.get("xaxis", {}), "type": "category"}
    page: str = template("bench.html.jinja").render(
        title="Does the search pay?",
        budget=budget,
        common=" ".join(common),
        head=head(found),
        rows=table(found),
        verdicts=verdicts(found),
        figures=[
            {"id": "arms", "heading": f"Test {found['metric']} of each arm", "data": data, "layout": layout}
        ],
        **scripts(),
    )
    return page
