"""Families: units that are alike, of which an architecture keeps the first few, and where they lie in each tensor."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from onepath.conversion.trace import Source, Trace
from onepath.conversion.units import FIXED, Units

Place = tuple[int, int]
"""A source by its number, and a dimension of it."""


@dataclass(eq=False)
class Family:
    """Units that appear equally often in the same tensors, so that any of them can stand for any other.

    Attributes:
        name: of its choice: the path of the first module that makes it, and what is counted.
        roots: its units, in the order of their channels.
        unit: channels of one unit in that module.
        is_heads: whether a unit is an attention head.
        places: all dimensions of sources that it lies in.
    """

    name: str
    roots: tuple[int, ...]
    unit: int
    is_heads: bool
    places: tuple[Place, ...]

    @property
    def num_channels(self) -> int:
        """Of all units, in the module that the family is named by."""
        return len(self.roots) * self.unit


@dataclass
class Layout:
    """What the dimensions of all sources are made of.

    Attributes:
        sources: parameters and buffers, each once.
        vectors: place -> roots along it, (size,); 0 where fixed.
        families: in the order of the network.
        reasons: root -> why its unit is frozen.
    """

    sources: list[Source]
    vectors: dict[Place, npt.NDArray[np.int64]]
    families: list[Family]
    reasons: dict[int, str]
    family_of: dict[int, int] = field(default_factory=dict)

    def owners(self, roots: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """For each place of a vector the family, by its number (-1: none), and the unit's rank in it."""
        ranks = {root: rank for family in self.families for rank, root in enumerate(family.roots)}
        return (
            np.array([self.family_of.get(int(root), -1) for root in roots]),
            np.array([ranks.get(int(root), 0) for root in roots]),
        )


def find_layout(trace: Trace, kept_whole: Mapping[str, str] | None = None) -> Layout:
    """Group the units of a traced network.

    Args:
        trace: after its passes.
        kept_whole: path of a module whose sizes must stay -> why.
    """
    units, whole = trace.units, kept_whole or {}
    sources = list({id(source): source for source in trace.sources.values()}.values())
    vectors: dict[Place, npt.NDArray[np.int64]] = {}
    for number, source in enumerate(sources):
        for dim, labels in _dimensions(units, source).items():
            for path, _ in source.holders:
                if path in whole:
                    units.freeze(labels, whole[path])
            vectors[number, dim] = labels.numpy()
    vectors = {place: units.roots(torch.from_numpy(labels)).numpy() for place, labels in vectors.items()}
    reasons = units.reasons()
    heads = {int(root) for root in units.roots(torch.tensor(sorted(units.heads), dtype=torch.int64)).tolist()}
    layout = Layout(sources, vectors, [], reasons)
    names: dict[str, int] = {}
    for roots, places in _alike(vectors):
        if any(root in reasons for root in roots):
            reason = next(reasons[root] for root in roots if root in reasons)
            reasons.update((root, reason) for root in roots if root not in reasons)
            continue
        number, dim = next((place for place in places if place[1] == sources[place[0]].made), places[0])
        is_heads = roots[0] in heads
        name = f"{sources[number].path or 'root'}.{'heads' if is_heads else 'width'}"
        names[name] = names.get(name, 0) + 1
        if names[name] > 1:
            name = f"{name}{names[name]}"
        unit = int((vectors[number, dim] == roots[0]).sum())
        layout.family_of |= dict.fromkeys(roots, len(layout.families))
        layout.families.append(Family(name, roots, unit, is_heads, places))
    return layout


def _dimensions(units: Units, source: Source) -> dict[int, Tensor]:
    """Dimension -> labels along it, of those that units lie along."""
    if source.elements is None:
        return dict(source.vectors)
    labels = source.elements
    varying = [dim for dim in range(labels.dim()) if units.varies(labels, dim)]
    if len(varying) == 1:
        return {varying[0]: units.along(labels, varying[0])}
    if len(varying) > 1 and not source.vectors:
        united = _used(units, labels)
        if united:
            units.freeze(labels, f"{source.name} has units along several of its dimensions")
    return dict(source.vectors)


def _used(units: Units, labels: Tensor) -> bool:
    """Whether any element was ever united with another one."""
    return bool((units.roots(labels) != labels).any())


def _alike(
    vectors: dict[Place, npt.NDArray[np.int64]],
) -> list[tuple[tuple[int, ...], tuple[Place, ...]]]:
    """Roots with the same places, each equally often, in the order of the first place; and these places."""
    counts: dict[int, list[tuple[Place, int]]] = defaultdict(list)
    for place, roots in vectors.items():
        found, numbers = np.unique(roots, return_counts=True)
        for root, num in zip(found.tolist(), numbers.tolist(), strict=True):
            if root != FIXED:
                counts[root].append((place, num))
    groups: dict[tuple[tuple[Place, int], ...], list[int]] = defaultdict(list)
    for root, signature in counts.items():
        groups[tuple(signature)].append(root)
    result = []
    for shared, alike in groups.items():
        places = tuple(place for place, _ in shared)
        order = {root: index for index, root in reversed(list(enumerate(vectors[places[0]].tolist())))}
        result.append((tuple(sorted(alike, key=order.__getitem__)), places))
    return sorted(result, key=lambda found: min(found[1]))


def widths_of(family: Family, ratios: Sequence[float], divisor: int) -> tuple[int, ...]:
    """How many units an architecture may keep, ascending; the largest is all of them.

    Channels are rounded to the nearest multiple of `divisor`, and up to whole units.
    """
    num, found = len(family.roots), {len(family.roots)}
    for ratio in ratios:
        if ratio >= 1:
            continue
        if family.is_heads:
            kept = int(num * ratio + 0.5)
        else:
            channels = max(divisor, int(family.num_channels * ratio / divisor + 0.5) * divisor)
            kept = -(-channels // family.unit)
        if 1 <= kept < num:
            found.add(kept)
    return tuple(sorted(found))
