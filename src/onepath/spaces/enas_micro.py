"""ENAS's micro space: the cells whose nodes choose their inputs and operations.

Source: Pham et al., "Efficient Neural Architecture Search via Parameter Sharing", ICML 2018 (arXiv 1802.03268), and the
search network of the released code (`micro_child.py`). Differs from it: the inputs of every cell are the outputs of the
two cells before it, as in the released stand-alone networks, where the released search feeds a reduction cell two
halved copies of one cell and the cell after it one of these copies; inputs too small for both reductions keep one or
none of the strides; there is no auxiliary classifier, dropout or drop path; initial weights are PyTorch's.

A stand-alone network is the path of the search network. The released stand-alone networks have more cells and filters,
strides of 2 inside the reduction cell, a 1x1 convolution of every second input, and none after the loose ends.
"""

from __future__ import annotations

import functools
import itertools
import math
from typing import cast

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from onepath.counting import CostTable, CostTerm
from onepath.errors import ConfigurationError
from onepath.space import Option
from onepath.spaces.darts import KEPT_STRIDES, STEM_MULTIPLIER, reductions
from onepath.spaces.darts_genotype import CELLS
from onepath.spaces.enas_cell import Cell, calibration_cost, operations
from onepath.spaces.enas_genotype import (
    NODES,
    NUM_STATES,
    OPERATIONS,
    SIDES,
    EnasGenotype,
    cell_choices,
    input_name,
    operation_name,
)
from onepath.spaces.layer_cost import COUNTED, fixed_cost
from onepath.spaces.small_inputs import check_width, kept_strides, scaled


class EnasMicro(nn.Module):
    """The supernet module: a stem, cells of which two reduce, and a classifier.

    Args:
        num_classes: classes that the classifier tells apart.
        input_size: height and width of the input in pixels; from 13 pixels on, both reduction cells halve the map.
        in_channels: channels of the input.
        channels: channels of the first cells; each reduction doubles the number. 20 in the released search, 36 in
            its final network for CIFAR-10.
        cells: number of cells; 6 normal and 2 reduction cells in the released search, 15 and 2 in its final
            network.
        width: factor on `channels`, whose product is rounded to a multiple of 4; 1 leaves `channels` as it is.

    Attributes:
        notation: genotypes, and the integers of the released code; see `EnasGenotype`.
        start: genotype of the path for a training that begins with one path: every node adds separable convolutions of
            the cell's two inputs.

    Shapes: (B, in_channels, input_size, input_size) to (B, num_classes).

    Raises:
        ConfigurationError: an input below 4 pixels, fewer than 3 cells, odd channels, or a width out of range.
    """

    def __init__(
        self,
        num_classes: int = 10,
        input_size: int = 32,
        in_channels: int = 3,
        channels: int = 20,
        cells: int = 8,
        width: float = 1.0,
    ) -> None:
        super().__init__()
        if cells < 3 or channels < 2 or channels % 2:
            raise ConfigurationError(
                f"`cells >= 3` and `channels` even and >= 2 must hold, but got cells={cells}, channels={channels}; "
                "change them; the released search has 8 cells and 20 channels"
            )
        check_width(width)
        own = channels if width == 1 else scaled(channels, width)
        self.notation = EnasGenotype()
        self.start = self.notation.format(_start())
        before = previous = STEM_MULTIPLIER * own
        self.stem = nn.Sequential(
            nn.Conv2d(in_channels, previous, 3, padding=1, bias=False), nn.BatchNorm2d(previous)
        )
        strides = dict(zip(reductions(cells), kept_strides(input_size, KEPT_STRIDES), strict=True))
        choices = {kind: cell_choices(kind) for kind in CELLS}
        self.cells = nn.ModuleList()
        is_before_larger = False
        for index in range(cells):
            kind = "reduce" if index in strides else "normal"
            own *= 2 if kind == "reduce" else 1
            halves = strides.get(index, 1) == 2
            halvings = (is_before_larger + halves, int(halves))
            self.cells.append(Cell(kind, before, previous, own, halvings=halvings, choices=choices[kind]))
            before, previous, is_before_larger = previous, own, halves
        self.pool = nn.Sequential(nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.classifier = nn.Linear(previous, num_classes, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits (B, num_classes) of images (B, in_channels, H, W)."""
        before = previous = self.stem(x)
        for cell in self.cells:
            before, previous = previous, cell(before, previous)
        logits: Tensor = self.classifier(self.pool(previous))
        return logits

    def cost_table(self, input_shape: tuple[int, ...], kind: str) -> CostTable | None:
        """Return the additive costs of all architectures in closed form, or None for a cost that is not known here.

        All operations of a cell have maps of the same size, so an operation costs the same on every state. How many
        loose ends a cell has depends on all of its inputs, which make one term.

        Args:
            input_shape: shape of one example, (in_channels, H, W).
            kind: name of the cost.
        """
        if kind not in COUNTED:
            return None
        before = previous = (input_shape[1], input_shape[2])
        constant = fixed_cost(self.stem, math.prod(previous), kind) + fixed_cost(self.classifier, 1, kind)
        of_operation = {cell: [0] * len(OPERATIONS) for cell in CELLS}
        of_state = dict.fromkeys(CELLS, 0)
        for module in self.cells:
            cell = cast(Cell, module)
            first, _ = calibration_cost(cell.first, before, kind)
            second, size = calibration_cost(cell.second, previous, kind)
            constant += first + second + cell.output.constant_cost(kind)
            of_state[cell.kind] += cell.output.state_cost(math.prod(size), kind)
            for index, operation in enumerate(operations(cell.output.channels).values()):
                of_operation[cell.kind][index] += fixed_cost(operation, math.prod(size), kind)
            before, previous = previous, size
        terms = []
        for cell_kind, node, side in itertools.product(CELLS, NODES, SIDES):
            terms.append(CostTerm(operation_name(cell_kind, node, side), of_operation[cell_kind]))
        for cell_kind in CELLS:
            names = [input_name(cell_kind, node, side) for node in NODES for side in SIDES]
            terms.append(CostTerm(names, of_state[cell_kind] * _num_loose_ends()))
        return CostTable(constant, terms, unit=kind)


@functools.cache
def _num_loose_ends() -> npt.NDArray[np.int64]:
    """Return the number of loose ends for all joint options of a cell's inputs, one axis per input."""
    sizes = [node for node in NODES for _ in SIDES]
    total = np.zeros(sizes, dtype=np.int64)
    for state in range(NUM_STATES):
        total += functools.reduce(np.multiply.outer, [np.arange(size) != state for size in sizes])
    return total


def _start() -> dict[str, Option]:
    """Return the options of separable 3x3 convolutions of both inputs into every node."""
    options: dict[str, Option] = {}
    for cell, node, (source, side) in itertools.product(CELLS, NODES, enumerate(SIDES)):
        options[input_name(cell, node, side)] = str(source)
        options[operation_name(cell, node, side)] = OPERATIONS[0]
    return options
