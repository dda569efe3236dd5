"""Average pooling as two matrix products, which on a CPU is several times as fast as torch's pooling of small maps."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

_LARGEST_MAP = 64
"""Largest height or width of a map, in pixels, for which the product with an averaging matrix is faster."""


class matrix_pooling:  # noqa: N801  a context manager that reads as a function
    """Inside this context, each `nn.AvgPool2d` of the network computes `rows^T x columns`; equal up to rounding.

    This applies only on a CPU and to maps of at most 64 pixels a side; otherwise torch's pooling runs.
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
    """Return the matrices (H, output H) and (W, output W) with which a layer averages rows and columns of x.

    The average over a window is the average over its rows of the averages over its columns. This holds at the borders,
    too, because the number of values in a window is always a product.

    Args:
        layer: average pooling without `divisor_override`.
        x: (..., H, W) maps; only the size, the dtype and the device are read.
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
