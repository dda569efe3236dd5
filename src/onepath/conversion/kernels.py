"""Depthwise kernels that can be cut to their centre."""

from __future__ import annotations

from torch import nn

from onepath.nn.selection import has_choices

SMALLEST = 3
"""Smallest side of a kernel, in pixels."""
MOST = 3
"""Most sides that a kernel can choose from."""


def kernels_of(module: nn.Module) -> tuple[int, ...]:
    """Return the sides that a depthwise kernel may have, ascending; fewer than two if it cannot be cut.

    The output keeps its size only if the padding shrinks with the kernel. So the padding must consist of zeros, and of
    at least as many as are cut off the kernel.

    Args:
        module: any module; only depthwise convolutions in one or two dimensions with equal sides have smaller kernels.
    """
    if not isinstance(module, nn.Conv1d | nn.Conv2d) or has_choices(module) or module.padding_mode != "zeros":
        return ()
    sides = set(module.kernel_size)
    if (
        "weight" not in module._parameters
        or module.groups == 1
        or module.groups != module.in_channels
        or len(sides) != 1
    ):
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
