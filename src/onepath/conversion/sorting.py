"""Sorting the channels of a converted network again, after its weights have changed."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from onepath.conversion.families import Layout
from onepath.conversion.importance import permute_units, weight_importance
from onepath.space import Choice, Option


class Sorting:
    """Where the units of a network lie, so that they can be put in another order.

    Args:
        layout: of the network; nothing of its tensors is kept.
        choices: family, by its number -> its choice, and by how much its options count one unit.

    Attributes:
        prefix: of the network's paths in the module that is sorted.
    """

    def __init__(self, layout: Layout, choices: Mapping[int, tuple[Choice, int]]) -> None:
        nothing = torch.empty(0)
        sources = [
            dataclasses.replace(source, tensor=nothing, vectors={}, elements=None)
            for source in layout.sources
        ]
        self.prefix = ""
        self._layout = dataclasses.replace(layout, sources=sources)
        self._sizes = {family: (choice.name, unit) for family, (choice, unit) in choices.items()}

    @torch.no_grad()
    def sort(self, module: nn.Module, opened: Mapping[str, Sequence[Option]]) -> None:
        """Put units in the order of their absolute weights, in place; the whole network computes the same.

        Args:
            module: that was converted, or a copy of it.
            opened: name of a choice -> its options that are trained already: the channels of each stay before those of
                the larger ones.

        Source: Cai et al., "Once-for-All" (arXiv 1908.09791), section 3.3 and the released code.
        """
        modules = dict(module.named_modules())
        sources = [
            dataclasses.replace(source, tensor=_tensor(modules[self.prefix + source.path], source.name))
            for source in self._layout.sources
        ]
        layout = dataclasses.replace(self._layout, sources=sources)
        scores, orders = weight_importance(layout), {}
        for family, (name, unit) in self._sizes.items():
            importance = torch.tensor([scores[root] for root in layout.families[family].roots])
            for option in opened.get(name, ()):
                importance[int(option) // unit :] -= importance.max() - importance.min() + 1
            orders[family] = importance.argsort(descending=True, stable=True).numpy()
        permute_units(layout, orders)


def _tensor(module: nn.Module, name: str) -> Tensor:
    """The whole parameter or buffer of a module, also where it is elastic and shows its active part."""
    found: Tensor | None = module._parameters.get(name)
    found = module._buffers.get(name) if found is None else found
    assert found is not None, f"{name} was there when the network was converted"
    return found
