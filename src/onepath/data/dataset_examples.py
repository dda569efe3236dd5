"""The examples of a torch dataset, read with random numbers that depend on a seed alone."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import default_collate

from onepath.errors import DataError, shown
from onepath.randomness import generator
from onepath.tree import Tree, map_tensors, tensors

Indices = NDArray[np.int64]
Pair = tuple[Tree, Tree]
"""Inputs and targets of a batch."""
_MOST_KEPT_BYTES = 1 << 31  # size of the largest split that is read once and kept in memory
_NUM_TRIED = 16  # items that are read twice; a random flip shows in one of them


class Examples:
    """The items of a dataset that belong to one split.

    They are read once and kept if they take at most 2 GiB and no item draws random numbers, else read for every batch.

    Args:
        dataset: map-style dataset of pairs of inputs and targets.
        indices: places of the split's items in the dataset, (N,).

    Attributes:
        draws: whether an item draws random numbers as it is read, so that two visits differ.
    """

    def __init__(self, dataset: Any, indices: Indices) -> None:
        self._dataset, self._indices = dataset, indices
        first, again = (self._read(indices[:_NUM_TRIED], (0, visit)) for visit in range(2))
        pairs = zip(tensors(first), tensors(again), strict=True)
        self.draws = any(not torch.equal(one, other) for one, other in pairs)
        size = sum(tensor[:1].numel() * tensor.element_size() for tensor in tensors(first))
        fits = size * len(indices) <= _MOST_KEPT_BYTES
        self._kept = self._read(indices, (0, 0)) if fits and not self.draws else None

    def __len__(self) -> int:
        return len(self._indices)

    def part(self, places: Indices) -> Examples:
        """Return the examples at some places of the split, as a split of their own."""
        chosen = copy.copy(self)
        chosen._indices = self._indices[places]
        chosen._kept = None if self._kept is None else self.batch(places)
        return chosen

    def batch(self, places: Sequence[int] | Indices, drawn_from: tuple[int, int] = (0, 0)) -> Pair:
        """Return inputs and targets of the examples at these places of the split, as new tensors.

        Args:
            places: positions within the split.
            drawn_from: seed and step of what the items draw.
        """
        chosen = torch.as_tensor(np.asarray(places, dtype=np.int64))
        if self._kept is None:
            return self._read(self._indices[chosen.numpy()], drawn_from)
        inputs, targets = (map_tensors(lambda tensor: tensor[chosen], part) for part in self._kept)
        return inputs, targets

    def _read(self, indices: Indices, drawn_from: tuple[int, int]) -> Pair:
        inputs, targets = collated(self._dataset, indices, drawn_from)
        return _plain(inputs), _plain(targets)


def collated(dataset: Any, indices: Indices, drawn_from: tuple[int, int] = (0, 0)) -> tuple[Tree, Tree]:
    """Return the inputs and the targets of these items, each collated into one batch.

    Args:
        dataset: map-style dataset of pairs of inputs and targets.
        indices: places in it.
        drawn_from: seed and step of the random numbers that the items draw.

    Raises:
        DataError: an item is not a pair, or the items cannot be collated.
    """
    try:
        with _seeded(*drawn_from):
            inputs, targets = default_collate([dataset[int(index)] for index in indices])
    except (TypeError, ValueError, RuntimeError, IndexError, KeyError) as error:
        raise DataError(
            "a dataset must give pairs of inputs and targets that can be put into batches, but it raised "
            f"{type(error).__name__}: {shown(str(error))}; give (inputs, targets) of equal shapes for each index"
        ) from error
    return inputs, targets


def _plain(tree: Tree) -> Tree:
    """Return the tree with float64 tensors converted to float32, the type of networks."""
    return map_tensors(lambda tensor: tensor.float() if tensor.dtype == torch.float64 else tensor, tree)


@contextmanager
def _seeded(seed: int, step: int) -> Iterator[None]:
    """Inside, the generators that datasets draw from begin at a seed; afterwards they go on as they were."""
    value = int(generator(seed, "items", step).integers(2**32))
    # Datasets draw from the global generators of all three.
    states = random.getstate(), np.random.get_state()  # noqa: NPY002
    with torch.random.fork_rng(devices=[]):
        random.seed(value)
        np.random.seed(value)  # noqa: NPY002
        torch.default_generator.manual_seed(value)
        try:
            yield
        finally:
            random.setstate(states[0])
            np.random.set_state(states[1])  # noqa: NPY002
