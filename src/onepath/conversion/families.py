"""Families of interchangeable units, of which an architecture keeps the first few, and their places in each tensor."""

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
"""The number of a source, and one of its dimensions."""


@dataclass(eq=False)
class Family:
    """Units that appear equally often in the same tensors, so that each of them can take the place of any other.

    Attributes:
        name: name of the family's choice: path of the first module that makes the units, then "width" or "heads".
        roots: roots of its units, in the order of their channels.
        unit: number of channels of one unit in that module.
        is_heads: whether a unit is an attention head.
        places: all places that its units lie in.
    """

    name: str
    roots: tuple[int, ...]
    unit: int
    is_heads: bool
    places: tuple[Place, ...]

    @property
    def num_channels(self) -> int:
        """Number of channels of all units, in the module that the family is named after."""
        return len(self.roots) * self.unit


@dataclass
class Layout:
    """The units along each dimension of all parameters and buffers.

    Attributes:
        sources: parameters and buffers, each once.
        vectors: place -> roots along it, (size,); 0 where fixed.
        families: the families in the order of the network; a family's number is its index here.
        reasons: root -> why its unit is frozen.
        family_of: root -> number of its family.
    """

    sources: list[Source]
    vectors: dict[Place, npt.NDArray[np.int64]]
    families: list[Family]
    reasons: dict[int, str]
    family_of: dict[int, int] = field(default_factory=dict)

    def owners(self, roots: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Return the family of each entry of a vector of roots, and the rank of its unit in the family.

        Args:
            roots: roots along a place, (size,).

        Returns:
            Numbers of families, -1 for an entry without a family, and ranks, 0 for such an entry; both (size,).
        """
        ranks = {root: rank for family in self.families for rank, root in enumerate(family.roots)}
        return (
            np.array([self.family_of.get(int(root), -1) for root in roots]),
            np.array([ranks.get(int(root), 0) for root in roots]),
        )


def find_layout(trace: Trace, kept_whole: Mapping[str, str] | None = None) -> Layout:
    """Group the units of a traced network into families.

    Units are frozen in `trace.units` where a module must stay whole, and where a tensor has units along several of its
    dimensions. Units that are like a frozen one form no family and get its reason.

    Args:
        trace: the trace of the network after its passes.
        kept_whole: path of a module whose sizes must not change -> the reason.
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
    """Return dimension -> labels along it, for the dimensions of a source along which units lie."""
    if source.elements is None:
        return dict(source.vectors)
    labels = source.elements
    varying = [dim for dim in range(labels.dim()) if units.varies(labels, dim)]
    if len(varying) > 1 and not source.vectors:
        # A table may be longer than the example; the code never read the elements that are still alone.
        read = _united(units, labels)
        varying = [dim for dim in varying if units.varies(read, dim)]
        if len(varying) != 1 and bool((read != FIXED).any()):
            units.freeze(labels, f"{source.name} has units along several of its dimensions")
    if len(varying) == 1:
        return {varying[0]: units.along(labels, varying[0])}
    return dict(source.vectors)


def _united(units: Units, labels: Tensor) -> Tensor:
    """Return the labels that share their unit with another label, and `FIXED` for those that are alone in it."""
    sizes = torch.bincount(units.roots(torch.arange(units.num)))
    return torch.where(sizes[units.roots(labels)] > 1, labels, FIXED)


def _alike(
    vectors: dict[Place, npt.NDArray[np.int64]],
) -> list[tuple[tuple[int, ...], tuple[Place, ...]]]:
    """Group the roots that lie in the same places, equally often in each.

    Return each group, in the order of its first place, with its places.
    """
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
    """Return the numbers of units of a family that an architecture may keep, ascending; the largest is all of them.

    Args:
        family: the family.
        ratios: shares of the family's channels that may be kept, above 0.
        divisor: channels are rounded to the nearest multiple of it, at least one, and then up to whole units. Heads are
            rounded to the nearest number of heads instead.
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
