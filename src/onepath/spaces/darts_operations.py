"""The eight operations of DARTS, and what stands between its cells.

In a search network, normalisation has no scale and no shift, pooling is followed by normalisation, and the operations
that leave one node share what has no weights: the ReLU that convolutions begin with and the normalised poolings are
computed and kept once. A stand-alone network has scale and shift, no normalisation after pooling, and a ReLU in every
operation.

Source: Liu et al., "DARTS: Differentiable Architecture Search", ICLR 2019 (arXiv 1806.09055), section 3.1 and appendix
A.1, and the released code.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from onepath.nn import ElasticBatchNorm2d
from onepath.nn.selection import Selection
from onepath.space import Choice

OPERATIONS = (
    "max_pool_3x3",
    "avg_pool_3x3",
    "skip_connect",
    "sep_conv_3x3",
    "sep_conv_5x5",
    "dil_conv_3x3",
    "dil_conv_5x5",
)
"""Those that a network can have, in the order of the released code, where `none` comes before them."""


class _Plain(nn.Module):
    """A module that the extraction replaces, though it has no choice."""

    def __init__(self) -> None:
        super().__init__()
        self.path = ""
        self.selection = Selection()

    def own_choices(self) -> tuple[Choice, ...]:
        """None."""
        return ()


_Result = TypeVar("_Result")


class Memory:
    """What operations without weights made of the states of a cell; while `open`, each is computed once."""

    def __init__(self) -> None:
        self._known: dict[tuple[object, int], tuple[Tensor, object]] | None = None

    def of(self, name: object, x: Tensor, compute: Callable[[Tensor], _Result]) -> _Result:
        """`compute(x)`, or what it was for the same name and tensor."""
        if self._known is None or torch.compiler.is_compiling():
            return compute(x)
        key = name, id(x)
        if key not in self._known:
            self._known[key] = x, compute(x)  # with x, so that its id stays its own
        return cast("_Result", self._known[key][1])

    @contextlib.contextmanager
    def open(self) -> Iterator[None]:
        """Inside, results are kept, and given again for the same input."""
        self._known = {}
        try:
            yield
        finally:
            self._known = None


class SharedReLU(_Plain):
    """A ReLU that computes the same tensor once while its memory is open; extracted, a plain one.

    Shapes: any to the same.
    """

    def __init__(self, memory: Memory) -> None:
        super().__init__()
        self.memory = memory

    def forward(self, x: Tensor) -> Tensor:
        """max(x, 0)."""
        return self.memory.of("relu", x, functional.relu)

    def extracted(self, *, inherit: bool) -> nn.Module:
        """A plain ReLU."""
        del inherit
        return nn.ReLU()


class Pooling(_Plain):
    """A 3x3 pooling, normalised in the search; stand-alone, the pooling alone.

    Neither has weights: in training, all edges of one stride that leave a state share what is computed, and each
    keeps its own running statistics.

    Args:
        kind: "max" or "avg", the latter over the pixels inside the image.
        channels: of the input.
        stride: 1 or 2.
        memory: of the cell.
    """

    def __init__(self, kind: str, channels: int, stride: int, memory: Memory) -> None:
        super().__init__()
        self.pool: nn.Module = (
            nn.MaxPool2d(3, stride, padding=1)
            if kind == "max"
            else nn.AvgPool2d(3, stride, padding=1, count_include_pad=False)
        )
        self.norm = nn.BatchNorm2d(channels, affine=False)
        self.memory, self._key = memory, (kind, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, H, W) to (B, channels, ceil(H / stride), ceil(W / stride))."""
        if not (self.training and self.norm.training):
            result: Tensor = self.norm(self.memory.of(self._key, x, self.pool))
            return result
        result, *statistics = self.memory.of((*self._key, "normalised"), x, self._normalised)
        self._track(*statistics)
        return result

    def _normalised(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The pooled and normalised input, and mean and unbiased variance of each channel before it."""
        pooled = self.pool(x)
        wide = torch.promote_types(pooled.dtype, torch.float32)  # as the statistics of half precision
        mean, var = pooled.new_zeros((2, pooled.shape[1]), dtype=wide)
        return functional.batch_norm(pooled, mean, var, None, None, True, 1.0, self.norm.eps), mean, var

    def _track(self, mean: Tensor, var: Tensor) -> None:
        """Take a batch's statistics into the running ones, where there are any."""
        norm = self.norm
        if norm.running_mean is None or norm.running_var is None or norm.num_batches_tracked is None:
            return
        norm.num_batches_tracked.add_(1)
        momentum = 1.0 / float(norm.num_batches_tracked) if norm.momentum is None else norm.momentum
        norm.running_mean.mul_(1 - momentum).add_(mean, alpha=momentum)
        norm.running_var.mul_(1 - momentum).add_(var, alpha=momentum)

    def extracted(self, *, inherit: bool) -> nn.Module:
        """With inherited weights the same computation, else the pooling."""
        return nn.Sequential(self.pool, self.norm) if inherit else self.pool


class FactorizedReduce(nn.Module):
    """Half the side: two 1x1 convolutions of stride 2, one of them shifted by a pixel, side by side.

    Args:
        in_channels, out_channels: of the module; the latter is even.
        relu: before the convolutions.
        affine: whether normalisation has scale and shift in the supernet.

    Shapes: (B, in_channels, H, W) to (B, out_channels, ceil(H / 2), ceil(W / 2)). An odd side is padded by zeros.
    """

    def __init__(self, in_channels: int, out_channels: int, relu: nn.Module, affine: bool = False) -> None:
        super().__init__()
        self.relu = relu
        self.first = nn.Conv2d(in_channels, out_channels // 2, 1, stride=2, bias=False)
        self.second = nn.Conv2d(in_channels, out_channels - out_channels // 2, 1, stride=2, bias=False)
        self.norm = norm(out_channels, affine)

    def forward(self, x: Tensor) -> Tensor:
        """Halve the side."""
        x = self.relu(x)
        odd_height, odd_width = x.shape[2] % 2, x.shape[3] % 2
        shifted = functional.pad(x, (0, odd_width, 0, odd_height)) if odd_height or odd_width else x
        result: Tensor = self.norm(torch.cat([self.first(x), self.second(shifted[:, :, 1:, 1:])], dim=1))
        return result


class Zero(nn.Module):
    """No operation: zeros of the shape that the stride leaves."""

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """Zeros."""
        return torch.zeros_like(x[:, :, :: self.stride, :: self.stride])


def operations(channels: int, stride: int, relu: SharedReLU) -> dict[str, nn.Module]:
    """The candidates of an edge, by name; `relu` begins every convolution, and its memory serves the poolings."""
    skip = nn.Identity() if stride == 1 else FactorizedReduce(channels, channels, relu)
    modules = (
        Pooling("max", channels, stride, relu.memory),
        Pooling("avg", channels, stride, relu.memory),
        skip,
        separable(channels, 3, stride, relu),
        separable(channels, 5, stride, relu),
        nn.Sequential(relu, *depthwise_then_pointwise(channels, 3, stride, dilation=2)),
        nn.Sequential(relu, *depthwise_then_pointwise(channels, 5, stride, dilation=2)),
    )
    return dict(zip(OPERATIONS, modules, strict=True))


def separable(channels: int, kernel_size: int, stride: int, relu: nn.Module) -> nn.Module:
    """ReLU, depthwise and pointwise convolution and normalisation, twice; the first time with the stride."""
    return nn.Sequential(
        relu,
        *depthwise_then_pointwise(channels, kernel_size, stride),
        nn.ReLU(inplace=True),
        *depthwise_then_pointwise(channels, kernel_size, 1),
    )


def depthwise_then_pointwise(
    channels: int, kernel_size: int, stride: int, dilation: int = 1
) -> tuple[nn.Module, nn.Module, nn.Module]:
    """A depthwise convolution that keeps the shape at stride 1, a 1x1 convolution, normalisation."""
    padding = dilation * (kernel_size - 1) // 2
    return (
        nn.Conv2d(
            channels,
            channels,
            kernel_size,
            stride,
            padding,
            dilation=dilation,
            groups=channels,
            bias=False,
        ),
        nn.Conv2d(channels, channels, 1, bias=False),
        norm(channels),
    )


def norm(channels: int, affine: bool = False) -> nn.Module:
    """Normalisation, which in a stand-alone network always has scale and shift."""
    return ElasticBatchNorm2d(channels, affine=affine, standalone_affine=True)
