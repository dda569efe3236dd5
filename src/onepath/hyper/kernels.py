"""From the code of a layer to its weight: tiles that are repeated, or products of factors.

Both make weights of mean 0 and a variance of about 2 / fan-in at first, whatever the layer's shape: the last hidden
values are normalised, so that a matrix of variance 1 / width keeps them at variance 1, and the weight is then scaled by
the fan-in. Sources: the fan-in is the normalisation of GHN-2's released code (ppuda). Tiles follow Knyazev et al.,
"Parameter Prediction for Unseen Deep Architectures", NeurIPS 2021: a tensor of one largest shape is cut to a smaller
target and repeated for a larger one. Factors of low rank are the toolkit's own, in place of SMASH's 2-D convolutions.

Shapes: L layers, D width of a code, O and I channels of a weight, K = KH * KW taps of its kernel, R rank.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

Shape = tuple[int, ...]


def fitted(tile: Tensor, shape: Shape) -> Tensor:
    """Return a tensor of another shape of as many dimensions: repeated where it is too small, then cut.

    The leading channels are kept, and the centre of the kernel.

    Args:
        tile: (O, I, *), not changed.
        shape: shape of the result.

    Example:
        >>> fitted(torch.tensor([[1.0, 2.0]]), (2, 3))
        tensor([[1., 2., 1.],
                [1., 2., 1.]])
    """
    times = [-(-wanted // have) for wanted, have in zip(shape, tile.shape, strict=True)]
    tile = tile.repeat(times) if max(times) > 1 else tile
    for dim, side in enumerate(shape):
        first = (tile.shape[dim] - side) // 2 if dim > 1 else 0
        tile = tile.narrow(dim, first, side)
    return tile


def fan_in_scale(shape: Shape) -> float:
    """Return the standard deviation sqrt(2 / fan-in) of a weight (O, I, *), whose fan-in is I times its taps."""
    return math.sqrt(2 / math.prod(shape[1:]))


def sides_of(shape: Shape) -> tuple[int, int]:
    """Return (KH, KW) of a weight's kernel; 1 where it has no such dimension."""
    height, width = (1, 1, *shape[2:])[-2:]
    return height, width


class KernelMaker(nn.Module, ABC):
    """Makes the weights of layers from their codes."""

    @abstractmethod
    def forward(self, codes: Tensor, shapes: Sequence[Shape]) -> list[Tensor]:
        """Return a weight for each layer.

        Args:
            codes: (L, D).
            shapes: shape of each weight: (O, I), (O, I, KW) or (O, I, KH, KW).
        """


class LowRankKernels(KernelMaker):
    """Weights that are sums of R products of three factors, each made from the layer's code.

    `W[o, i, k] = sum over r of U[o, r] * V[i, r] * T[k, r] / sqrt(R)`, times the fan-in's scale, for output channel o,
    input channel i and tap k of the kernel. All layers share the matrices that make the factors: a smaller layer uses
    their leading channels, and the taps at the centre of the largest kernel.

    Args:
        width: D.
        shapes: shapes of all weights that will be asked for.
        rank: R.
        hidden: width of the vector from which the factors are made.
    """

    def __init__(self, width: int, shapes: Sequence[Shape], rank: int, hidden: int) -> None:
        super().__init__()
        self.rank, self.sides = rank, _largest_sides(shapes)
        self.hidden = nn.Linear(width, hidden)
        self.outputs, self.inputs, self.taps = (
            _unit_linear(hidden, num * rank)
            for num in (
                max(shape[0] for shape in shapes),
                max(shape[1] for shape in shapes),
                math.prod(self.sides),
            )
        )

    def forward(self, codes: Tensor, shapes: Sequence[Shape]) -> list[Tensor]:
        """See `KernelMaker.forward`."""
        hidden = _unit(self.hidden(functional.relu(codes)))
        taps = self.taps(hidden).view(len(codes), *self.sides, self.rank)  # (L, KH, KW, R)
        found = []
        for place, shape in enumerate(shapes):
            own = hidden[place]
            left = self._factor(self.outputs, own, shape[0])  # (O, R)
            right = self._factor(self.inputs, own, shape[1])[:, None] * _centre(
                taps[place : place + 1], shape
            )
            product = left @ right.flatten(0, 1).t()  # (O, I * K)
            found.append(product.view(shape) * (fan_in_scale(shape) / math.sqrt(self.rank)))
        return found

    def _factor(self, maker: nn.Linear, hidden: Tensor, num: int) -> Tensor:
        """Return the factor (num, R) of the leading channels."""
        return (maker.weight[: num * self.rank] @ hidden).view(num, self.rank)


class TiledKernels(KernelMaker):
    """Weights that are cut from one tile for each layer, or that repeat it.

    A code gives each tap of the largest kernel a hidden vector, and a layer that all taps share turns it into the
    tile's channels. Only what a target needs of its tile is computed.

    Args:
        width: D.
        shapes: shapes of all weights that will be asked for.
        tile: largest number of output channels, and of input channels, of a tile.
        hidden: width of the vector of a tap.
    """

    def __init__(self, width: int, shapes: Sequence[Shape], tile: int, hidden: int) -> None:
        super().__init__()
        self.sides = _largest_sides(shapes)
        self.channels = tuple(min(tile, max(shape[dim] for shape in shapes)) for dim in (0, 1))
        self.spread = nn.Linear(width, hidden * math.prod(self.sides))
        self.hidden = nn.Linear(hidden, hidden)
        self.last = _unit_linear(hidden, math.prod(self.channels))

    def forward(self, codes: Tensor, shapes: Sequence[Shape]) -> list[Tensor]:
        """See `KernelMaker.forward`."""
        spread = self.spread(codes).view(len(codes), *self.sides, self.hidden.in_features)  # (L, KH, KW, H)
        last = self.last.weight.view(*self.channels, -1)
        found = []
        for place, shape in enumerate(shapes):
            taps = _centre(spread[place : place + 1], shape)[0]  # (K, H)
            own = last[: shape[0], : shape[1]]
            tile = torch.tensordot(own, _unit(self.hidden(functional.relu(taps))), ([2], [1]))  # (O', I', K)
            found.append(fitted(tile.view(*own.shape[:2], *shape[2:]), shape) * fan_in_scale(shape))
        return found


def _largest_sides(shapes: Sequence[Shape]) -> tuple[int, int]:
    """Return the largest height and the largest width of the kernels of some weights."""
    sides = [sides_of(shape) for shape in shapes]
    return max(high for high, _ in sides), max(wide for _, wide in sides)


def _centre(taps: Tensor, shape: Shape) -> Tensor:
    """Return (L, K, D) the taps of a weight's kernel, from the centre of those (L, KH, KW, D) of the largest one."""
    height, width = sides_of(shape)
    top, left = (taps.shape[1] - height) // 2, (taps.shape[2] - width) // 2
    return taps[:, top : top + height, left : left + width].flatten(1, 2)


def _unit(x: Tensor) -> Tensor:
    """Return the positive part of `x`, normalised over the last dimension."""
    return functional.layer_norm(functional.relu(x), x.shape[-1:])


def _unit_linear(inputs: int, outputs: int) -> nn.Linear:
    """Return a linear layer without bias that keeps the variance of normalised inputs."""
    layer = nn.Linear(inputs, outputs, bias=False)
    nn.init.normal_(layer.weight, std=inputs**-0.5)
    return layer
