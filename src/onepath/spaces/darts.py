"""DARTS's space of cells: the supernet, from which the network of a genotype is extracted.

Source: Liu et al., "DARTS: Differentiable Architecture Search", ICLR 2019 (arXiv 1806.09055), and the released code,
whose networks these are. Differs from it: inputs too small for both reductions keep one or none of the strides; an odd
side is padded before it is halved; in the search the ReLUs and poolings of one state are computed once.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from onepath.errors import ConfigurationError
from onepath.nn import ChoiceBlock
from onepath.nn.edge_sum import EdgeSum, FixedSum
from onepath.space import Choice
from onepath.spaces.darts_genotype import CELLS, NODES, Genotype, cell_choices
from onepath.spaces.darts_operations import (
    FactorizedReduce,
    Memory,
    SharedReLU,
    Zero,
    norm,
    operations,
)
from onepath.spaces.small_inputs import check_width, kept_strides, scaled

STEM_MULTIPLIER = 3
IMAGENET_SIZE = 128  # pixels; inputs of at least this side get the ImageNet stem
KEPT_STRIDES: Mapping[int, Sequence[int]] = {2: (0, 1), 1: (1,), 0: ()}

_CellChoices = tuple[dict[int, Choice | None], dict[tuple[int, int], Choice]]


class Cell(nn.Module):
    """A cell with two inputs and four nodes; each node is the sum of edges from all states before it.

    The output of the cell is its four nodes, concatenated along the channels.

    Args:
        before, previous, channels: channels of the first input, of the second input and of every node.
        is_before_larger: whether the first input has twice the side of the second.
        stride: stride of the edges that leave the inputs; 2 in a cell that reduces.
        choices: choices of the edges and operations, see `cell_choices`; all cells of a kind share them.

    Shapes: (B, before, H, W) and (B, previous, H, W) to (B, 4 * channels, H / stride, W / stride).
    """

    def __init__(
        self,
        before: int,
        previous: int,
        channels: int,
        *,
        is_before_larger: bool,
        stride: int,
        choices: _CellChoices,
    ) -> None:
        super().__init__()
        self.first = (
            FactorizedReduce(before, channels, nn.ReLU())
            if is_before_larger
            else convolution(before, channels)
        )
        self.second = convolution(previous, channels)
        self.relu: nn.Module = SharedReLU(Memory())
        kept, edges = choices
        self.nodes = nn.ModuleList(
            EdgeSum(
                [
                    ChoiceBlock(
                        operations(channels, stride if source < NODES[0] else 1, self.relu),
                        edges[source, node],
                        none=Zero(stride if source < NODES[0] else 1),
                    )
                    for source in range(node)
                ],
                kept[node],
            )
            for node in NODES
        )

    def forward(self, before: Tensor, previous: Tensor) -> Tensor:
        """Return the four nodes, concatenated along the channels."""
        if isinstance(self.relu, SharedReLU):
            with self.relu.memory.open():
                return self._compute(before, previous)
        return self._compute(before, previous)

    def _compute(self, before: Tensor, previous: Tensor) -> Tensor:
        states: list[Tensor] = [self.first(before), self.second(previous)]
        for node in self.nodes:
            states.append(node(states))
        return torch.cat(states[NODES[0] :], dim=1)


class Darts(nn.Module):
    """The supernet module: a stem, cells of which two reduce, and a classifier.

    A stand-alone network may also have an auxiliary classifier, for training only.

    Args:
        num_classes: classes that the classifier tells apart.
        input_size: height and width of the input in pixels; from 128 on, the stem is that of ImageNet, which halves
            three times.
        in_channels: channels of the input.
        channels: channels of each node in the first cells; each reduction doubles the number. 16 in the paper's search,
            36 in its networks for CIFAR-10, 48 for ImageNet.
        cells: number of cells; 8 in the paper's search, 20 (CIFAR-10) and 14 (ImageNet) in its networks.
        width: factor on `channels`, whose product is rounded to a multiple of 4; 1 leaves `channels` as it is.
        auxiliary_weight: weight of the auxiliary classifier's loss in the training of a stand-alone network; the
            classifier reads the features after two thirds of the cells. 0.4 in the paper; 0 for no such classifier. The
            paper does not count its parameters.
        drop_path: highest probability that an example loses an edge in the training of a stand-alone network; the
            probability rises linearly over the epochs. 0.2 in the paper for CIFAR-10.

    Attributes:
        notation: the published notation, `Genotype(normal=[...], ...)`.
        start: genotype of the path for a training that begins with one path: separable convolutions on both inputs of
            the cell.
        auxiliary_outputs: logits (B, num_classes) of the auxiliary classifier in the last pass, or None if that pass
            did not run it.

    Shapes: (B, in_channels, input_size, input_size) to (B, num_classes).

    Raises:
        ConfigurationError: an input below 4 pixels, fewer than 3 cells, odd channels, or a number out of its range.
    """

    def __init__(
        self,
        num_classes: int = 10,
        input_size: int = 32,
        in_channels: int = 3,
        channels: int = 16,
        cells: int = 8,
        width: float = 1.0,
        auxiliary_weight: float = 0.0,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        _check(channels, cells, auxiliary_weight, drop_path)
        check_width(width)
        channels = channels if width == 1 else scaled(channels, width)
        self.notation = Genotype()
        self.start = self.notation.format(_start())
        self.auxiliary_weight, self.drop_path = auxiliary_weight, drop_path
        self.auxiliary_outputs: Tensor | None = None
        is_large = input_size >= IMAGENET_SIZE
        self.stem, self.second_stem, current = _stems(in_channels, channels, is_large)
        before, previous = current, current
        strides = dict(
            zip(
                reductions(cells), (2, 2) if is_large else kept_strides(input_size, KEPT_STRIDES), strict=True
            )
        )
        choices = {kind: cell_choices(kind) for kind in CELLS}
        self.cells = nn.ModuleList()
        is_before_larger, own = is_large, channels
        for index in range(cells):
            is_reduction = index in strides
            own *= 2 if is_reduction else 1
            stride = strides.get(index, 1)
            self.cells.append(
                Cell(
                    before,
                    previous,
                    own,
                    is_before_larger=is_before_larger,
                    stride=stride,
                    choices=choices["reduce" if is_reduction else "normal"],
                )
            )
            before, previous, is_before_larger = previous, 4 * own, stride == 2
            if index == 2 * cells // 3:
                side = -(-input_size // (8 if is_large else 1) // math.prod(strides.values()))
                self.auxiliary = (
                    auxiliary(previous, num_classes, side, is_large) if auxiliary_weight else None
                )
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.classifier = nn.Linear(previous, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits (B, num_classes) of images (B, in_channels, H, W)."""
        before = self.stem(x)
        previous = before if self.second_stem is None else self.second_stem(before)
        self.auxiliary_outputs = None
        for index, cell in enumerate(self.cells):
            before, previous = previous, cell(before, previous)
            if self._is_standalone and self.training and index == reductions(len(self.cells))[1]:
                self.auxiliary_outputs = None if self.auxiliary is None else self.auxiliary(previous)
        logits: Tensor = self.classifier(self.pool(previous))
        return logits

    @property
    def _is_standalone(self) -> bool:
        first = self.cells[0].nodes[0]  # type: ignore[index]
        return isinstance(first, FixedSum)

    def set_progress(self, progress: float) -> None:
        """Set the probability of drop path for an epoch, `drop_path * progress`; in place.

        Args:
            progress: share of the epochs that are done, in [0, 1].
        """
        for module in self.modules():
            if isinstance(module, FixedSum):
                module.drop_path = self.drop_path * progress


