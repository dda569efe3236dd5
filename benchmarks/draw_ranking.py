"""Draw a ranking's JSON as small scatter plots: the truth over the rank that each score gives.

    python benchmarks/draw_ranking.py ranking.json --scores "uniform-0 loss" macs --out docs/ranking.svg

Reads the files that `supernet_ranking.py summary`, `score_ranking.py` and `onepath rank` write. A perfect score draws a
rising line. The x-axis is the rank from the worst (left) to the best; above the dashed line lies the best quarter by
truth.
"""

from __future__ import annotations

import argparse
import html
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from onepath.rank_correlation import ordinal
from onepath.record import atomic_write_text

WIDTH, HEIGHT, MARGIN, TITLE, COLUMNS = 210, 160, 34, 34, 4


def panel(name: str, values: Sequence[float], truth: Any, figures: Mapping[str, Any], lowest: float) -> str:
    """Return the plot of one score: an SVG group of WIDTH x HEIGHT units, with its title."""
    places = ordinal(np.asarray([-np.inf if value is None else value for value in values], dtype=np.float64))
    x = MARGIN + (WIDTH - MARGIN - 8) * places / max(places.max(), 1)
    shown = np.maximum(truth, lowest)
    top, bottom = TITLE, HEIGHT + TITLE - 18
    scale = (bottom - top) / (truth.max() - lowest)
    y = bottom - (shown - lowest) * scale
    quarter = bottom - (np.quantile(truth, 0.75) - lowest) * scale
    tau = figures["kendall_tau"]
    bounds = "" if tau["low"] is None else f" [{tau['low']:.2f}, {tau['high']:.2f}]"
    best = figures["top_25_percent"]["kendall_tau"]["value"]
    said = f"τ {tau['value']:.3f}{bounds}" if tau["value"] is not None else "no τ"
    said += "" if best is None else f", best quarter {best:.2f}"
    dots = "".join(
        f'<circle cx="{a:.1f}" cy="{b:.1f}" r="1.6"/>' for a, b in zip(x.tolist(), y.tolist(), strict=True)
    )
    return (
        f'<text x="{MARGIN}" y="12" font-weight="bold">{html.escape(name)}</text>'
        f'<text x="{MARGIN}" y="25" fill="#555">{said}</text>'
        f'<path d="M{MARGIN} {top}V{bottom}H{WIDTH - 8}" fill="none" stroke="#999"/>'
        f'<path d="M{MARGIN} {quarter:.1f}H{WIDTH - 8}" stroke="#999" stroke-dasharray="3 3"/>'
        f'<text x="{MARGIN - 3}" y="{bottom}" text-anchor="end" fill="#555">{lowest:.0f}</text>'
        f'<text x="{MARGIN - 3}" y="{top + 8}" text-anchor="end" fill="#555">{truth.max():.1f}</text>'
        f'<text x="{WIDTH - 8}" y="{bottom + 12}" text-anchor="end" fill="#555">rank by the score →</text>'
        f'<g fill="#3366aa" fill-opacity=".55">{dots}</g>'
    )


def drawing(study: Mapping[str, Any], names: Sequence[str], lowest: float | None) -> str:
    """Return all panels as one SVG image."""
    networks = study["networks"]
    truth = np.array([network["truth"] for network in networks], dtype=np.float64)
    lowest = float(np.quantile(truth, 0.02)) if lowest is None else lowest
    columns = min(COLUMNS, len(names))
    rows = -(-len(names) // columns)
    size = f"{columns * WIDTH} {rows * (HEIGHT + TITLE)}"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size}" font-family="sans-serif" font-size="10">'
    ]
    for place, name in enumerate(names):
        across, down = place % columns * WIDTH, place // columns * (HEIGHT + TITLE)
        values = [network[name] for network in networks]
        figures = study["evidence"]["scores"][name]
        parts.append(f'<g transform="translate({across} {down})">')
        parts.append(panel(name, values, truth, figures, lowest) + "</g>")
    return "".join([*parts, "</svg>\n"])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("ranking", type=Path)
    parser.add_argument("--scores", nargs="+", help="names of the scores to draw; default: all")
    parser.add_argument(
        "--lowest", type=float, help="lowest value of the truth's axis; lower values are drawn on it"
    )
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    study = json.loads(options.ranking.read_text())
    study = study if "networks" in study else next(iter(study.values()))
    names = options.scores or list(study["evidence"]["scores"])
    missing = [name for name in names if name not in study["evidence"]["scores"]]
    if missing:
        raise SystemExit(
            f"error: no score {missing[0]!r}; there are {', '.join(study['evidence']['scores'])}"
        )
    atomic_write_text(options.out, drawing(study, names, options.lowest))


if __name__ == "__main__":
    main()
