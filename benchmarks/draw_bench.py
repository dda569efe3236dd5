"""Draw the results of `onepath bench` as an SVG image: a panel for each folder, a row for each arm, a dot for a seed.

    python benchmarks/draw_bench.py runs/does-it-pay/few runs/does-it-pay/digits --out docs/does_it_pay.svg

The line is the mean over seeds. Beside it stands the mean difference from the arm that all are compared with, and its
95 % interval.
"""

from __future__ import annotations

import argparse
import html
import json
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from onepath.record import atomic_write_text
from onepath.studies.bench import BENCH

NAMES, AXIS, SAID, ROW, HEAD, FOOT = 130, 300, 210, 24, 30, 34


def panel(title: str, comparison: Mapping[str, Any], top: float) -> str:
    """The panel of one comparison, from `top` on."""
    rows = comparison["rows"]
    values = [value for row in rows for value in row["test"]]
    low, high = min(values), max(values)
    pad = 0.05 * (high - low) or 0.01
    low, high = low - pad, high + pad
    bottom = top + HEAD + ROW * len(rows)

    def x(value: float) -> float:
        return NAMES + AXIS * (value - low) / (high - low)

    parts = [f'<text x="8" y="{top + 14}" font-weight="bold">{html.escape(title)}</text>']
    for place, row in enumerate(rows):
        y = top + HEAD + ROW * (place + 0.5)
        mean, difference = statistics.fmean(row["test"]), row["difference"]
        dots = "".join(f'<circle cx="{x(value):.1f}" cy="{y:.1f}" r="3.5"/>' for value in row["test"])
        said = "compared with"
        if difference is not None:
            said = f"{difference['mean']:+.3f} [{difference['low']:+.3f}, {difference['high']:+.3f}]"
        parts.append(
            f'<text x="{NAMES - 8}" y="{y + 4:.1f}" text-anchor="end">{html.escape(row["name"])}</text>'
            f'<path d="M{NAMES} {y:.1f}h{AXIS}" stroke="#ddd"/>'
            f'<path d="M{x(mean):.1f} {y - 8:.1f}v16" stroke="#222" stroke-width="2"/>'
            f'<g fill="#3366aa" fill-opacity=".6">{dots}</g>'
            f'<text x="{NAMES + AXIS + 12}" y="{y + 4:.1f}" fill="#555">{said}</text>'
        )
    for value, anchor in ((low + pad, "start"), (high - pad, "end")):
        parts.append(
            f'<text x="{x(value):.1f}" y="{bottom + 14}" text-anchor="{anchor}" fill="#555">{value:.3f}</text>'
        )
    axis = f"test {comparison['metric']}, {comparison['num_seeds']} seeds"
    parts.append(
        f'<text x="{NAMES + AXIS / 2}" y="{bottom + 14}" text-anchor="middle" fill="#555">{axis}</text>'
    )
    return "".join(parts)


def drawing(comparisons: Mapping[str, Mapping[str, Any]]) -> str:
    """All panels, one below the other."""
    parts, top = [], 8.0
    for title, comparison in comparisons.items():
        parts.append(panel(title, comparison, top))
        top += HEAD + ROW * len(comparison["rows"]) + FOOT
    width = NAMES + AXIS + SAID
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {top:.0f}" width="{width}" '
        f'font-family="sans-serif" font-size="12"><rect width="100%" height="100%" fill="#fff"/>'
        f"{''.join(parts)}</svg>\n"
    )


def main() -> None:
    """Draw the folders in their order."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    kept = [json.loads((folder / BENCH).read_text()) for folder in given.folders]
    found = {
        f"{folder.name}, {each['budget']} a run": each["comparison"]
        for folder, each in zip(given.folders, kept, strict=True)
    }
    atomic_write_text(given.out, drawing(found))


if __name__ == "__main__":
    main()
