"""The plot of `darts_on_table.py`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

DIFFERENTIABLE = ("darts-first", "darts-second", "gdas", "proxyless")
METHODS = (*DIFFERENTIABLE, "spos")
COLOURS = dict(zip(METHODS, ("#b23b3b", "#c98a2b", "#2b6cb0", "#6a8f3c", "#6b46c1"), strict=True))
Record = dict[str, Any]

LOWEST = 40  # per cent; lower accuracies are drawn here
WIDTH, HEIGHT, LEFT, TOP, GAP = 190, 260, 50, 40, 22


def drawing(rows: Sequence[Record], random: Record) -> str:
    """Return an SVG of the derived cell's accuracy in the table over CPU seconds, with a panel for each method."""
    methods = [method for method in METHODS if any(row["method"] == method for row in rows)]
    longest = max(row["seconds"] for row in rows)
    total = LEFT + len(methods) * (WIDTH + GAP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {total} {HEIGHT + TOP + 50}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{total}" height="{HEIGHT + TOP + 50}" fill="white"/>',
        f'<text transform="translate(14 {TOP + HEIGHT / 2}) rotate(-90)" text-anchor="middle">'
        "table's test accuracy of the derived cell (%)</text>",
        f'<text x="{total / 2}" y="{TOP + HEIGHT + 38}" text-anchor="middle">CPU seconds</text>',
    ]

    def across(panel: int, seconds: float) -> float:
        return LEFT + panel * (WIDTH + GAP) + seconds / longest * WIDTH

    def down(accuracy: float) -> float:
        return TOP + HEIGHT * (1 - (max(accuracy, LOWEST) - LOWEST) / (100 - LOWEST))

    for panel, method in enumerate(methods):
        first, last = across(panel, 0), across(panel, longest)
        parts += [
            f'<rect x="{first:.1f}" y="{TOP}" width="{WIDTH}" height="{HEIGHT}" fill="none" stroke="#888"/>',
            f'<text x="{(first + last) / 2:.1f}" y="{TOP - 10}" text-anchor="middle" '
            f'fill="{COLOURS[method]}">{method}</text>',
            f'<text x="{first:.1f}" y="{TOP + HEIGHT + 16}">0</text>',
            f'<text x="{last:.1f}" y="{TOP + HEIGHT + 16}" text-anchor="end">{longest:.0f}</text>',
        ]
        for name, value in (("a random cell's mean", random["mean"]), ("all skips", random["all_skips"])):
            parts.append(
                f'<line x1="{first:.1f}" y1="{down(value):.1f}" x2="{last:.1f}" y2="{down(value):.1f}" '
                'stroke="#999" stroke-dasharray="4 4"/>'
            )
            if panel == 0:
                parts.append(
                    f'<text x="{first + 5:.1f}" y="{down(value) + 14:.1f}" fill="#777">{name}</text>'
                )
        for row in (row for row in rows if row["method"] == method):
            line = " ".join(
                f"{across(panel, point['seconds']):.1f},{down(point['accuracy']):.1f}"
                for point in row["path"]
            )
            parts.append(
                f'<polyline points="{line}" fill="none" stroke="{COLOURS[method]}" stroke-width="1.5" '
                f'opacity="0.75"><title>seed {row["seed"]}: {row["cell"]}</title></polyline>'
            )
            for name, guard in row.get("guards", {}).items():
                if guard is None:
                    continue
                accuracy = row["path"][guard["round"] - 1]["accuracy"]
                fill = COLOURS[method] if name == "skips" else "white"
                parts.append(
                    f'<circle cx="{across(panel, guard["seconds"]):.1f}" cy="{down(accuracy):.1f}" r="4" '
                    f'fill="{fill}" stroke="{COLOURS[method]}"><title>guard of {name}: {guard["reason"]}</title>'
                    "</circle>"
                )
    for tick in range(LOWEST, 101, 10):
        parts.append(f'<text x="{LEFT - 6}" y="{down(tick) + 4:.1f}" text-anchor="end">{tick}</text>')
    parts.append(
        f'<text x="{total - GAP}" y="{TOP + HEIGHT + 38}" text-anchor="end" fill="#555">circles: guard of skips '
        "(full), of the eigenvalue (empty)</text>"
    )
    return "\n".join([*parts, "</svg>"]) + "\n"
