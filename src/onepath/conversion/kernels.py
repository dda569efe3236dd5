"""Depthwise kernels that can be smaller: the centre of the largest."""

from __future__ import annotations

from torch import nn

from onepath.nn.selection import has_choices

SMALLEST = 3
MOST = 3
"""Sides that a kernel may have."""


def kernels_of(module: nn.Module) -> tuple[int, ...]:
    """The sides that a depthwise kernel may have, ascending; one or none where it has to stay.

    The centre of a kernel keeps the output's size if the padding shrinks with it, so that zeros are padded, and enough.
    """
    if not isinstance(module, nn.Conv1d | nn.Conv2d) or has_choices(module) or module.padding_mode != "zeros":
        return ()
    sides = set(module.kernel_size)
    if module.groups == 1 or module.groups != module.in_channels or len(sides) != 1:
        return ()
    (side,) = sides
    found = list(range(side, SMALLEST - 1, -2))[:MOST]
    if not found or isinstance(module.padding, str):
        return tuple(sorted(found)) if module.padding == "same" and side % 2 else ()
    enough = [
        smaller
        for smaller in found
        if all(
            (side - smaller) // 2 * step <= pad
            for pad, step in zip(module.padding, module.dilation, strict=True)
        )
    ]
    return tuple(sorted(enough))
