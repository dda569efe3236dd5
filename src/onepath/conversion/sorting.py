"""Sort the channels of a converted network again after its weights have changed."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from onepath.conversion.families import Layout
from onepath.conversion.importance import permute_units, weight_importance
from onepath.space import Choice, Option


class Sorting:
    """The positions of a converted network's units in its tensors, by which `sort` finds and reorders them.

    Args:
        layout: layout of the network; its tensors are not kept.
        choices: number of a family -> (its choice, the amount of an option that one unit stands for).

    Attributes:
        prefix: text before the network's module paths if `sort` gets a module around the network, such as "model.";
            "" if `sort` gets the network itself.
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
        """Sort the units of every family by their absolute weights, the largest first, in place.

        The largest architecture still computes the same function.

        Args:
            module: the converted network, or a copy of it.
            opened: name of a choice -> its options that are already trained. The channels of each of these options stay
                before the channels that only larger options use.

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
    """Return the whole parameter or buffer of a module; an elastic module's attribute shows only the active part."""
    found: Tensor | None = module._parameters.get(name)
    found = module._buffers.get(name) if found is None else found
    assert found is not None, f"{name} was there when the network was converted"
    return found
