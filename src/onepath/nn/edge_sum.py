"""A node of a cell: the sum of some of its possible incoming edges."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from onepath.errors import BindingError
from onepath.nn.gates import Gate
from onepath.nn.selection import Selection
from onepath.space import Choice


def edge_options(num_edges: int, num_kept: int = 2) -> tuple[str, ...]:
    """Return the options of a node's choice between sets of edges, in lexicographic order.

    An option is the rising numbers of the kept edges, such as "0,2".

    Args:
        num_edges: number of possible edges.
        num_kept: number of edges to keep; all edges if there are fewer.
    """
    return tuple(
        ",".join(map(str, kept))
        for kept in itertools.combinations(range(num_edges), min(num_kept, num_edges))
    )


class EdgeSum(nn.Module):
    """A node that chooses a set of its edges; the output is the sum of the kept edges.

    With gates, several sets are active, each with a weight. The weight of an edge is then the sum of the weights of all
    active sets that contain it. Every edge is computed at most once, and an edge in no active set is not computed.

    Args:
        edges: one module per earlier state; all return the same shape.
        choice: choice between the sets of edges, with the options of `edge_options`; None keeps all edges.

    Shapes: one state per edge, of any shape that the edge takes, to the shape that the edges return.

    Raises:
        BindingError: there is no edge, or the choice has other options.
    """

    def __init__(self, edges: Sequence[nn.Module], choice: Choice | None = None) -> None:
        super().__init__()
        num_kept = len(edges) if choice is None else str(choice.options[0]).count(",") + 1
        expected = edge_options(len(edges), num_kept)
        if not edges or (choice is not None and choice.options != expected):
            raise BindingError(
                f"EdgeSum: a node needs edges and a choice between sets of them, but got {len(edges)} edges and "
                f"{choice}; use edge_options(num_edges, num_kept) as the options"
            )
        if choice is not None:
            choice.take_role("operation")
        self.edges = nn.ModuleList(edges)
        self.choice = choice
        self.sets = tuple(tuple(map(int, option.split(","))) for option in expected)
        self.path = ""
        self.selection = Selection()

    @property
    def gate_names(self) -> tuple[str, ...]:
        """The options of the choice, in their order; empty if all edges are kept."""
        return () if self.choice is None else tuple(map(str, self.choice.options))

    def own_choices(self) -> tuple[Choice, ...]:
        """Return the choice between the sets of edges; empty if all edges are kept."""
        return () if self.choice is None else (self.choice,)

    def options_with(self, edge: int) -> list[str]:
        """Return the options that keep the edge with this number."""
        return [name for name, kept in zip(self.gate_names, self.sets, strict=True) if edge in kept]

    def relaxed_gate(self) -> Gate:
        """Return the gate under which every edge runs with weight 1: all sets are active with equal weights."""
        num_sets_with_edge = len(self.options_with(0))
        return Gate(tuple(range(len(self.sets))), torch.full((len(self.sets),), 1 / num_sets_with_edge))

    def forward(self, states: Sequence[Tensor]) -> Tensor:
        """Return the sum of the kept edges' outputs.

        Args:
            states: one state per edge, in the order of the edges.
        """
        total: Tensor | None = None
        for index, weight in self._kept().items():
            output: Tensor = self.edges[index](states[index])
            output = output if weight is None else weight * output
            total = output if total is None else total + output
        assert total is not None
        return total

    def _kept(self) -> dict[int, Tensor | float | None]:
        """Return edge -> its weight, where None is weight 1; edges rising."""
        if self.choice is None:
            return dict.fromkeys(range(len(self.edges)))
        gate = self.selection.gates.get(self.choice)
        if gate is None:
            option = self.selection.options.get(self.choice, self.choice.options[0])
            return dict.fromkeys(self.sets[self.choice.index(option)])
        weights = [1.0] * len(gate.active) if gate.weights is None else gate.weights
        if not isinstance(weights, list) and not weights.requires_grad:
            weights = weights.tolist()
        totals: dict[int, Tensor | float] = {}
        for index, weight in zip(gate.active, weights, strict=True):
            for edge in self.sets[index]:
                totals[edge] = totals[edge] + weight if edge in totals else weight
        return {
            edge: None if isinstance(total, float) and math.isclose(total, 1, rel_tol=1e-5) else total
            for edge, total in sorted(totals.items())
        }

    def extracted(self, *, inherit: bool) -> nn.Module:
        """Return a `FixedSum` of the kept edges."""
        del inherit
        return FixedSum({index: self.edges[index] for index in self._kept()})


class FixedSum(nn.Module):
    """A node without a choice: the sum of fixed edges from given states.

    Args:
        edges: number of the state that an edge leaves -> module of the edge.

    Attributes:
        inputs: numbers of the states that the edges leave.
        drop_path: probability that an example loses an edge in training; kept edges are divided by `1 - drop_path`.
            Edges that are an `nn.Identity` are never dropped.
    """

    def __init__(self, edges: dict[int, nn.Module]) -> None:
        super().__init__()
        self.inputs = tuple(edges)
        for index, edge in edges.items():
            self.add_module(f"edge_{index}", edge)
        self.drop_path = 0.0

    def forward(self, states: Sequence[Tensor]) -> Tensor:
        """Return the sum of the edges' outputs.

        Args:
            states: all earlier states; only those in `inputs` are used.
        """
        total: Tensor | None = None
        for index, edge in zip(self.inputs, self.children(), strict=True):
            output: Tensor = edge(states[index])
            if self.training and self.drop_path > 0 and not isinstance(edge, nn.Identity):
                output = dropped(output, self.drop_path)
            total = output if total is None else total + output
        assert total is not None
        return total


def dropped(x: Tensor, probability: float) -> Tensor:
    """Return `x` (B, ...) with whole examples set to 0 at random, and the others divided by `1 - probability`.

    Args:
        x: batch; not changed.
        probability: probability that an example is set to 0, below 1.
    """
    kept = x.new_empty((len(x), *[1] * (x.dim() - 1))).bernoulli_(1 - probability)
    return x / (1 - probability) * kept
