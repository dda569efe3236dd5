"""Fit the width of a ready-made space to limits."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from onepath.cost import counter
from onepath.nn import Supernet

if TYPE_CHECKING:
    from onepath.space import Architecture

WIDTHS = (*(percent / 100 for percent in range(10, 105, 5)), 1.25, 1.5, 2.0)
LARGE_INPUT = 96
SMALL_INPUT_WIDTH = 0.2
_NUM_SAMPLED = 500
_START = WIDTHS.index(0.25)


def fitting_width(
    build: Callable[[float], Supernet],
    input_shape: tuple[int, ...],
    limits: Mapping[str, int],
    wanted: Callable[[Supernet], Sequence[Architecture]] = lambda _: (),
) -> float:
    """Return the largest of a few widths at which about half of the space, or of some networks, meets every limit.

    A limit in the middle of the space leaves the search a real choice; SPOS's own limit of 330 M multiply-accumulates
    is met by 59 % of its space. Without limits the width is 1 for inputs of 96 pixels or more, 0.2 for smaller ones.

    Args:
        build: returns the supernet of a given width.
        input_shape: shape of one example, without the batch.
        limits: kind of cost, "macs" or "params" -> largest cost allowed.
        wanted: function from a supernet to the architectures that the width is fitted to; if there are none, it is
            fitted to the whole space.

    Returns:
        A width of `WIDTHS`; the smallest one if even there less than half of them meets the limits.
    """
    if not limits:
        return 1.0 if min(input_shape[1:], default=LARGE_INPUT) >= LARGE_INPUT else SMALL_INPUT_WIDTH
    medians: dict[int, float] = {}

    def excess(index: int) -> float:
        """Return median cost / limit of the limit that binds most; the width fits if it is at most 1."""
        if index not in medians:
            supernet = build(WIDTHS[index])
            space, architectures = supernet.space, wanted(supernet)
            matrix = (
                space.matrix(architectures)
                if architectures
                else space.sample(_NUM_SAMPLED, np.random.default_rng(0))
            )
            costs = {kind: counter(supernet, input_shape, kind)[0](matrix).astype(float) for kind in limits}
            medians[index] = max(float(np.median(costs[kind])) / limit for kind, limit in limits.items())
        return medians[index]

    guess = WIDTHS[_START] / excess(_START) ** 0.5  # costs grow with about the square of the width
    index = int(np.abs(np.array(WIDTHS) - guess).argmin())
    while index > 0 and excess(index) > 1:
        index -= 1
    while index + 1 < len(WIDTHS) and excess(index + 1) <= 1:
        index += 1
    return WIDTHS[index]
