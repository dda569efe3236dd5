"""Average pooling as two matrix products, which for small maps on a CPU are several times as fast as the pooling."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

_LARGEST_MAP = 64
"""Pixels in a row up to which a product with an averaging matrix pays."""


class matrix_pooling:  # noqa: N801  a context manager that reads as a function
    """Inside, `nn.AvgPool2d` of the network computes `rows^T x columns`; equal but for rounding.

    Only on a CPU and for maps of at most 64 pixels a side; elsewhere pooling is as it was.
    """

    def __init__(self, network: nn.Module) -> None:
        self._layers = [
            module
            for module in network.modules()
            if type(module) is nn.AvgPool2d and module.divisor_override is None
        ]

    def __enter__(self) -> None:
        for layer in self._layers:
            layer.__dict__["forward"] = _pool(layer)

    def __exit__(self, *_: object) -> None:
        for layer in self._layers:
            layer.__dict__.pop("forward", None)


def averaging_matrices(layer: nn.AvgPool2d, x: Tensor) -> tuple[Tensor, Tensor]:
    """What a row and a column of maps x (..., H, W) are multiplied by: (H, output H) and (W, output W).

    A window's average over an area is that over its rows of those over its columns, at the borders, too: the number of
    values in a window is a product.
    """
    sizes = zip(
        x.shape[-2:], *map(_pair, (layer.kernel_size, layer.stride, layer.padding)), strict=True
    )  # of each direction: pixels, kernel, stride, padding
    rows, columns = (
        functional.avg_pool1d(
            torch.eye(num, dtype=x.dtype, device=x.device),
            kernel,
            stride,
            padding,
            layer.ceil_mode,
            layer.count_include_pad,
        )
        for num, kernel, stride, padding in sizes
    )
    return rows, columns


def _pool(layer: nn.AvgPool2d) -> Callable[[Tensor], Tensor]:
    def pool(x: Tensor) -> Tensor:
        if x.device.type != "cpu" or max(x.shape[-2:]) > _LARGEST_MAP:
            return nn.AvgPool2d.forward(layer, x)
        rows, columns = averaging_matrices(layer, x)
        return rows.T @ (x @ columns)

    return pool


def _pair(size: int | tuple[int, int]) -> tuple[int, int]:
    return size if isinstance(size, tuple) else (size, size)
