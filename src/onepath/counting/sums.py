"""Sums of costs along the paths of a layered graph, sorted for binary search."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from onepath.errors import SpaceError
from onepath.space.layers import Layer, write_options

Ints = npt.NDArray[np.int64]


class SortedSums:
    """Sums of paths from (or to) the states of one layer, sorted by state and then by sum.

    An entry is stored as one key, `state * stride + sum`, so that one binary search serves many states at once.

    Args:
        states: (n,) state of each entry.
        sums: (n,) sum of each entry.
        values: (n,) value of each entry, such as the code of a path or a number of paths.

    Attributes:
        num_states: the highest state plus 1.
        values: value of every entry, in the sorted order.

    Raises:
        SpaceError: the keys could reach 2^62.
    """

    def __init__(self, states: Ints, sums: Ints, values: npt.NDArray[Any]) -> None:
        self._lowest = int(sums.min())
        self._stride = int(sums.max()) - self._lowest + 3
        self.num_states = int(states.max()) + 1
        if self.num_states * self._stride >= 2**62:
            raise SpaceError(
                f"`states * range of costs < 2^62` must hold; got {self.num_states} joint options of"
                " tied choices"
                f" and a range of {self._stride}; count in a larger unit"
            )
        keys = states * self._stride + (sums - (self._lowest - 1))
        order = np.argsort(keys, kind="stable")
        self._keys, self.values = keys[order], values[order]

    def __len__(self) -> int:
        return len(self._keys)

    def entries(self, positions: Ints | slice = slice(None)) -> tuple[Ints, Ints]:
        """Return the states and the sums of the entries at these positions."""
        states, sums = np.divmod(self._keys[positions], self._stride)
        return states, sums + (self._lowest - 1)

    def position(self, states: Ints, bound: Ints) -> Ints:
        """Return the number of entries before the first one of each state with a sum above `bound`.

        Entries of lower states are included, so that the difference of two positions is a number of entries.
        """
        sums = np.minimum(np.maximum(bound - (self._lowest - 1), 0), self._stride - 1)
        return np.searchsorted(self._keys, states * self._stride + sums, side="right")

    def merge(self) -> None:
        """Merge entries of equal state and sum into one entry, whose value is the sum of their values."""
        starts = np.flatnonzero(np.diff(self._keys, prepend=-1))
        self._keys, self.values = self._keys[starts], np.add.reduceat(self.values, starts)


class PathList:
    """All paths from a layer to the end, or from the start to a layer, one by one.

    A path is stored as one number, the mixed-radix code of its edges, which is decoded when the path is drawn.

    Attributes:
        sums: sums of the paths, by the state where they start (paths to the end) or arrive (paths from the start).
    """

    def __init__(self, layers: Sequence[Layer], *, to_end: bool) -> None:
        """List all paths through `layers`: from any state to the end if `to_end`, else from the start to any state."""
        self._layers = layers
        entries = _to_end(layers) if to_end else _from_start(layers)
        states = np.repeat(np.arange(len(entries)), [len(sums) for sums, _ in entries])
        sums, codes = (np.concatenate(part) for part in zip(*entries, strict=True))
        self.sums = SortedSums(states, sums, codes)

    def decode(self, positions: Ints, starts: Ints | None, out: npt.NDArray[Any]) -> None:
        """Write the options of the paths at `positions` into the rows of `out`.

        Args:
            positions: (n,) positions in `sums`.
            starts: (n,) states in which the paths start; None: all start in the first state.
            out: (n, num_choices) option indices; the columns of these layers are written in place.
        """
        codes, edges = self.sums.values[positions], []
        for layer in self._layers:
            codes, taken = np.divmod(codes, layer.costs.shape[1])
            edges.append(taken)
        write_options(self._layers, edges, out, starts)


_Entries = list[tuple[Ints, Ints]]  # for each state, the sums and the codes of its paths


def _to_end(layers: Sequence[Layer]) -> _Entries:
    entries: _Entries = [(np.zeros(1, dtype=np.int64), np.zeros(1, dtype=np.int64))]
    for layer in reversed(layers):
        radix = layer.costs.shape[1]
        rows = []
        for state, num in enumerate(layer.num_edges.tolist()):
            after = [entries[target] for target in layer.following[state, :num]]
            sums = [cost + sums for cost, (sums, _) in zip(layer.costs[state], after, strict=False)]
            codes = [edge + codes * radix for edge, (_, codes) in enumerate(after)]
            rows.append((np.concatenate(sums), np.concatenate(codes)))
        entries = rows
    return entries


def _from_start(layers: Sequence[Layer]) -> _Entries:
    entries: _Entries = [(np.zeros(1, dtype=np.int64), np.zeros(1, dtype=np.int64))]
    weight = 1
    for layer in layers:
        arrived: list[_Entries] = [[] for _ in range(int(layer.following.max()) + 1)]
        for state, edge in np.argwhere(layer.is_edge).tolist():
            sums, codes = entries[state]
            step = sums + layer.costs[state, edge], codes + edge * weight
            arrived[layer.following[state, edge]].append(step)
        weight *= layer.costs.shape[1]
        entries = [
            (np.concatenate([s for s, _ in steps]), np.concatenate([c for _, c in steps]))
            for steps in arrived
        ]
    return entries
