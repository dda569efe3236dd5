"""The eight operations of DARTS, and the layers that halve maps between its cells.

In the supernet, normalisation has no scale and no shift, pooling is followed by normalisation, and the operations that
leave one node share their parts without weights: the ReLU at the beginning of convolutions and the normalised poolings
are computed and kept once. In a stand-alone network, normalisation has scale and shift, poolings are not normalised,
and every convolution has a ReLU of its own.

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
"""The operations that a network can have, in the order of the released code, where `none` comes before them."""


class _Plain(nn.Module):
    """A module without choices that extraction nevertheless replaces."""

    def __init__(self) -> None:
        super().__init__()
        self.path = ""
        self.selection = Selection()

    def own_choices(self) -> tuple[Choice, ...]:
        """Return no choices."""
        return ()


_Result = TypeVar("_Result")


class Memory:
    """A cache of the results of operations without weights on a cell's states; each is computed once while `open`."""

    def __init__(self) -> None:
        self._known: dict[tuple[object, int], tuple[Tensor, object]] | None = None

    def of(self, name: object, x: Tensor, compute: Callable[[Tensor], _Result]) -> _Result:
        """Return `compute(x)`, or the kept result of an earlier call with the same name and the same tensor.

        Args:
            name: identifies the operation.
            x: a state of the cell; recognised as an object, not by its values.
            compute: the operation.
        """
        if self._known is None or torch.compiler.is_compiling():
            return compute(x)
        key = name, id(x)
        if key not in self._known:
            self._known[key] = x, compute(x)  # with x, so that its id stays its own
        return cast("_Result", self._known[key][1])

    @contextlib.contextmanager
    def open(self) -> Iterator[None]:
        """Keep results inside the context and return them again for the same input; drop them at its end."""
        self._known = {}
        try:
            yield
        finally:
            self._known = None


class SharedReLU(_Plain):
    """A ReLU that computes each tensor only once while its memory is open; extracted, it is a plain ReLU.

    Args:
        memory: cache of the cell, shared by all modules of the cell.

    Shapes: any shape to the same shape.
    """

    def __init__(self, memory: Memory) -> None:
        super().__init__()
        self.memory = memory

    def forward(self, x: Tensor) -> Tensor:
        """Return max(x, 0)."""
        return self.memory.of("relu", x, functional.relu)

    def extracted(self, *, inherit: bool) -> nn.Module:
        """Return a plain ReLU."""
        del inherit
        return nn.ReLU()


class Pooling(_Plain):
    """A 3x3 pooling, followed by normalisation in the supernet and alone in a stand-alone network.

    Neither part has weights. So in training, all edges that leave one state with one kind and stride share the result,
    but each edge keeps its own running statistics.

    Args:
        kind: "max" or "avg"; an average is over the pixels inside the image.
        channels: channels of the input.
        stride: 1 or 2.
        memory: cache of the cell.
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
        """Pool (B, channels, H, W) to (B, channels, ceil(H / stride), ceil(W / stride))."""
        if not (self.training and self.norm.training):
            result: Tensor = self.norm(self.memory.of(self._key, x, self.pool))
            return result
        result, *statistics = self.memory.of((*self._key, "normalised"), x, self._normalised)
        self._track(*statistics)
        return result

    def _normalised(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the pooled and normalised input, and each channel's mean and unbiased variance after the pooling."""
        pooled = self.pool(x)
        wide = torch.promote_types(pooled.dtype, torch.float32)  # as BatchNorm's statistics of half precision
        mean, var = pooled.new_zeros((2, pooled.shape[1]), dtype=wide)
        return functional.batch_norm(pooled, mean, var, None, None, True, 1.0, self.norm.eps), mean, var

    def _track(self, mean: Tensor, var: Tensor) -> None:
        """Update the running statistics, if there are any, by those of a batch."""
        norm = self.norm
        if norm.running_mean is None or norm.running_var is None or norm.num_batches_tracked is None:
            return
        norm.num_batches_tracked.add_(1)
        momentum = 1.0 / float(norm.num_batches_tracked) if norm.momentum is None else norm.momentum
        norm.running_mean.mul_(1 - momentum).add_(mean, alpha=momentum)
        norm.running_var.mul_(1 - momentum).add_(var, alpha=momentum)

    def extracted(self, *, inherit: bool) -> nn.Module:
        """Return the pooling with its normalisation if weights are inherited, else the pooling alone."""
        return nn.Sequential(self.pool, self.norm) if inherit else self.pool


class FactorizedReduce(nn.Module):
    """Halve the side with two 1x1 convolutions of stride 2, one of them shifted by a pixel, and join their channels.

    Args:
        in_channels, out_channels: channels of the input and of the output; `out_channels` is even.
        relu: activation before the convolutions.
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
        """Return the halved map, (B, out_channels, ceil(H / 2), ceil(W / 2))."""
        x = self.relu(x)
        odd_height, odd_width = x.shape[2] % 2, x.shape[3] % 2
        shifted = functional.pad(x, (0, odd_width, 0, odd_height)) if odd_height or odd_width else x
        result: Tensor = self.norm(torch.cat([self.first(x), self.second(shifted[:, :, 1:, 1:])], dim=1))
        return result


class Zero(nn.Module):
    """The operation `none`: it returns zeros, (B, C, ceil(H / stride), ceil(W / stride)) for (B, C, H, W)."""

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """Return zeros of the output's shape."""
        return torch.zeros_like(x[:, :, :: self.stride, :: self.stride])


def operations(channels: int, stride: int, relu: SharedReLU) -> dict[str, nn.Module]:
    """Return the seven candidates of an edge, name -> module.

    Args:
        channels: channels of the input and of the output.
        stride: 1 or 2.
        relu: activation at the beginning of every convolution; its memory also serves the poolings.
    """
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


def separable(
    channels: int, kernel_size: int, stride: int, relu: nn.Module, affine: bool = False
) -> nn.Module:
    """Return twice: ReLU, depthwise and 1x1 convolution, normalisation; only the first time with the stride."""
    return nn.Sequential(
        relu,
        *depthwise_then_pointwise(channels, kernel_size, stride, affine=affine),
        nn.ReLU(inplace=True),
        *depthwise_then_pointwise(channels, kernel_size, 1, affine=affine),
    )


def depthwise_then_pointwise(
    channels: int, kernel_size: int, stride: int, dilation: int = 1, affine: bool = False
) -> tuple[nn.Module, nn.Module, nn.Module]:
    """Return a depthwise convolution, padded to keep the shape at stride 1, a 1x1 convolution and a normalisation."""
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
        norm(channels, affine),
    )


def norm(channels: int, affine: bool = False) -> nn.Module:
    """Return a batch normalisation; in a stand-alone network it always has scale and shift.

    Args:
        channels: channels of the input.
        affine: whether it also has scale and shift in the supernet.
    """
    return ElasticBatchNorm2d(channels, affine=affine, standalone_affine=True)
