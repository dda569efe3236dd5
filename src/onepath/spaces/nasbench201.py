"""NAS-Bench-201: one cell of six edges with five operations, 15,625 networks all trained on CIFAR-10.

Source: Dong and Yang, "NAS-Bench-201: Extending the Scope of Reproducible Neural Architecture Search", ICLR 2020
(arXiv 2001.00326), section 2. Differs from it: smaller inputs keep fewer strides, so that the last map is at least 4x4
pixels; `width` scales every number of channels. As in the released code, the normalisation of the operations has no
scale and no shift in the supernet but has them in a stand-alone network, and initial weights are PyTorch's.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from onepath.errors import ConfigurationError
from onepath.nn import ChoiceBlock, ElasticBatchNorm2d
from onepath.space import Architecture, Choice, Option
from onepath.spaces.small_inputs import check_width, kept_strides, scaled

OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
"""The operations of an edge, in the order of the released code."""
NUM_NODES = 4
EDGES = tuple((source, target) for target in range(1, NUM_NODES) for source in range(target))
"""The edges as (source, target), in the order of the published strings; node 0 is the input, node 3 the output."""
STEM_CHANNELS = 16
NUM_STAGES = 3
# How many strides an input allows -> which of the two reductions keep theirs.
KEPT_STRIDES: Mapping[int, Sequence[int]] = {2: (0, 1), 1: (1,), 0: ()}


class NasBench201Notation:
    """The benchmark's notation: `|op~0|+|op~0|op~1|+|op~0|op~1|op~2|`, where `~0` is the node that an edge leaves."""

    def parse(self, text: str) -> Mapping[str, Option] | None:
        """Return the options (choice name -> option) of a string, or None for a text of another form.

        The operations are not checked: they may be any word.
        """
        pattern = "\\+".join(
            r"\|" + "".join(rf"(\w+)~{source}\|" for source in range(target))
            for target in range(1, NUM_NODES)
        )
        found = re.fullmatch(pattern, text)
        return dict(zip(map(edge_name, EDGES), found.groups(), strict=True)) if found else None

    def format(self, options: Mapping[str, Option]) -> str:
        """Return the string of these options (choice name -> option)."""
        return "+".join(
            "|" + "".join(f"{options[edge_name((source, target))]}~{source}|" for source in range(target))
            for target in range(1, NUM_NODES)
        )

    def canonical(self, options: Mapping[str, Option]) -> str:
        """Return a text that equal cells share, see `canonical_cell`."""
        return canonical_cell(options)

    def is_connected(self, options: Mapping[str, Option]) -> bool:
        """Tell whether the cell's output depends on its input, see the function `is_connected`."""
        return is_connected(options)


def edge_name(edge: tuple[int, int]) -> str:
    """Return the name of an edge's choice: "0->1" decides the operation from node 0 to node 1."""
    return f"{edge[0]}->{edge[1]}"


def is_connected(architecture: Architecture | Mapping[str, Option]) -> bool:
    """Tell whether the cell's output depends on its input; of 15,625 cells, 341 are not connected."""
    reached = {0}
    for source, target in EDGES:
        if source in reached and architecture[edge_name((source, target))] != "none":
            reached.add(target)
    return NUM_NODES - 1 in reached


def canonical_cell(architecture: Architecture | Mapping[str, Option]) -> str:
    """Return a text that two cells share only if they compute the same, up to the order of sums and unused weights.

    In the text, a skip connection is its source, an edge without operation is `#`, and the terms of a node are sorted.
    A node whose edges are all dead is not simplified further, as in the benchmark's own count. There are 6,466 texts.
    The benchmark trained every cell by itself, so cells with equal texts have different results.
    """
    nodes = ["0"]
    for target in range(1, NUM_NODES):
        terms = []
        for source in range(target):
            operation = str(architecture[edge_name((source, target))])
            nothing = operation == "none" or nodes[source] == "#"
            passed = operation == "skip_connect"
            terms.append("#" if nothing else nodes[source] if passed else f"({nodes[source]})@{operation}")
        nodes.append("+".join(sorted(terms)))
    return nodes[-1]


class Zero(nn.Module):
    """The operation `none`: it returns zeros of the input's shape."""

    def forward(self, x: Tensor) -> Tensor:
        """Return zeros of the input's shape."""
        return torch.zeros_like(x)


class Cell(nn.Module):
    """A cell of four nodes; each node is the sum of the chosen operations on all nodes before it.

    Args:
        channels: channels of every node.
        choices: choice of each edge's operation, in the order of `EDGES`; shared by all cells of a network.

    Shapes: (B, channels, H, W) to the same shape.
    """

    def __init__(self, channels: int, choices: Sequence[Choice]) -> None:
        super().__init__()
        self.edges = nn.ModuleList(ChoiceBlock(_operations(channels), choice) for choice in choices)

    def forward(self, x: Tensor) -> Tensor:
        """Return the last node, (B, channels, H, W)."""
        nodes = [x]
        edges = iter(self.edges)
        for _, incoming in itertools.groupby(EDGES, key=lambda edge: edge[1]):
            terms = [next(edges)(nodes[source]) for source, _ in incoming]
            total = terms[0]
            for term in terms[1:]:
                total = total + term
            nodes.append(total)
        return nodes[-1]


