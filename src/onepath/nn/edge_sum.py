"""A node of a cell: the sum of some of the edges that could enter it."""

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
    """The options of a node's choice: the kept edges' numbers, rising, such as "0,2"; in lexicographic order."""
    return tuple(
        ",".join(map(str, kept))
        for kept in itertools.combinations(range(num_edges), min(num_kept, num_edges))
    )


class EdgeSum(nn.Module):
    """The gated sum, over the sets of edges that a node may keep, of the sums of their edges.

    An edge of no active set is not computed, and one of several active sets is computed once: its weight is the sum
    of the sets' weights.

    Args:
        edges: one module per earlier state; all return the same shape.
        choice: between the sets of edges, with the options of `edge_options`; None keeps all edges.

    Shapes: as many states as edges, each (B, C, H, W) or anything its edge takes, to what the edges return.

    Raises:
        BindingError: no edge, or a choice with other options.
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
        """The options of the choice."""
        return () if self.choice is None else tuple(map(str, self.choice.options))

    def own_choices(self) -> tuple[Choice, ...]:
        """The choice between the sets of edges."""
        return () if self.choice is None else (self.choice,)

    def options_with(self, edge: int) -> list[str]:
        """The options that keep an edge."""
        return [name for name, kept in zip(self.gate_names, self.sets, strict=True) if edge in kept]

    def relaxed_gate(self) -> Gate:
        """The gate under which every edge runs with weight 1: all sets, each with an equal weight."""
        num_sets_with_edge = len(self.options_with(0))
        return Gate(tuple(range(len(self.sets))), torch.full((len(self.sets),), 1 / num_sets_with_edge))

    def forward(self, states: Sequence[Tensor]) -> Tensor:
        """Sum of the kept edges' outputs; one state per edge."""
        total: Tensor | None = None
        for index, weight in self._kept().items():
            output: Tensor = self.edges[index](states[index])
            output = output if weight is None else weight * output
            total = output if total is None else total + output
        assert total is not None
        return total

    def _kept(self) -> dict[int, Tensor | float | None]:
        """Edge -> its weight, None for 1; rising."""
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
        """The sum of the kept edges alone."""
        del inherit
        return FixedSum({index: self.edges[index] for index in self._kept()})


class FixedSum(nn.Module):
    """The sum of edges that leave given states.

    Args:
        edges: number of the state that it leaves -> module.

    Attributes:
        drop_path: probability with which an example loses an edge in training, unless the edge is an identity; what
            is left is scaled up as much.
    """

    def __init__(self, edges: dict[int, nn.Module]) -> None:
        super().__init__()
        self.inputs = tuple(edges)
        for index, edge in edges.items():
            self.add_module(f"edge_{index}", edge)
        self.drop_path = 0.0

    def forward(self, states: Sequence[Tensor]) -> Tensor:
        """Sum over the edges."""
        total: Tensor | None = None
        for index, edge in zip(self.inputs, self.children(), strict=True):
            output: Tensor = edge(states[index])
            if self.training and self.drop_path > 0 and not isinstance(edge, nn.Identity):
                output = dropped(output, self.drop_path)
            total = output if total is None else total + output
        assert total is not None
        return total


def dropped(x: Tensor, probability: float) -> Tensor:
    """(B, ...) with whole examples set to 0 at a probability below 1, and the others divided by its complement."""
    kept = x.new_empty((len(x), *[1] * (x.dim() - 1))).bernoulli_(1 - probability)
    return x / (1 - probability) * kept
