"""The cell of ENAS's micro space, whose nodes choose their inputs and operations.

Source: Pham et al., "Efficient Neural Architecture Search via Parameter Sharing", ICML 2018 (arXiv 1802.03268), and the
search network of the released code (`micro_child.py`). Differs from it: see `EnasMicro`'s file.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from onepath.nn import ChoiceBlock
from onepath.space import Choice
from onepath.spaces.chosen_concat import ChosenConcat, active_options
from onepath.spaces.darts import convolution
from onepath.spaces.darts_operations import FactorizedReduce, separable
from onepath.spaces.enas_genotype import (
    NODES,
    NUM_STATES,
    OPERATIONS,
    SIDES,
    input_name,
    loose_ends,
    operation_name,
)
from onepath.spaces.layer_cost import fixed_cost, halved


class Edge(nn.Module):
    """An operation on one of the states that come to it.

    Args:
        source: number of the state.
        operation: module that takes the state.
    """

    def __init__(self, source: int, operation: nn.Module) -> None:
        super().__init__()
        self.source = source
        self.operation = operation

    def forward(self, *states: Tensor) -> Tensor:
        """Return the operation's output for the state."""
        output: Tensor = self.operation(states[self.source])
        return output


class Node(nn.Module):
    """The sum of two operations; the state that each one reads and the operation itself are choices.

    There are weights for every pair of a state and an operation, as in the released code.

    Args:
        cell: "normal" or "reduce".
        number: number of the node's state; it reads the states before.
        channels: channels of every state.
        choices: name -> choice, see `cell_choices`.

    Shapes: `number` states (B, channels, H, W) to (B, channels, H, W).
    """

    def __init__(self, cell: str, number: int, channels: int, choices: Mapping[str, Choice]) -> None:
        super().__init__()
        self.sides = nn.ModuleList(
            ChoiceBlock(
                {
                    str(source): Edge(
                        source, ChoiceBlock(operations(channels), choices[operation_name(cell, number, side)])
                    )
                    for source in range(number)
                },
                choices[input_name(cell, number, side)],
            )
            for side in SIDES
        )

    def forward(self, *states: Tensor) -> Tensor:
        """Return the sum of the two chosen operations on their chosen states."""
        first, second = self.sides
        total: Tensor = first(*states) + second(*states)
        return total


class LooseEnds(ChosenConcat):
    """The output of a cell: the states that no node reads, joined by a 1x1 convolution; see `ChosenConcat`.

    With gates, a state counts as read if an active candidate of any node reads it.

    Args:
        channels: channels of every state.
        choices: choices of the states that the operations of the cell read.
    """

    def __init__(self, channels: int, choices: Sequence[Choice]) -> None:
        super().__init__(NUM_STATES, channels, choices)

    def chosen(self) -> tuple[int, ...]:
        """Return the loose ends of the active path."""
        read = {int(option) for choice in self.choices for option in active_options(choice, self.selection)}
        return loose_ends(read)


class Cell(nn.Module):
    """A cell with two inputs and five nodes, whose loose ends are its output.

    Both inputs are first brought to the side and the channels of the cell; all operations have stride 1.

    Args:
        kind: "normal" or "reduce".
        before, previous: channels of the first and of the second input.
        channels: channels of every node and of the output.
        halvings: how often the first and the second input are halved.
        choices: name -> choice, see `cell_choices`; all cells of a kind share them.

    Shapes: (B, before, H, W) and (B, previous, H', W') to (B, channels, h, w), where h and w are the halved sides.
    """

    def __init__(
        self,
        kind: str,
        before: int,
        previous: int,
        channels: int,
        *,
        halvings: tuple[int, int],
        choices: Mapping[str, Choice],
    ) -> None:
        super().__init__()
        self.kind = kind
        self.first = _calibration(before, channels, halvings[0], nn.ReLU())
        # The released code halves the second input without an activation.
        self.second = _calibration(previous, channels, halvings[1], nn.Identity())
        self.nodes = nn.ModuleList(Node(kind, number, channels, choices) for number in NODES)
        inputs = [choices[input_name(kind, node, side)] for node in NODES for side in SIDES]
        self.output = LooseEnds(channels, inputs)

    def forward(self, before: Tensor, previous: Tensor) -> Tensor:
        """Return the joined loose ends."""
        states: list[Tensor] = [self.first(before), self.second(previous)]
        for node in self.nodes:
            states.append(node(*states))
        output: Tensor = self.output(*states)
        return output


def operations(channels: int) -> dict[str, nn.Module]:
    """Return the five candidates of an edge, name -> module; all keep the shape (B, channels, H, W)."""
    modules = (
        separable(channels, 3, 1, nn.ReLU(), affine=True),
        separable(channels, 5, 1, nn.ReLU(), affine=True),
        nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False),
        nn.MaxPool2d(3, stride=1, padding=1),
        nn.Identity(),
    )
    return dict(zip(OPERATIONS, modules, strict=True))


def calibration_cost(
    calibration: nn.Sequential, size: tuple[int, int], kind: str
) -> tuple[int, tuple[int, int]]:
    """Return the cost of a calibration on a map of this size, and the size after it."""
    cost = 0
    for layer in calibration:
        size = halved(size) if isinstance(layer, FactorizedReduce) else size
        cost += fixed_cost(layer, math.prod(size), kind)
    return cost, size


def _calibration(in_channels: int, out_channels: int, halvings: int, relu: nn.Module) -> nn.Sequential:
    """Return what brings an input to the channels and the side of a cell; empty if it has both."""
    if halvings == 0:
        layers = [] if in_channels == out_channels else [convolution(in_channels, out_channels, affine=True)]
        return nn.Sequential(*layers)
    further = (
        FactorizedReduce(out_channels, out_channels, nn.ReLU(), affine=True) for _ in range(halvings - 1)
    )
    return nn.Sequential(FactorizedReduce(in_channels, out_channels, relu, affine=True), *further)
