"""A search space as a layered graph whose paths are exactly its distinct architectures."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from onepath.errors import SpaceError

if TYPE_CHECKING:
    from onepath.space.choice import Choice
    from onepath.space.conditions import Conditions


Ints = npt.NDArray[np.int64]


class Decided(Protocol):
    """The part of a search space that `build_layers` reads."""

    choices: tuple[Choice, ...]
    names: tuple[str, ...]
    conditions: Conditions

    @property
    def num_choices(self) -> int:
        """Number of choices."""


class Terms(Protocol):
    """A cost that is a sum of terms, each over a few choices; `CostTable` is such a cost."""

    def columns(self, space: Any) -> Sequence[tuple[int, ...]]:
        """Return, for each term, the columns of its choices in the space."""

    @property
    def term_ticks(self) -> Sequence[Ints]:
        """For each term, the cost of every joint option in whole ticks; one axis per choice of the term."""


Term = tuple[tuple[int, ...], Ints]  # columns and ticks
_Row = list[tuple[tuple[int, ...], int, int]]  # option indices, cost and following state of every edge

_MOST_EDGES = 2**14


@dataclass(frozen=True)
class Layer:
    """The decision of one or a few choices; each edge leads from a state here to a state of the next layer.

    A state is what later layers must know about earlier choices: the options of the choices that a later condition or a
    later term still needs. The first layer has one state, and the last layer leads to one. There are S states, and the
    rows of all states are padded to the same number of edges E.

    Attributes:
        columns: columns of the g choices that this layer decides.
        options: (S, E, g) option indices; an inactive choice has 0.
        costs: (S, E) sum, in ticks, of the terms whose last choice this layer decides.
        following: (S, E) state of the next layer that the edge leads to.
        num_edges: (S,) number of edges that are not padding; they come first.
    """

    columns: tuple[int, ...]
    options: Ints
    costs: Ints
    following: Ints
    num_edges: Ints

    @cached_property
    def is_edge(self) -> npt.NDArray[np.bool_]:
        """Which edges are not padding, (S, E)."""
        result: npt.NDArray[np.bool_] = np.arange(self.costs.shape[1]) < self.num_edges[:, None]
        return result

    @cached_property
    def is_single(self) -> bool:
        """Whether this layer and the next one have a single state each."""
        return len(self.num_edges) == 1 and not self.following.any()


def build_layers(space: Decided, table: Terms | None = None) -> list[Layer]:
    """Return the layers of a space; each path through them is one distinct architecture.

    Choices are decided in an order that keeps few of them open at once, parents before children. The sum of the costs
    along a path is the cost of its architecture in ticks, without the table's constant.

    Args:
        space: search space to lay out.
        table: cost whose terms give the edges their costs; None gives all edges cost 0.

    Raises:
        SpaceError: terms and conditions tie so many choices together that their joint options cannot be
            listed.
    """
    terms = [] if table is None else list(zip(table.columns(space), table.term_ticks, strict=True))
    order = decision_order(space, terms)
    with contextlib.suppress(SpaceError):
        return _layers_in(order, space, terms)
    with contextlib.suppress(SpaceError):
        # This order is slower for narrow windows, but has fewer joint options if ties form a chain of large groups.
        return _layers_in(closing_order(space, terms), space, terms)
    return _layers_in(order, space, terms, joins=True)


def _layers_in(
    order: list[int], space: Decided, terms: Sequence[Term], *, joins: bool = False
) -> list[Layer]:
    """Return the layers that decide the choices in this order.

    Args:
        order: columns, parents before children.
        space: search space to lay out.
        terms: terms of the cost.
        joins: whether states that lead to equal costs are one state, see `_future`. A term over many choices then needs
            few states if little about them matters, such as the set of options that any of them takes.

    Raises:
        SpaceError: a layer has too many edges.
    """
    position = {column: step for step, column in enumerate(order)}
    completed: list[list[Term]] = [[] for _ in order]
    for columns, ticks in terms:
        completed[max(position[column] for column in columns)].append((columns, ticks))
    last_use, last_condition = last_uses(order, space, terms), last_uses(order, space, ())
    layers: list[Layer] = []
    open_columns: list[int] = []
    states: list[tuple[int, ...]] = [()]
    for step, column in enumerate(order):
        still_open = [other for other in [*open_columns, column] if last_use[other] > step]
        needed = [other for other in still_open if last_condition[other] > step]
        open_terms = [term for later in completed[step + 1 :] for term in later] if joins else []
        following: dict[object, int] = {}
        states_after: list[tuple[int, ...]] = []
        rows: list[_Row] = []
        num_edges = 0
        for state in states:
            known = dict(zip(open_columns, state, strict=True))
            active = space.conditions.is_active(column, known.__getitem__)
            row: _Row = []
            for index in range(space.choices[column].num_options) if active else (-1,):
                known[column] = index
                cost = sum(joint_cost(columns, ticks, known) for columns, ticks in completed[step])
                after = tuple(known[other] for other in still_open)
                target = following.setdefault(
                    _future(known, needed, open_terms) if joins else after, len(following)
                )
                if target == len(states_after):
                    states_after.append(after)
                row.append(((max(index, 0),), cost, target))
            rows.append(row)
            num_edges += len(row)
            if num_edges > _MOST_EDGES:
                raise SpaceError(
                    f"choices tied by terms or conditions may have {_MOST_EDGES} joint options at a"
                    " time; got more for"
                    f" {[space.names[other] for other in open_columns][:6]}; use terms over fewer choices"
                )
        _append(layers, _layer((column,), rows))
        states, open_columns = states_after, still_open
    return layers


def _future(known: Mapping[int, int], needed: Sequence[int], open_terms: Sequence[Term]) -> object:
    """Return a key that is equal for states from which the same ways go on, at the same costs.

    Args:
        known: column -> option index of the decided choices that anything later needs, negative for an inactive one.
        needed: those of these columns that later conditions need.
        open_terms: terms that later layers complete.

    Returns:
        The options of `needed`, and of each term the costs over its undecided choices.
    """
    left = []
    for columns, ticks in open_terms:
        index = tuple(known.get(column, slice(None)) for column in columns)
        is_off = any(known.get(column, 0) < 0 for column in columns)
        left.append(b"" if is_off else ticks[index].tobytes())
    return tuple(known[column] for column in needed), tuple(left)


def num_paths(layers: Sequence[Layer]) -> list[list[int]]:
    """Return the exact number of paths to the end from every state of every layer; the last entry is [1], the end."""
    counts = [[1]]
    for layer in reversed(layers):
        after = counts[-1]
        rows = zip(layer.following.tolist(), layer.num_edges.tolist(), strict=True)
        counts.append([sum(after[target] for target in row[:num]) for row, num in rows])
    return counts[::-1]


def suffix_extremes(layers: Sequence[Layer]) -> list[tuple[Ints, Ints]]:
    """Return the smallest and largest sum of costs to the end, from every state of every layer.

    Returns:
        One pair of (S,) vectors per layer, in ticks, and a last pair of zeros for the end.
    """
    bounds = [(np.zeros(1, dtype=np.int64), np.zeros(1, dtype=np.int64))]
    limit = np.iinfo(np.int64).max
    for layer in reversed(layers):
        lowest, highest = bounds[-1]
        low = np.where(layer.is_edge, layer.costs + lowest[layer.following], limit).min(axis=1)
        high = np.where(layer.is_edge, layer.costs + highest[layer.following], -limit).max(axis=1)
        bounds.append((low, high))
    return bounds[::-1]


def extremes(layers: Sequence[Layer]) -> tuple[int, int]:
    """Return the smallest and the largest sum of costs over all paths, in ticks."""
    low, high = suffix_extremes(layers)[0]
    return int(low[0]), int(high[0])


def write_options(
    layers: Sequence[Layer], edges: Sequence[Ints], out: npt.NDArray[Any], starts: Ints | None = None
) -> None:
    """Write the option indices of paths into the rows of `out`, in place.

    Args:
        layers: layers that the paths go through.
        edges: per layer, the number of the edge that each path takes, (paths,).
        out: (paths, num_choices) option indices; columns that these layers do not decide stay as they are.
        starts: (paths,) states of the first layer where the paths start; None: all start in state 0.
    """
    states = np.zeros(len(out), dtype=np.int64) if starts is None else starts
    options = []
    for layer, taken in zip(layers, edges, strict=True):
        edge = states * layer.costs.shape[1] + taken
        options.append(layer.options.reshape(-1, len(layer.columns)).take(edge, axis=0))
        states = layer.following.ravel().take(edge)
    if options:
        out[:, [column for layer in layers for column in layer.columns]] = np.concatenate(options, axis=1)


def last_uses(order: Sequence[int], space: Decided, terms: Sequence[Term]) -> dict[int, int]:
    """Return column -> the last step of `order` at which a condition or a term needs the option of that column."""
    position = {column: step for step, column in enumerate(order)}
    last_use = dict(position)
    ties = [(space.conditions.parents(column), position[column]) for column in order]
    ties += [(set(columns), max(position[column] for column in columns)) for columns, _ in terms]
    for needed, step in ties:
        last_use |= {column: max(last_use[column], step) for column in needed}
    return last_use


def joint_cost(columns: tuple[int, ...], ticks: Ints, known: Mapping[int, int]) -> int:
    """Return the ticks of one term; 0 if any of its choices is inactive.

    Args:
        columns: columns of the term's choices.
        ticks: cost of every joint option of these choices.
        known: column -> option index, negative for an inactive choice.
    """
    indices = tuple(known[column] for column in columns)
    return 0 if min(indices) < 0 else int(ticks[indices])


def decision_order(space: Decided, terms: Sequence[Term]) -> list[int]:
    """Return an order of the columns, with parents before children and few joint options open at once.

    Choices that terms or conditions tie together form a group. Groups follow each other, and the group that changes the
    cost most comes first, because the last layers are listed sum by sum and a list of close sums serves narrow windows
    best. Groups without cost come before all others.
    """
    num_options = [choice.num_options for choice in space.choices]
    ties = [set(columns) for columns, _ in terms]
    ties += [{column, *space.conditions.parents(column)} for column in space.conditions.conditional]
    spread = [0] * len(num_options)
    for columns, ticks in terms:
        spread[columns[0]] += int(np.ptp(ticks))
    groups = _connected(len(num_options), ties)
    groups.sort(key=lambda group: (-(sum(spread[column] for column in group) or math.inf), min(group)))
    order: list[int] = []
    for group in groups:
        tied = {column: set().union(*(tie for tie in ties if column in tie)) for column in group}
        remaining, open_columns = set(group), set[int]()
        while remaining:
            ready = [
                column for column in sorted(remaining) if not space.conditions.parents(column) & remaining
            ]
            still_open = {
                column: {other for other in open_columns | {column} if tied[other] & (remaining - {column})}
                for column in ready
            }
            chosen = min(
                ready, key=lambda column: math.prod(num_options[other] + 1 for other in still_open[column])
            )
            open_columns = still_open[chosen]
            remaining.remove(chosen)
            order.append(chosen)
    return order


def closing_order(space: Decided, terms: Sequence[Term]) -> list[int]:
    """Return an order of the columns, with parents before children, that closes one choice after the other.

    A choice is closed when all choices that a term or a condition ties to it are decided. At each step the choice is
    closed that can be closed with the fewest joint options open.
    """
    num_options = [choice.num_options for choice in space.choices]
    ties = [{*columns, *(p for c in columns for p in space.conditions.parents(c))} for columns, _ in terms]
    ties += [{column, *space.conditions.parents(column)} for column in space.conditions.conditional]
    tied = [{column}.union(*(tie for tie in ties if column in tie)) for column in range(len(num_options))]
    order: list[int] = []
    open_columns = set[int]()
    while left := set(range(len(num_options))).difference(order):
        undecided = left | {column for column in open_columns if tied[column] & left}
        chosen = min(
            sorted(undecided),
            key=lambda column: math.prod(num_options[other] for other in open_columns | tied[column]),
        )
        needed = tied[chosen] & left
        while needed:
            ready = [column for column in needed if not space.conditions.parents(column) & needed]
            column = min(ready, key=lambda column: (num_options[column], column))
            needed.remove(column)
            order.append(column)
        decided = set(order)
        open_columns = {column for column in decided if tied[column] - decided}
    return order


def _connected(num: int, ties: Sequence[set[int]]) -> list[set[int]]:
    """Return the groups of columns that the ties connect."""
    groups = [{column} for column in range(num)]
    for tie in ties:
        touched = [group for group in groups if group & tie]
        groups = [group for group in groups if not group & tie] + [set().union(*touched)]
    return groups


def _layer(columns: tuple[int, ...], rows: Sequence[_Row]) -> Layer:
    num_edges = np.array([len(row) for row in rows], dtype=np.int64)
    shape = (len(rows), int(num_edges.max()))
    options = np.zeros((*shape, len(columns)), dtype=np.int64)
    costs, following = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
    for state, row in enumerate(rows):
        for edge, (indices, cost, target) in enumerate(row):
            options[state, edge], costs[state, edge], following[state, edge] = indices, cost, target
    return Layer(columns, options, costs, following, num_edges)


def _append(layers: list[Layer], layer: Layer) -> None:
    """Add a layer; join it with the layer before if that adds no edges, as for a pair of tied choices."""
    if layers:
        before = layers[-1]
        joined = int((layer.num_edges[before.following] * before.is_edge).sum())
        if joined <= before.num_edges.sum() + layer.num_edges.sum():
            layers[-1] = _join(before, layer)
            return
    layers.append(layer)


def _join(first: Layer, second: Layer) -> Layer:
    rows: list[_Row] = []
    for state, num in enumerate(first.num_edges.tolist()):
        row: _Row = []
        for edge in range(num):
            middle = int(first.following[state, edge])
            for then in range(int(second.num_edges[middle])):
                indices = (*first.options[state, edge].tolist(), *second.options[middle, then].tolist())
                cost = int(first.costs[state, edge] + second.costs[middle, then])
                row.append((indices, cost, int(second.following[middle, then])))
        rows.append(row)
    return _layer(first.columns + second.columns, rows)
