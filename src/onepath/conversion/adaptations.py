"""The adaptations of modules, made from families of units."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from torch import nn

from onepath.conversion.families import Layout
from onepath.conversion.trace import Trace
from onepath.nn.adapted import Adaptation, Part, Presence, Size, drop_tensors
from onepath.space import Choice

_COUNTS_CHANNELS = re.compile(
    r"^(?!.*(?:img|image|patch|pool|window|kernel|grid|vocab|seq|stride|padding|dilation|resolution|position"
    r"|(?:output|block)_?size))"  # these count places, or do not change with the channels
    r".*(?:dim|chan|feat|width|plane|hidden|inner|attn|emb|size|inp|oup|split|chs|d_model|d_ff)",
    re.IGNORECASE,
)
_OF_ATTENTION = re.compile("attn|inner|val|head", re.IGNORECASE)
_WEIGHT_SIZES = {
    "in_channels": 1,
    "out_channels": 0,
    "in_features": 1,
    "out_features": 0,
    "num_features": 0,
    "embedding_dim": 1,
}
"""Attribute of torch's own layers -> the dimension of their weight whose size it holds."""


class Adaptations:
    """The adaptation of every module of a network, given a choice for each family of units.

    Args:
        model: the traced network.
        trace: the trace of the network.
        layout: the layout that was found in the trace.
        choices: number of a family -> (its choice, the amount of an option that one unit stands for).

    Attributes:
        modules: path -> module of the network.
        parts: path of a module -> name of a tensor -> dimension -> the part that choices keep.
        sizes: path of a module -> attribute -> how choices change its number.
        presences: path of a block that may be left out -> the choice of the depth, and the options that keep the block.
        kernels: path of a convolution -> the choice of its kernel's side.
        learns_kernels: whether smaller kernels are transformed by learned matrices.
        take_more: paths of modules that are called with more than one argument.
    """

    def __init__(
        self, model: nn.Module, trace: Trace, layout: Layout, choices: Mapping[int, tuple[Choice, int]]
    ) -> None:
        self.modules = dict(model.named_modules())
        self.layout, self.choices = layout, choices
        self._known: dict[bytes, Part | None] = {}
        self.parts: dict[str, dict[str, dict[int, Part]]] = defaultdict(lambda: defaultdict(dict))
        self.sizes: dict[str, dict[str, Size]] = defaultdict(dict)
        self.presences: dict[str, Presence] = {}
        self.kernels: dict[str, Choice] = {}
        self.learns_kernels = False
        self.take_more: set[str] = set()
        for (number, dim), roots in layout.vectors.items():
            part = self.part(roots)
            if part is not None:
                for path, name in layout.sources[number].holders:
                    self.parts[path][name][dim] = part
        for (path, attribute), labels in trace.notes.items():
            self._note(path, attribute, self.part(trace.units.roots(labels).numpy()))
        for path, tensors in self.parts.items():
            if "weight" in tensors:
                self._count_weight(path, tensors["weight"])
        self._count_attributes()

    def part(self, roots: npt.NDArray[np.int64]) -> Part | None:
        """Return the part of a dimension that choices keep; None if all of it always stays.

        Args:
            roots: roots along the dimension, (size,).
        """
        key = roots.tobytes()
        if key not in self._known:
            owners, ranks = self.layout.owners(roots)
            families = [int(family) for family in dict.fromkeys(owners.tolist()) if family in self.choices]
            places = {family: place for place, family in enumerate(families)}
            owners = np.array([places.get(int(family), -1) for family in owners])
            chosen = [self.choices[family] for family in families]
            part = Part(
                tuple(choice for choice, _ in chosen), tuple(unit for _, unit in chosen), owners, ranks
            )
            self._known[key] = part if families else None
        return self._known[key]

    def of(self, path: str) -> Adaptation | None:
        """Return the adaptation of a module; None if nothing in it depends on a choice."""
        parts = {name: dict(dims) for name, dims in self.parts.get(path, {}).items()}
        own = parts, dict(self.sizes.get(path, {})), self.kernels.get(path), self.presences.get(path)
        learns = self.learns_kernels and path in self.kernels
        if not any(own):
            return None
        return Adaptation(*own, learns, path in self.take_more, _caches(self.modules[path]))

    def leave(self, choice: Choice) -> None:
        """Let the blocks or the kernel that a choice decides stay as they are."""
        self.presences = {path: found for path, found in self.presences.items() if found[0] is not choice}
        self.kernels = {path: found for path, found in self.kernels.items() if found is not choice}

    def paths(self) -> list[str]:
        """Return the paths of the modules that depend on a choice, in the order of the network."""
        return [path for path in self.modules if self.of(path) is not None]

    def _note(self, path: str, attribute: str, part: Part | None) -> None:
        value = self.modules[path].__dict__.get(attribute)
        if isinstance(value, tuple | list) and len(value) == 1:
            value = value[0]
        if part is not None and isinstance(value, int):
            self.sizes[path][attribute] = Size(part, value)

    def _count_weight(self, path: str, dims: Mapping[int, Part]) -> None:
        """Note the sizes that torch's own layers hold as attributes, so that an extracted layer holds its own sizes."""
        module = self.modules[path]
        is_transposed = isinstance(module, nn.modules.conv._ConvTransposeNd)
        for attribute, usual in _WEIGHT_SIZES.items():
            value = module.__dict__.get(attribute)
            dim = 1 - usual if is_transposed and attribute.endswith("channels") else usual
            if getattr(module, "groups", 1) > 1:
                dim = 0
            if isinstance(value, int) and dim in dims:
                self.sizes[path][attribute] = Size(dims[dim], value)

    def _count_attributes(self) -> None:
        """Note the attributes by which a module's own code cuts tensors: numbers of heads and of channels."""
        for path, module in self.modules.items():
            if type(module).__module__.startswith("torch.nn."):
                continue
            near = self._near(path)
            if not near:
                continue
            for attribute, value in list(module.__dict__.items()):
                if attribute in self.sizes[path] or isinstance(value, bool) or not isinstance(value, int):
                    continue
                part = self._counted(attribute, value, near)
                if part is not None:
                    self.sizes[path][attribute] = Size(part, value)

    def _near(self, path: str) -> list[Part]:
        """The parts of the tensors of a module and of the layers in it, up to three levels deep."""
        module = self.modules[path]
        names = [
            f"{path}.{name}" if path else name for name, _ in module.named_modules() if name.count(".") < 3
        ]
        tensors = [self.parts[name] for name in (path, *names) if name in self.parts]
        parts = [part for named in tensors for dims in named.values() for part in dims.values()]
        return list(dict.fromkeys(parts))

    def _counted(self, attribute: str, value: int, near: Sequence[Part]) -> Part | None:
        """Return the part that an attribute counts, judged by its name and value; None if that is not clear."""
        families = self.layout.families
        of_choice = {choice: families[number] for number, (choice, _) in self.choices.items()}
        heads = [part for part in near if all(of_choice[choice].is_heads for choice in part.choices)]
        of_heads = "head" in attribute.lower()
        if of_heads and not re.search("dim|size|width|chan", attribute, re.IGNORECASE):
            num = {part: len(of_choice[part.choices[0]].roots) for part in heads if len(part.choices) == 1}
            counted = next((part for part in num if num[part] == value), None)
            if counted is not None:
                return counted
        if not _COUNTS_CHANNELS.search(attribute):
            return None
        per_head = [part for part in heads if part.full == max(part.ranks) + 1]  # one entry for each head
        whole = [
            part for part in near if part.full == value and (part.owners >= 0).all() and part not in per_head
        ]
        preferred = [part for part in whole if part in heads]
        if of_heads and (heads or "dim" not in attribute.lower()):  # the size of a single head stays
            return preferred[0] if preferred else None
        is_attention = len({part.choices for part in near}) == 2  # heads, and what comes in and goes out
        if preferred and (is_attention or _OF_ATTENTION.search(attribute)):
            return preferred[0]
        kinds = {part.choices for part in whole}
        return whole[0] if len(kinds) == 1 else None


def clear_caches(model: nn.Module) -> None:
    """Remove the tensors from the dictionaries in which modules keep what they computed from their parameters."""
    for module in model.modules():
        for name in _caches(module):
            drop_tensors(module.__dict__[name])


def _caches(module: nn.Module) -> tuple[str, ...]:
    """Names of the dictionaries in which a module keeps computed tensors; each has "cache" in its name."""
    return tuple(
        name
        for name, value in module.__dict__.items()
        if isinstance(value, dict) and not name.startswith("_") and "cache" in name
    )
