"""Convolution blocks of Zen-NAS: their layers, their costs and their modules.

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
    """The sizes of a convolution without bias that is followed by a normalisation."""

    in_channels: int
    out_channels: int
    kernel_size: int
    stride: int


class BlockLayers(NamedTuple):
    """The layers of a block.

    Attributes:
        chain: layers of the main branch, one after the other.
        projection: layer on the shortcut of a residual block that changes the shape; else None.
        is_residual: whether there is a shortcut.
    """

    chain: tuple[Layer, ...]
    projection: Layer | None
    is_residual: bool


def block_layers(
    kind: Kind, in_channels: int, width: int, kernel: int, ratio: float, stride: int
) -> BlockLayers:
    """Return the layers of one block.

    Args:
        kind: "plain" is one convolution of size `kernel`. "basic" is two such convolutions, and "bottleneck" is a 1x1
            convolution, one of size `kernel` and a 1x1 convolution, each with a shortcut around them.
        in_channels: channels of the block's input.
        width: channels of the block's output.
        kernel: height and width of the kernels that are not 1x1; odd.
        ratio: inner channels of a residual block, as a fraction of `width`; rounded to multiples of 8.
        stride: stride of the first convolution of size `kernel`.
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
    """Return the cost of a block for one example.

    Args:
        layers: layers of the block.
        pixels: height and width of the block's input.
        what: "macs", "params" or "layers" (number of convolutions, including that of the shortcut).
    """
    total, at = 0, pixels
    for layer in layers.chain:
        at = strided(at, layer.stride)
        total += layer_cost(layer, at, what)
    if layers.projection is not None:
        total += layer_cost(layers.projection, at, what)
    return total


def layer_cost(layer: Layer, pixels: tuple[int, int], what: str) -> int:
    """Return the cost of a convolution and its normalisation for one example.

    Args:
        layer: sizes of the convolution.
        pixels: height and width of its output.
        what: "macs", "params" or "layers"; the normalisation adds to "params" only.
    """
    if what == "layers":
        return 1
    num_weights = layer.in_channels * layer.out_channels * layer.kernel_size**2
    if what == "params":
        return num_weights + 2 * layer.out_channels
    return num_weights * pixels[0] * pixels[1]


def strided(pixels: tuple[int, int], stride: int) -> tuple[int, int]:
    """Return height and width after a convolution with this stride that pads by half its odd kernel."""
    return -(-pixels[0] // stride), -(-pixels[1] // stride)


class ConvolutionBlock(nn.Module):
    """A chain of normalised convolutions, with a shortcut around it if the block is residual.

    A ReLU follows every convolution of the chain; the last ReLU comes after the shortcut has been added.

    Args:
        layers: layers of the block, see `block_layers`.
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
        """Map (B, in_channels, H, W) to (B, width, ceil(H / stride), ceil(W / stride))."""
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
