"""Units: sets of channels, in all tensors of a network, that can only be kept or removed together."""

from __future__ import annotations

import numpy as np
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor

FIXED = 0
"""The label of an element that belongs to no unit, as in an input, a constant or a dimension that the code fixes."""


class Units:
    """Disjoint sets over the labels of channels.

    Each tensor of a network has a twin of the same shape, whose whole numbers say which channel each element belongs
    to. Operations that change a shape are applied to the twin, too; operations that join tensors unite labels here.

    Attributes:
        frozen: label -> why its unit can never be removed.
        heads: labels that were united because they belong to one attention head.
        merged: pairs of roots that were united since the list was last emptied.
    """

    def __init__(self) -> None:
        self._roots = torch.zeros(1, dtype=torch.int64)
        self.frozen: dict[int, str] = {}
        self.heads: set[int] = set()
        self.merged: list[tuple[int, int]] = []

    def copied(self) -> Units:
        """Return a copy that changes independently; its list `merged` is empty."""
        found = Units()
        found._roots = self._roots.clone()
        found.frozen, found.heads = dict(self.frozen), set(self.heads)
        return found

    @property
    def num(self) -> int:
        """Number of labels made so far, the fixed one included."""
        return len(self._roots)

    def new(self, *shape: int) -> Tensor:
        """Return new labels in this shape, each different from all others."""
        first = len(self._roots)
        labels = torch.arange(first, first + int(np.prod(shape)))
        self._roots = torch.cat([self._roots, labels])
        return labels.reshape(shape)

    def roots(self, labels: Tensor) -> Tensor:
        """Return the root of each label, the number that stands for its unit, in the same shape; 0 if it is fixed."""
        return self._roots[labels]

    def unite(self, first: Tensor, second: Tensor) -> None:
        """Put labels at equal places into one unit, after broadcasting; a fixed label is never united."""
        first, second = compact(*torch.broadcast_tensors(first, second))  # type: ignore[no-untyped-call]
        one, other = self._roots[first].flatten(), self._roots[second].flatten()
        differ = (one != other) & (one != FIXED) & (other != FIXED)
        if not bool(differ.any()):
            return
        pairs = torch.unique(torch.stack([one[differ], other[differ]]), dim=1).numpy()
        self.merged += list(map(tuple, pairs.T.tolist()))
        nodes, places = np.unique(pairs, return_inverse=True)
        places = places.reshape(2, -1)
        links = coo_array((np.ones(places.shape[1]), (places[0], places[1])), shape=(len(nodes),) * 2)
        num, parts = connected_components(links, directed=False)
        lowest = np.full(num, np.iinfo(np.int64).max)
        np.minimum.at(lowest, parts, nodes)
        renamed = torch.arange(len(self._roots))
        renamed[torch.from_numpy(nodes)] = torch.from_numpy(lowest[parts])
        self._roots = renamed[self._roots]

    def freeze(self, labels: Tensor, reason: str) -> None:
        """Mark the units of these labels as never removable; a unit that is frozen already keeps its first reason."""
        for root in torch.unique(self._roots[compact(labels)[0]]).tolist():
            if root != FIXED:
                self.frozen.setdefault(root, reason)

    def reasons(self) -> dict[int, str]:
        """Return root -> why its unit is frozen."""
        found: dict[int, str] = {}
        for label, reason in self.frozen.items():
            found.setdefault(int(self._roots[label]), reason)
        return found

    def varies(self, labels: Tensor, dim: int) -> bool:
        """Whether elements along a dimension belong to different units; fixed elements are ignored."""
        if labels.numel() == 0 or labels.shape[dim] == 1 or labels.stride(dim) == 0:
            return False
        roots = self._roots[_without_repeats(labels, kept=dim % labels.dim())]
        highest = roots.amax(dim, keepdim=True)
        return bool(((roots != highest) & (roots != FIXED)).any())

    def along(self, labels: Tensor, dim: int) -> Tensor:
        """Unite the labels at each position of a dimension, and return one label for each position, (size,)."""
        labels = _without_repeats(labels, kept=dim % labels.dim()).movedim(dim, -1)
        rows = labels.reshape(-1, labels.shape[-1])
        vector = rows.amax(0)
        if len(rows) > 1:
            self.unite(rows, vector.expand_as(rows))
        return vector


def compact(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Return tensors of one shape, narrowed to size 1 in each dimension along which all of them only repeat."""
    for dim in range(tensors[0].dim()):
        if tensors[0].shape[dim] > 1 and all(tensor.stride(dim) == 0 for tensor in tensors):
            tensors = tuple(tensor.narrow(dim, 0, 1) for tensor in tensors)
    return tensors


def _without_repeats(labels: Tensor, kept: int) -> Tensor:
    """Narrow the dimensions other than `kept` to size 1 where labels only repeat."""
    for dim in range(labels.dim()):
        if dim != kept and labels.shape[dim] > 1 and labels.stride(dim) == 0:
            labels = labels.narrow(dim, 0, 1)
    return labels


def spread(vector: Tensor, shape: torch.Size, dim: int) -> Tensor:
    """Return a vector of labels expanded to `shape`, its entries along `dim`; a view."""
    own = [1] * len(shape)
    own[dim] = len(vector)
    return vector.view(own).expand(shape)


Joined = tuple[Tensor, torch.Size]
"""Labels, and the shape that their tensor had before it was broadcast."""


def unite_joined(units: Units, first: Joined, second: Joined) -> Joined:
    """Unite the labels of two tensors that are combined element by element, and return the labels of the result.

    A value that is broadcast over several units, as in a mask for all heads or a scale for every place, belongs to none
    of them. The result then has the labels of the other tensor.

    Args:
        units: the sets in which the labels are united.
        first: labels expanded to the shape of the result, and the shape of their tensor.
        second: the same of the other tensor.
    """
    for beside, shared in ((first, second), (second, first)):
        if _is_shared(units, beside[0], shared):
            return beside
    units.unite(first[0], second[0])
    shape = torch.broadcast_shapes(first[1], second[1])  # type: ignore[no-untyped-call]
    one, other = compact(first[0], second[0])
    if bool((one == FIXED).any()):
        return torch.where(one == FIXED, other, one).expand(first[0].shape), shape
    return first[0], shape


def _is_shared(units: Units, beside: Tensor, shared: Joined) -> bool:
    """Whether a value of `shared` was broadcast over elements that belong to several units in `beside`."""
    labels, shape = shared
    padded = (1,) * (labels.dim() - len(shape)) + tuple(shape)
    return any(
        padded[dim] == 1 and labels.shape[dim] > 1 and units.varies(beside, dim)
        for dim in range(labels.dim())
    )
