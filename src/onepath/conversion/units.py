"""Units: sets of channels, in all tensors of a network, that can only be kept or removed together."""

from __future__ import annotations

import numpy as np
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor

FIXED = 0
"""The label of an element that belongs to no unit: of an input, a constant, a size that the code decides."""


class Units:
    """Disjoint sets over the labels of channels.

    A tensor of a network has a twin of its shape whose whole numbers say which channel each element belongs to. What
    changes a shape is applied to the twin as it is; what joins tensors unites labels here.

    Attributes:
        frozen: label -> why its unit can never be removed.
        heads: labels that were united because they are of one attention head.
        merged: pairs of roots united since `merged` was last emptied.
    """

    def __init__(self) -> None:
        self._roots = torch.zeros(1, dtype=torch.int64)
        self.frozen: dict[int, str] = {}
        self.heads: set[int] = set()
        self.merged: list[tuple[int, int]] = []

    def copied(self) -> Units:
        """The same sets, apart from these."""
        found = Units()
        found._roots = self._roots.clone()
        found.frozen, found.heads = dict(self.frozen), set(self.heads)
        return found

    @property
    def num(self) -> int:
        """Labels made so far, the fixed one included."""
        return len(self._roots)

    def new(self, *shape: int) -> Tensor:
        """Labels that no other element has, (*shape)."""
        first = len(self._roots)
        labels = torch.arange(first, first + int(np.prod(shape)))
        self._roots = torch.cat([self._roots, labels])
        return labels.reshape(shape)

    def roots(self, labels: Tensor) -> Tensor:
        """The name of each label's unit, of the same shape; 0 where there is none."""
        return self._roots[labels]

    def unite(self, first: Tensor, second: Tensor) -> None:
        """Let labels at equal places be of one unit; a fixed element unites with nothing."""
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
        """Keep the units of these labels whole; the first reason stays."""
        for root in torch.unique(self._roots[compact(labels)[0]]).tolist():
            if root != FIXED:
                self.frozen.setdefault(root, reason)

    def reasons(self) -> dict[int, str]:
        """Root -> why its unit is frozen."""
        found: dict[int, str] = {}
        for label, reason in self.frozen.items():
            found.setdefault(int(self._roots[label]), reason)
        return found

    def varies(self, labels: Tensor, dim: int) -> bool:
        """Whether elements along a dimension belong to different units; fixed ones count as any."""
        if labels.shape[dim] == 1 or labels.stride(dim) == 0:
            return False
        roots = self._roots[_without_repeats(labels, kept=dim % labels.dim())]
        highest = roots.amax(dim, keepdim=True)
        return bool(((roots != highest) & (roots != FIXED)).any())

    def along(self, labels: Tensor, dim: int) -> Tensor:
        """The labels along a dimension, (size,), after uniting those at one place of it."""
        labels = _without_repeats(labels, kept=dim % labels.dim()).movedim(dim, -1)
        rows = labels.reshape(-1, labels.shape[-1])
        vector = rows.amax(0)
        if len(rows) > 1:
            self.unite(rows, vector.expand_as(rows))
        return vector


def compact(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Tensors of one shape without the dimensions along which all of them only repeat themselves."""
    for dim in range(tensors[0].dim()):
        if tensors[0].shape[dim] > 1 and all(tensor.stride(dim) == 0 for tensor in tensors):
            tensors = tuple(tensor.narrow(dim, 0, 1) for tensor in tensors)
    return tensors


def _without_repeats(labels: Tensor, kept: int) -> Tensor:
    for dim in range(labels.dim()):
        if dim != kept and labels.shape[dim] > 1 and labels.stride(dim) == 0:
            labels = labels.narrow(dim, 0, 1)
    return labels


def spread(vector: Tensor, shape: torch.Size, dim: int) -> Tensor:
    """Labels of `shape` that are those of a vector along one dimension, without taking memory."""
    own = [1] * len(shape)
    own[dim] = len(vector)
    return vector.view(own).expand(shape)


Joined = tuple[Tensor, torch.Size]
"""Labels, and the shape that their tensor had before it was spread over another's."""


def unite_joined(units: Units, first: Joined, second: Joined) -> Joined:
    """The labels of two tensors that are joined value by value.

    One value that stands beside several units, as a mask of all heads or a scale of every place does, is of none.
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
    labels, shape = shared
    padded = (1,) * (labels.dim() - len(shape)) + tuple(shape)
    return any(
        padded[dim] == 1 and labels.shape[dim] > 1 and units.varies(beside, dim)
        for dim in range(labels.dim())
    )
