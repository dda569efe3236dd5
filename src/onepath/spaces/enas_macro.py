"""ENAS's macro space: a chain of layers, each with an operation and skip connections from earlier layers.

Source: Pham et al., "Efficient Neural Architecture Search via Parameter Sharing", ICML 2018 (arXiv 1802.03268), and the
released code (`general_child.py`): the operations of its search network, and the skip connections of its stand-alone
networks, which are concatenated with the operation's output and reduced by a 1x1 convolution; the released search adds
and normalises them instead. Differs from both: an earlier layer is halved only if a later layer reads it;
all layers have the same number of channels, where the stand-alone networks double it at every reduction; inputs too
small for both reductions keep one or none of them; there is no dropout; initial weights are PyTorch's.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import cast

import numpy as np
from torch import Tensor, nn

from onepath.counting import CostTable, CostTerm
from onepath.errors import ConfigurationError
from onepath.nn import ChoiceBlock
from onepath.nn.selection import Selection
from onepath.space import Choice
from onepath.spaces.chosen_concat import ChosenConcat, active_options
from onepath.spaces.darts import KEPT_STRIDES
from onepath.spaces.darts_operations import FactorizedReduce, depthwise_then_pointwise
from onepath.spaces.enas_macro_notation import OPERATIONS, SKIPS, MacroNotation, edge_name
from onepath.spaces.layer_cost import COUNTED, fixed_cost, halved
from onepath.spaces.small_inputs import check_width, kept_strides, scaled

_MOST_READERS = 16  # skip connections that one term of the cost table may depend on


class SkipConcat(ChosenConcat):
    """The output of a layer: its operation's output and the nodes that it skips from, joined; see `ChosenConcat`.

    Args:
        channels: channels of every node.
        skips: choice of the skip connection from each earlier node, in their order.

    Shapes: the earlier nodes and the operation's output, each (B, channels, H, W), to (B, channels, H, W).
    """

    def __init__(self, channels: int, skips: Sequence[Choice]) -> None:
        super().__init__(len(skips) + 1, channels, skips)

    def chosen(self) -> tuple[int, ...]:
        """Return the numbers of the nodes that are skipped from, and of the operation's output."""
        skipped = [number for number, skip in enumerate(self.choices) if _is_on(skip, self.selection)]
        return (*skipped, len(self.choices))


class Layer(nn.Module):
    """A layer: an operation on the last node, joined with the nodes that it skips from.

    Args:
        channels: channels of every node.
        operation: choice of the operation.
        skips: choice of the skip connection from each node before the last one; a layer without them is its operation.

    Shapes: nodes (B, channels, H, W) to (B, channels, H, W). Nodes that are not read may have any shape.
    """

    def __init__(self, channels: int, operation: Choice, skips: Sequence[Choice]) -> None:
        super().__init__()
        self.operation = ChoiceBlock(operations(channels), operation)
        self.output = SkipConcat(channels, skips) if skips else None

    def forward(self, *nodes: Tensor) -> Tensor:
        """Return the next node."""
        output: Tensor = self.operation(nodes[-1])
        return output if self.output is None else self.output(*nodes[:-1], output)


class Reductions(nn.Module):
    """Halves the nodes that later layers read; the last node is always read.

    Args:
        channels: channels of every node.
        readers: for each node but the last one, the choices of the later skip connections from it.

    Shapes: nodes (B, channels, H, W) to as many of (B, channels, ceil(H / 2), ceil(W / 2)); a node that is not read is
    returned as it is.
    """

    def __init__(self, channels: int, readers: Sequence[Sequence[Choice]]) -> None:
        super().__init__()
        self.readers = tuple(map(tuple, readers))
        self.nodes = nn.ModuleList(
            FactorizedReduce(channels, channels, nn.Identity(), affine=True) for _ in range(len(readers) + 1)
        )
        self.path = ""
        self.selection = Selection()

    def own_choices(self) -> tuple[Choice, ...]:
        """Return the choices of all later skip connections from these nodes."""
        return tuple(itertools.chain.from_iterable(self.readers))

    def read(self) -> tuple[int, ...]:
        """Return the numbers of the nodes that the active path reads later, rising."""
        early = [
            number
            for number, skips in enumerate(self.readers)
            if any(_is_on(skip, self.selection) for skip in skips)
        ]
        return (*early, len(self.readers))

    def forward(self, *nodes: Tensor) -> list[Tensor]:
        """Return the nodes, those that are read halved."""
        read = self.read()
        return [self.nodes[number](x) if number in read else x for number, x in enumerate(nodes)]

    def extracted(self, *, inherit: bool) -> nn.Module:
        """Return `FixedReductions` of the nodes that are read."""
        del inherit
        return FixedReductions({number: self.nodes[number] for number in self.read()})


class FixedReductions(nn.Module):
    """Halves fixed nodes, and returns the others as they are.

    Args:
        reductions: number of a node -> module that halves it.
    """

    def __init__(self, reductions: Mapping[int, nn.Module]) -> None:
        super().__init__()
        self.numbers = tuple(reductions)
        for number, module in reductions.items():
            self.add_module(f"node_{number}", module)

    def forward(self, *nodes: Tensor) -> list[Tensor]:
        """Return the nodes, those in `numbers` halved."""
        result = list(nodes)
        for number, module in zip(self.numbers, self.children(), strict=True):
            result[number] = module(result[number])
        return result


