"""Draw the paths of the bilevel toy problem with and without the virtual step: docs/toy_bilevel.svg.

L_val = a w - 2 a + 1 and L_train = w^2 - 2 a w + a^2, from (a, w) = (2, -2), one step of each in turn, rate 0.1. The
weights' optimum is w = a; the solution of the bilevel problem is (1, 1); the iteration ends at 2 / (1 + 2 xi).

    python benchmarks/toy_bilevel.py [--out docs/toy_bilevel.svg]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from onepath.train.bilevel import VirtualStep, first_order, second_order

RATE = 0.1
STEPS = 600
COLOURS = {0.0: "#b23b3b", 0.1: "#c98a2b", 0.25: "#6a8f3c", 0.5: "#2b6cb0", 1.0: "#6b46c1"}
SIZE, MARGIN, LOW, HIGH = 460, 50, -2.2, 3.6


def path(xi: float) -> list[tuple[float, float]]:
    """Return (a, w) before the first pair of steps and after each."""
    a = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    w = torch.tensor(-2.0, dtype=torch.float64, requires_grad=True)

    def train() -> torch.Tensor:
        return w**2 - 2 * a * w + a**2

    def validation() -> torch.Tensor:
        return a * w - 2 * a + 1

    points = [(a.item(), w.item())]
    for _ in range(STEPS):
        gradient = second_order(train, validation, [w], [a], VirtualStep(xi))
        with torch.no_grad():
            a -= RATE * gradient[0]
        gradient = first_order(train, [w])
        with torch.no_grad():
            w -= RATE * gradient[0]
        points.append((a.item(), w.item()))
    return points


def place(value: float) -> float:
    """Return a value as a length along an axis."""
    return MARGIN + (value - LOW) / (HIGH - LOW) * SIZE


def drawing(paths: dict[float, list[tuple[float, float]]]) -> str:
    """Return the plot as SVG."""
    side = SIZE + 2 * MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {side + 130} {side}" font-family="sans-serif" '
        'font-size="13">',
        f'<rect width="{side + 130}" height="{side}" fill="white"/>',
        f'<rect x="{MARGIN}" y="{MARGIN}" width="{SIZE}" height="{SIZE}" fill="none" stroke="#888"/>',
        f'<line x1="{place(LOW)}" y1="{side - place(LOW)}" x2="{place(HIGH)}" y2="{side - place(HIGH)}" '
        'stroke="#bbb" stroke-dasharray="5 4"/>',
        f'<text x="{place(-1.5)}" y="{side - place(-1.3)}" fill="#888">w = a</text>',
        f'<text x="{side / 2}" y="{side - 12}" text-anchor="middle">architecture a</text>',
        f'<text transform="translate(16 {side / 2}) rotate(-90)" text-anchor="middle">weight w</text>',
    ]
    for tick in range(-2, 4):
        parts += [
            f'<text x="{place(tick)}" y="{side - MARGIN + 17}" text-anchor="middle">{tick}</text>',
            f'<text x="{MARGIN - 8}" y="{side - place(tick) + 4}" text-anchor="end">{tick}</text>',
        ]
    for index, (xi, points) in enumerate(paths.items()):
        line = " ".join(f"{place(a):.1f},{side - place(w):.1f}" for a, w in points)
        a, w = points[-1]
        y = MARGIN + 18 + 22 * index
        label = "without virtual step" if xi == 0 else f"xi = {xi:g}"
        parts += [
            f'<polyline points="{line}" fill="none" stroke="{COLOURS[xi]}" stroke-width="1.6"/>',
            f'<circle cx="{place(a):.1f}" cy="{side - place(w):.1f}" r="5" fill="{COLOURS[xi]}"/>',
            f'<text x="{side - MARGIN + 10}" y="{y}" fill="{COLOURS[xi]}">{label}</text>',
        ]
    parts.append("</svg>")
    return "\n".join(parts) + "\n"


def main() -> None:
    """Run both iterations, print their end points and write the plot."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("docs/toy_bilevel.svg"))
    out = parser.parse_args().out
    paths = {xi: path(xi) for xi in COLOURS}
    for xi, points in paths.items():
        print(f"xi = {xi:4g}: a = {points[-1][0]:.6f}, 2 / (1 + 2 xi) = {2 / (1 + 2 * xi):.6f}")
    out.write_text(drawing(paths))


if __name__ == "__main__":
    main()
