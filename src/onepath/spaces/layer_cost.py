"""Costs of modules without choices in closed form, for spaces that know their own cost table."""

from __future__ import annotations

from torch import nn

COUNTED = ("macs", "params", "layers", "size")
"""The costs that `fixed_cost` knows, by their names in `onepath.cost`."""


def fixed_cost(module: nn.Module, pixels: int, kind: str) -> int:
    """Return the cost of a module whose parameters all are in its stand-alone network too.

    Args:
        module: its convolutions all return maps of the same number of positions; linear layers return vectors.
        pixels: positions of these maps.
        kind: one of `COUNTED`: multiply-accumulates of one example, parameters, convolutions and linear layers, or
            bytes of parameters and buffers.
    """
    if kind == "params":
        return sum(parameter.numel() for parameter in module.parameters())
    if kind == "size":
        return sum(
            tensor.numel() * tensor.element_size() for tensor in (*module.parameters(), *module.buffers())
        )
    layers = [layer for layer in module.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    if kind == "layers":
        return len(layers)
    return sum(layer.weight.numel() * (pixels if isinstance(layer, nn.Conv2d) else 1) for layer in layers)


def halved(size: tuple[int, int]) -> tuple[int, int]:
    """Return height and width of a map after a stride of 2; an odd side is rounded up."""
    return -(-size[0] // 2), -(-size[1] // 2)