def reductions(cells: int) -> tuple[int, int]:
    """Return the indices of the two cells that reduce, at one third and two thirds of the cells."""
    return cells // 3, 2 * cells // 3


def convolution(in_channels: int, out_channels: int, affine: bool = False) -> nn.Module:
    """Return ReLU, 1x1 convolution and normalisation, as applied to each input of a cell."""
    return nn.Sequential(
        nn.ReLU(), nn.Conv2d(in_channels, out_channels, 1, bias=False), norm(out_channels, affine)
    )


def auxiliary(channels: int, num_classes: int, side: int, is_large: bool) -> nn.Module:
    """Return the auxiliary classifier.

    It is made for maps of 8x8 pixels, or for ImageNet of 7x7 pixels and then without the last normalisation. It pools
    these to 2x2; maps of another side are pooled adaptively to 2x2.

    Args:
        channels: channels of the input.
        num_classes: classes to tell apart.
        side: height and width of the input in pixels.
        is_large: whether the network has the ImageNet stem.
    """
    last = [] if is_large else [nn.BatchNorm2d(768)]
    pool: nn.Module = nn.AdaptiveAvgPool2d(2)
    if side == (7 if is_large else 8):
        pool = nn.AvgPool2d(5, stride=2 if is_large else 3, padding=0, count_include_pad=False)
    return nn.Sequential(
        nn.ReLU(),
        pool,
        nn.Conv2d(channels, 128, 1, bias=False),
        nn.BatchNorm2d(128),
        nn.ReLU(inplace=True),
        nn.Conv2d(128, 768, 2, bias=False),
        *last,
        nn.ReLU(inplace=True),
        nn.Flatten(),
        nn.Linear(768, num_classes),
    )