class ResidualReduction(nn.Module):
    """A block between two stages: two 3x3 convolutions, plus a shortcut of average pooling and a 1x1 convolution.

    Args:
        in_channels, out_channels: channels of the input and of the output.
        stride: stride of the first convolution and of the pooling.

    Shapes: (B, in_channels, H, W) to (B, out_channels, ceil(H / stride), ceil(W / stride)).
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.main = nn.Sequential(
            *_convolution(in_channels, out_channels, 3, stride), *_convolution(out_channels, out_channels, 3)
        )
        self.shortcut = nn.Sequential(
            nn.AvgPool2d(stride, stride, ceil_mode=True), nn.Conv2d(in_channels, out_channels, 1, bias=False)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the sum of both branches."""
        total: Tensor = self.main(x) + self.shortcut(x)
        return total


class NasBench201(nn.Module):
    """The supernet module: a stem, three stages of equal cells with reductions between them, and a head.

    Args:
        num_classes: classes that the classifier tells apart.
        input_size: height and width of the input in pixels; from 13 pixels on, both reductions halve the map.
        in_channels: channels of the input.
        width: factor on the 16, 32 and 64 channels of the stages, rounded to multiples of 4; 1 is the paper's network.
        num_cells: cells in each stage; 5 is the paper's network.

    Attributes:
        notation: the benchmark's own notation, `|nor_conv_3x3~0|+...`.
        start: the path for a training that begins with one path: all edges are 3x3 convolutions.

    Shapes: (B, in_channels, input_size, input_size) to (B, num_classes).

    Raises:
        ConfigurationError: an input below 4 pixels, a width out of range, or fewer than 1 cell per stage.
    """

    def __init__(
        self,
        num_classes: int = 10,
        input_size: int = 32,
        in_channels: int = 3,
        width: float = 1.0,
        num_cells: int = 5,
    ) -> None:
        super().__init__()
        check_width(width)
        if num_cells < 1:
            raise ConfigurationError(
                f"num_cells >= 1 must hold, but got num_cells={num_cells}; the paper has 5 in each stage"
            )
        self.notation = NasBench201Notation()
        self.start = self.notation.format(dict.fromkeys(map(edge_name, EDGES), "nor_conv_3x3"))
        choices = [Choice(edge_name(edge), OPERATIONS) for edge in EDGES]
        channels = [scaled(STEM_CHANNELS * 2**stage, width) for stage in range(NUM_STAGES)]
        self.stem = nn.Sequential(
            nn.Conv2d(in_channels, channels[0], 3, padding=1, bias=False), nn.BatchNorm2d(channels[0])
        )
        self.stages = nn.ModuleList(
            nn.Sequential(*(Cell(number, choices) for _ in range(num_cells))) for number in channels
        )
        self.reductions = nn.ModuleList(
            ResidualReduction(before, after, stride)
            for (before, after), stride in zip(
                itertools.pairwise(channels), kept_strides(input_size, KEPT_STRIDES), strict=True
            )
        )
        self.head = nn.Sequential(
            nn.BatchNorm2d(channels[-1]), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1), nn.Flatten()
        )
        self.classifier = nn.Linear(channels[-1], num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits (B, num_classes) of images (B, in_channels, H, W)."""
        x = self.stages[0](self.stem(x))
        for reduction, stage in zip(self.reductions, self.stages[1:], strict=True):
            x = stage(reduction(x))
        logits: Tensor = self.classifier(self.head(x))
        return logits


def _operations(channels: int) -> dict[str, nn.Module]:
    """Return the five candidates of an edge; no activation is in place, because several edges share an input."""
    modules = (
        Zero(),
        nn.Identity(),
        nn.Sequential(*_convolution(channels, channels, 1, affine=False)),
        nn.Sequential(*_convolution(channels, channels, 3, affine=False)),
        nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False),
    )
    return dict(zip(OPERATIONS, modules, strict=True))


def _convolution(
    in_channels: int, out_channels: int, kernel_size: int, stride: int = 1, *, affine: bool = True
) -> tuple[nn.Module, nn.Module, nn.Module]:
    """Return ReLU, convolution and normalisation; in a stand-alone network the latter always has scale and shift."""
    return (
        nn.ReLU(),
        nn.Conv2d(in_channels, out_channels, kernel_size, stride, kernel_size // 2, bias=False),
        ElasticBatchNorm2d(out_channels, affine=affine, standalone_affine=True),
    )