class EnasMacro(nn.Module):
    """The supernet module: a stem, layers with two reductions between them, and a classifier.

    Args:
        num_classes: classes that the classifier tells apart.
        input_size: height and width of the input in pixels; from 13 pixels on, both reductions halve the maps.
        in_channels: channels of the input.
        channels: channels of every layer; 36 in the released search.
        num_layers: number of layers; 12 in the released search. The reductions follow one third and two thirds of them.
        width: factor on `channels`, whose product is rounded to a multiple of 4; 1 leaves `channels` as it is.

    Attributes:
        notation: see `MacroNotation`.

    Shapes: (B, in_channels, input_size, input_size) to (B, num_classes).

    Raises:
        ConfigurationError: an input below 4 pixels, fewer than 3 layers, odd channels, or a width out of range.
    """

    def __init__(
        self,
        num_classes: int = 10,
        input_size: int = 32,
        in_channels: int = 3,
        channels: int = 36,
        num_layers: int = 12,
        width: float = 1.0,
    ) -> None:
        super().__init__()
        if num_layers < 3 or channels < 2 or channels % 2:
            raise ConfigurationError(
                f"`num_layers >= 3` and `channels` even and >= 2 must hold, but got num_layers={num_layers}, "
                f"channels={channels}; change them; the released search has 12 layers and 36 channels"
            )
        check_width(width)
        channels = channels if width == 1 else scaled(channels, width)
        self.notation = MacroNotation(num_layers)
        self.stem = nn.Sequential(
            nn.Conv2d(in_channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels)
        )
        skips = {
            (source, node): Choice(edge_name(source, node), SKIPS, role="operation")
            for node in range(2, num_layers + 1)
            for source in range(node - 1)
        }
        self.layers = nn.ModuleList(
            Layer(
                channels,
                Choice(edge_name(number, number + 1), OPERATIONS),
                [skips[source, number + 1] for source in range(number)],
            )
            for number in range(num_layers)
        )
        strides = kept_strides(input_size, KEPT_STRIDES)
        third = num_layers // 3
        places = [place for place, stride in zip((third, 2 * third), strides, strict=True) if stride == 2]
        self.reductions = nn.ModuleDict(
            {
                str(place): Reductions(
                    channels,
                    [
                        [skips[source, node] for node in range(place + 1, num_layers + 1)]
                        for source in range(place)
                    ],
                )
                for place in places
            }
        )
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.classifier = nn.Linear(channels, num_classes, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits (B, num_classes) of images (B, in_channels, H, W)."""
        nodes: list[Tensor] = [self.stem(x)]
        for layer in self.layers:
            nodes.append(layer(*nodes))
            place = str(len(nodes) - 1)
            if place in self.reductions:
                nodes = self.reductions[place](*nodes)
        logits: Tensor = self.classifier(self.pool(nodes[-1]))
        return logits

    def cost_table(self, input_shape: tuple[int, ...], kind: str) -> CostTable | None:
        """Return the additive costs of all architectures in closed form, or None for a cost that is not known here.

        It is also None if a reduction depends on more than 16 skip connections, as in networks of more than 24 layers.

        Args:
            input_shape: shape of one example, (in_channels, H, W).
            kind: name of the cost.
        """
        reductions = {int(place): cast(Reductions, module) for place, module in self.reductions.items()}
        most = max((len(skips) for each in reductions.values() for skips in each.readers), default=0)
        if kind not in COUNTED or most > _MOST_READERS:
            return None
        size = (input_shape[1], input_shape[2])
        constant = fixed_cost(self.stem, math.prod(size), kind) + fixed_cost(self.classifier, 1, kind)
        terms = []
        for number, module in enumerate(self.layers):
            layer, pixels = cast(Layer, module), math.prod(size)
            costs = [fixed_cost(candidate, pixels, kind) for candidate in layer.operation.candidates]
            terms.append(CostTerm(edge_name(number, number + 1), costs))
            if layer.output is not None:
                one = layer.output.state_cost(pixels, kind)
                constant += one + layer.output.constant_cost(kind)
                terms += [CostTerm(skip.name, [0, one]) for skip in layer.output.choices]
            if number + 1 in reductions:
                size = halved(size)
                *early, last = (
                    fixed_cost(node, math.prod(size), kind) for node in reductions[number + 1].nodes
                )
                constant += last
                for cost, skips in zip(early, reductions[number + 1].readers, strict=True):
                    read = np.full([2] * len(skips), cost)
                    read[(0,) * len(skips)] = 0
                    terms.append(CostTerm([skip.name for skip in skips], read))
        return CostTable(constant, terms, unit=kind)


def operations(channels: int) -> dict[str, nn.Module]:
    """Return the six candidates of a layer, name -> module; all keep the shape (B, channels, H, W).

    Each begins with a 1x1 convolution, normalisation and ReLU; convolutions are followed by normalisation and ReLU.
    """
    middles = (
        _convolution(channels, 3),
        (*depthwise_then_pointwise(channels, 3, 1, affine=True), nn.ReLU(inplace=True)),
        _convolution(channels, 5),
        (*depthwise_then_pointwise(channels, 5, 1, affine=True), nn.ReLU(inplace=True)),
        (nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False),),
        (nn.MaxPool2d(3, stride=1, padding=1),),
    )
    return {
        name: nn.Sequential(*_convolution(channels, 1), *middle)
        for name, middle in zip(OPERATIONS, middles, strict=True)
    }


def _convolution(channels: int, kernel_size: int) -> tuple[nn.Module, nn.Module, nn.Module]:
    return (
        nn.Conv2d(channels, channels, kernel_size, padding=kernel_size // 2, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU(inplace=True),
    )


def _is_on(skip: Choice, selection: Selection) -> bool:
    return SKIPS[1] in active_options(skip, selection)