def _stems(in_channels: int, channels: int, is_large: bool) -> tuple[nn.Module, nn.Module | None, int]:
    """Return the stem, the second stem or None, and the channels that they return.

    The stem is one convolution to three times the channels; for ImageNet, the two parts are two convolutions and one,
    and each convolution halves the map.
    """
    if not is_large:
        wide = STEM_MULTIPLIER * channels
        return (
            nn.Sequential(nn.Conv2d(in_channels, wide, 3, padding=1, bias=False), nn.BatchNorm2d(wide)),
            None,
            wide,
        )
    first = nn.Sequential(
        nn.Conv2d(in_channels, channels // 2, 3, 2, 1, bias=False),
        nn.BatchNorm2d(channels // 2),
        nn.ReLU(inplace=True),
        nn.Conv2d(channels // 2, channels, 3, 2, 1, bias=False),
        nn.BatchNorm2d(channels),
    )
    second = nn.Sequential(
        nn.ReLU(), nn.Conv2d(channels, channels, 3, 2, 1, bias=False), nn.BatchNorm2d(channels)
    )
    return first, second, channels


def _start() -> dict[str, str | int | float | bool]:
    """Return the options with separable 3x3 convolutions from both inputs into every node."""
    options: dict[str, str | int | float | bool] = {}
    for cell, node in itertools.product(CELLS, NODES):
        options[f"{cell}.{node}"] = "0,1"
        options.update({f"{cell}.{source}->{node}": "sep_conv_3x3" for source in (0, 1)})
    return options


def _check(channels: int, cells: int, auxiliary_weight: float, drop_path: float) -> None:
    rules = {
        "cells >= 3": cells >= 3,
        "channels >= 2 and even": channels >= 2 and channels % 2 == 0,
        "auxiliary_weight >= 0": auxiliary_weight >= 0,
        "0 <= drop_path < 1": 0 <= drop_path < 1,
    }
    for rule, holds in rules.items():
        if not holds:
            raise ConfigurationError(
                f"{rule} must hold, but got channels={channels}, cells={cells}, auxiliary_weight={auxiliary_weight}, "
                f"drop_path={drop_path}; change it; the paper's search has 16 channels and 8 cells"
            )
