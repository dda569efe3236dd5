"""Convolution blocks of Zen-NAS: what layers they have, what they cost, and the modules.

Source: Lin et al., "Zen-NAS: A Zero-Shot NAS for High-Performance Image Recognition", ICCV 2021 (arXiv 2102.01063):
plain convolutions, and the residual blocks of He et al., "Deep Residual Learning for Image Recognition", CVPR 2016
(arXiv 1512.03385).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, cast

from torch import Tensor, nn

from onepath.space import round_to

Kind = Literal["plain", "basic", "bottleneck"]
KINDS: tuple[Kind, ...] = ("plain", "basic", "bottleneck")
DIVISOR = 8


class Layer(NamedTuple):
    """A convolution without bias, and its normalisation."""

    in_channels: int
    out_channels: int
    kernel_size: int
    stride: int


class BlockLayers(NamedTuple):
    """The layers of a block.

    Attributes:
        chain: one after the other.
        projection: on the shortcut, where a residual block changes the shape.
        is_residual: whether there is a shortcut.
    """

    chain: tuple[Layer, ...]
    projection: Layer | None
    is_residual: bool


def block_layers(
    kind: Kind, in_channels: int, width: int, kernel: int, ratio: float, stride: int
) -> BlockLayers:
    """The layers of one block.

    Args:
        kind: "plain" is one convolution; "basic" two of the kernel, and "bottleneck" a 1x1, one of the kernel and a
            1x1, with a shortcut around them.
        in_channels: of the block's input.
        width: channels that it returns.
        kernel: of its convolutions that are not 1x1.
        ratio: of a residual block, channels inside over `width`; rounded to multiples of 8.
        stride: of the first convolution of the kernel.
    """
    if kind == "plain":
        return BlockLayers((Layer(in_channels, width, kernel, stride),), None, False)
    middle = cast(int, round_to(width * ratio, DIVISOR))
    chain: tuple[Layer, ...]
    if kind == "basic":
        chain = (Layer(in_channels, middle, kernel, stride), Layer(middle, width, kernel, 1))
    else:
        chain = (
            Layer(in_channels, middle, 1, 1),
            Layer(middle, middle, kernel, stride),
            Layer(middle, width, 1, 1),
        )
    keeps_shape = stride == 1 and in_channels == width
    return BlockLayers(chain, None if keeps_shape else Layer(in_channels, width, 1, stride), True)


def block_cost(layers: BlockLayers, pixels: tuple[int, int], what: str) -> int:
    """Cost of a block for one example.

    Args:
        layers: of the block.
        pixels: height and width of its input.
        what: "macs", "params" or "layers" (convolutions, that of the shortcut too).
    """
    total, at = 0, pixels
    for layer in layers.chain:
        at = strided(at, layer.stride)
        total += layer_cost(layer, at, what)
    if layers.projection is not None:
        total += layer_cost(layers.projection, at, what)
    return total


def layer_cost(layer: Layer, pixels: tuple[int, int], what: str) -> int:
    """Cost of a convolution and its normalisation that return maps of this many pixels."""
    if what == "layers":
        return 1
    num_weights = layer.in_channels * layer.out_channels * layer.kernel_size**2
    if what == "params":
        return num_weights + 2 * layer.out_channels
    return num_weights * pixels[0] * pixels[1]


def strided(pixels: tuple[int, int], stride: int) -> tuple[int, int]:
    """Height and width after a convolution that pads by half its odd kernel."""
    return -(-pixels[0] // stride), -(-pixels[1] // stride)


class ConvolutionBlock(nn.Module):
    """A chain of normalised convolutions, and the shortcut around it where the block is residual.

    A ReLU follows every convolution of the chain; the last one comes after the shortcut has been added.

    Args:
        layers: see `block_layers`.
    """

    def __init__(self, layers: BlockLayers) -> None:
        super().__init__()
        *inner, last = layers.chain
        self.chain = nn.Sequential(
            *(part for layer in inner for part in (*_normalised(layer), nn.ReLU(inplace=True))),
            *_normalised(last),
        )
        self.is_residual = layers.is_residual
        self.projection = (
            None if layers.projection is None else nn.Sequential(*_normalised(layers.projection))
        )
        self.activation = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, width, H / stride, W / stride)."""
        y: Tensor = self.chain(x)
        if self.is_residual:
            y = y + (x if self.projection is None else self.projection(x))
        activated: Tensor = self.activation(y)
        return activated


def _normalised(layer: Layer) -> Sequence[nn.Module]:
    convolution = nn.Conv2d(
        layer.in_channels,
        layer.out_channels,
        layer.kernel_size,
        layer.stride,
        layer.kernel_size // 2,
        bias=False,
    )
    return convolution, nn.BatchNorm2d(layer.out_channels)
