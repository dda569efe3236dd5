"""Check which units can really be removed: families are cut down, and coarsened or frozen where that fails."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from onepath.conversion.adaptations import Adaptations
from onepath.conversion.families import Family, Layout, find_layout, widths_of
from onepath.conversion.trace import Trace
from onepath.conversion.trial import drawn, failing_families, smallest
from onepath.space import Choice, Option

_NUM_DRAWN = 2  # random architectures that are tried besides the smallest one
_MOST_ROUNDS = 8
_COARSEST = 2  # steps of `_coarsen` before the families of a split are frozen


@dataclass
class Settling:
    """The search for families of units that can be left out without breaking the network.

    Args:
        model: the traced network.
        inputs: its positional arguments.
        trace: the trace of the network; its units are united and frozen further.
        kept_whole: path of a module whose sizes must not change -> the reason.
        widths, divisor: see `widths_of`.
        heads: whether attention heads may be left out.
        returned: tensors that the network returns.
    """

    model: nn.Module
    inputs: Sequence[Any]
    trace: Trace
    kept_whole: Mapping[str, str]
    widths: Sequence[float]
    divisor: int
    heads: bool
    returned: Sequence[torch.Tensor]
    _steps: dict[int, int] = field(default_factory=dict)  # number of a split -> steps of coarsening so far

    def settled(self) -> tuple[Layout, Adaptations]:
        """Return the layout with the families that can be cut, and the adaptations of the modules.

        If a smaller network fails, the failing channels that the code splits into equal parts are coarsened. The first
        step unites the channels at the same place of all parts, the second step unites the channels within each part.
        Channels that still fail stay as they are.
        """
        generator = torch.Generator().manual_seed(0)
        for _ in range(_MOST_ROUNDS):
            layout, adaptations = self._adaptations()
            failing = self._failing(layout, adaptations, generator)
            if not failing:
                return layout, adaptations
            self._coarsen({layout.families[family]: why for family, why in failing.items()})
        return self._one_by_one(*self._adaptations())

    def _adaptations(self) -> tuple[Layout, Adaptations]:
        layout = find_layout(self.trace, self.kept_whole)
        return layout, Adaptations(self.model, self.trace, layout, self._choices(layout))

    def _choices(self, layout: Layout) -> dict[int, tuple[Choice, int]]:
        """Return number of a family -> its choice, and the amount of an option that one unit stands for.

        Families with a single width are left out.
        """
        found = {}
        for number, family in enumerate(layout.families):
            kept = widths_of(family, self.widths, self.divisor)
            if len(kept) > 1 and (self.heads or not family.is_heads):
                unit = 1 if family.is_heads else family.unit
                found[number] = Choice(family.name, [num * unit for num in kept], role="size"), unit
        return found

    def _failing(
        self, layout: Layout, adaptations: Adaptations, generator: torch.Generator
    ) -> dict[int, str]:
        """Return the numbers of the families that cannot be cut, each with the reason; none if all trials succeed."""
        tries = [smallest(adaptations), *(drawn(adaptations, generator) for _ in range(_NUM_DRAWN))]
        for options in tries if adaptations.choices else ():
            found = self._tried(layout, adaptations, options)
            if found is None:
                continue
            involved = found[0] & set(adaptations.choices)
            if involved:
                return dict.fromkeys(involved, found[1])
            alone = {
                family: own[1]
                for family in adaptations.choices
                if (own := self._tried(layout, adaptations, smallest(adaptations, [family]))) is not None
            }
            return alone or dict.fromkeys(adaptations.choices, found[1])
        return {}

    def _tried(
        self, layout: Layout, adaptations: Adaptations, options: Mapping[Choice, Option]
    ) -> tuple[set[int], str] | None:
        return failing_families(
            self.model, self.inputs, self.trace.units, layout, adaptations, options, self.returned
        )

    def _coarsen(self, failing: Mapping[Family, str]) -> None:
        """Make the units of failing families larger.

        Units that no split explains, and attention heads, are frozen at once.
        """
        units = self.trace.units
        involved: dict[int, list[Family]] = {}
        for family, why in failing.items():
            roots = set(family.roots)
            found = [
                number
                for number, split in enumerate(self.trace.splits)
                if not family.is_heads and roots & set(units.roots(split.labels).tolist())
            ]
            if not found:
                units.freeze(torch.tensor(family.roots), why)
            for number in found:
                involved.setdefault(number, []).append(family)
        for number, families in involved.items():
            split = self.trace.splits[number]
            self._steps[number] = step = self._steps.get(number, 0) + 1
            blocks = split.labels.reshape(split.outer, -1)
            blocks = blocks if step == _COARSEST else blocks.t()
            if step <= _COARSEST:
                units.unite(blocks, blocks.amax(1, keepdim=True).expand_as(blocks))
            if step > _COARSEST or len(set(units.roots(split.labels).tolist())) == 1:
                for family in families:
                    units.freeze(torch.tensor(family.roots), failing[family])

    def _one_by_one(self, layout: Layout, adaptations: Adaptations) -> tuple[Layout, Adaptations]:
        """Keep the choices of families that can be cut together, tried in the order of the network; freeze the rest."""
        kept: dict[int, tuple[Choice, int]] = {}
        for family, choice in adaptations.choices.items():
            found = self._tried(layout, adaptations, smallest(adaptations, [*kept, family]))
            if found is None:
                kept[family] = choice
            else:
                self.trace.units.freeze(torch.tensor(layout.families[family].roots), found[1])
        layout.reasons.update(self.trace.units.reasons())
        return layout, Adaptations(self.model, self.trace, layout, kept)
