"""A module of any class that uses a part of its tensors, in the place of its plain self.

Where a network was not written with choices in it, its modules keep their own code: one becomes elastic by taking a
class of its own above its old one, through which its code sees the active part of each parameter and the active value
of each size that it has noted. Nothing in the network has to be replaced, so that whatever holds the module still does.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from onepath.nn.kernel_transform import make_transforms, transformed
from onepath.nn.selection import Selection
from onepath.space import Choice, Option

Presence = tuple[Choice, frozenset[Option]]
"""A choice, and its options under which a module is part of the network."""


@dataclass(frozen=True, eq=False)
class Part:
    """The entries along one dimension that the active options keep, in their order.

    Attributes:
        choices: how many units are kept of each kind.
        per_unit: for each of them, by how much its options count one unit.
        owners: for each entry its kind, by its place in `choices`; -1 for one that always stays.
        ranks: for each entry the place of its unit among those of its kind; the first ones are kept.
    """

    choices: tuple[Choice, ...]
    per_unit: tuple[int, ...]
    owners: npt.NDArray[np.int64]
    ranks: npt.NDArray[np.int64]
    _known: dict[tuple[Any, ...], slice | Tensor] = field(default_factory=dict)

    @property
    def full(self) -> int:
        """Entries of the largest architecture."""
        return len(self.owners)

    def kept(self, options: Mapping[Choice, Option]) -> slice | Tensor:
        """The active entries: a slice where they are the leading ones, else their places (N,)."""
        key = tuple(options.get(choice) for choice in self.choices)
        found = self._known.get(key)
        if found is None:
            places = torch.from_numpy(np.flatnonzero(self._mask(key)))
            num = len(places)
            found = slice(0, num) if bool((places == torch.arange(num)).all()) else places
            self._known[key] = found
        return found

    def num(self, options: Mapping[Choice, Option]) -> int:
        """How many entries are active."""
        kept = self.kept(options)
        return int(kept.stop) if isinstance(kept, slice) else len(kept)

    def of(self, tensor: Tensor, dim: int, options: Mapping[Choice, Option]) -> Tensor:
        """The active entries of a tensor: a view where they are the leading ones."""
        kept = self.kept(options)
        if isinstance(kept, slice):
            return tensor if kept.stop == tensor.shape[dim] else tensor.narrow(dim, 0, kept.stop)
        return tensor.index_select(dim, kept.to(tensor.device))

    def _mask(self, key: Sequence[Any]) -> npt.NDArray[np.bool_]:
        mask = np.ones(self.full, dtype=bool)
        for number, (option, per_unit) in enumerate(zip(key, self.per_unit, strict=True)):
            if option is not None:
                mask &= (self.owners != number) | (self.ranks < int(option) // per_unit)
        return mask


@dataclass(frozen=True, eq=False)
class Size:
    """A whole number that a module has noted: `full` in the largest architecture, and in proportion to a part."""

    part: Part
    full: int

    def value(self, options: Mapping[Choice, Option]) -> int:
        """Under the active options."""
        return self.full * self.part.num(options) // self.part.full


@dataclass(frozen=True, eq=False)
class Adaptation:
    """What of a module depends on choices.

    Attributes:
        parts: name of a parameter or buffer -> dimension -> the part of it that is active.
        sizes: attribute -> its value.
        kernel: side of a convolution's kernel, of which the centre is used.
        transforms_kernel: whether the module has matrices `transforms` that the centre is multiplied by, see
            `onepath.nn.kernel_transform.transformed`.
        presence: when the module is part of the network; elsewhere it hands on its first input. None: always.
        takes_more: whether the module is called with more than its first input.
        caches: attributes in which the module keeps what it computed from its parameters; emptied before each use.
    """

    parts: dict[str, dict[int, Part]] = field(default_factory=dict)
    sizes: dict[str, Size] = field(default_factory=dict)
    kernel: Choice | None = None
    presence: Presence | None = None
    transforms_kernel: bool = False
    takes_more: bool = False
    caches: tuple[str, ...] = ()

    @property
    def choices(self) -> tuple[Choice, ...]:
        """All choices, that of the presence first."""
        found = [] if self.presence is None else [self.presence[0]]
        found += [choice for dims in self.parts.values() for part in dims.values() for choice in part.choices]
        found += [choice for size in self.sizes.values() for choice in size.part.choices]
        return tuple(dict.fromkeys([*found, *([] if self.kernel is None else [self.kernel])]))

    def tensor(self, name: str, tensor: Tensor, options: Mapping[Choice, Option]) -> Tensor:
        """The active part of a parameter or buffer."""
        for dim, part in self.parts.get(name, {}).items():
            tensor = part.of(tensor, dim, options)
        margin = self.margin(options) if name == "weight" else 0
        for dim in range(2, tensor.dim() if margin else 0):
            tensor = tensor.narrow(dim, margin, tensor.shape[dim] - 2 * margin)
        return tensor

    def margin(self, options: Mapping[Choice, Option]) -> int:
        """What is cut off each side of the largest kernel."""
        if self.kernel is None or self.kernel not in options:
            return 0
        return (max(map(int, self.kernel.options)) - int(options[self.kernel])) // 2

    def padding(self, padding: Any, dilation: Sequence[int], options: Mapping[Choice, Option]) -> Any:
        """That of a convolution under the active kernel, which keeps the size of the output."""
        if isinstance(padding, str):
            return padding
        return tuple(size - self.margin(options) * step for size, step in zip(padding, dilation, strict=True))


class FirstInput(nn.Identity):
    """Hands on the first of several inputs."""

    def forward(self, input: Tensor, *others: Any, **named: Any) -> Tensor:  # noqa: ARG002
        """The first input."""
        return input


class Adapted(nn.Module):
    """The class above a module's own; made by `adapt`.

    Attributes:
        path, selection: as of every module with choices.
        adaptation: what depends on choices; of the class, since each adapted module has its own.
        plain: the module's own class.
    """

    adaptation: ClassVar[Adaptation]
    plain: ClassVar[type[nn.Module]]
    path: str
    selection: Selection

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """A copy reads the copies of the choices, of which its class therefore knows."""
        made = _adapted_class(self.plain, copy.deepcopy(self.adaptation, memo))
        clone: Self = made.__new__(made)
        memo[id(self)] = clone
        clone.__dict__.update(copy.deepcopy(self.__dict__, memo))
        return clone

    def own_choices(self) -> tuple[Choice, ...]:
        """All choices that the module itself reads."""
        return self.adaptation.choices

    @property
    def presence(self) -> Presence | None:
        """When the module, with all that is in it, is part of the network."""
        return self.adaptation.presence

    @property
    def is_present(self) -> bool:
        """Whether it is under the active options."""
        if self.adaptation.presence is None:
            return True
        choice, options = self.adaptation.presence
        return self.selection.options.get(choice, max(choice.options)) in options

    def __getattr__(self, name: str) -> Any:
        value = super().__getattr__(name)
        if not isinstance(value, Tensor):
            return value
        active = self.active(name, value)
        if self.training and active is not value and name in self._buffers and not active._is_view():
            self.__dict__["_written"].append((name, active))
        return active

    def active(self, name: str, tensor: Tensor) -> Tensor:
        """The active part of a parameter or buffer of the module."""
        adaptation, options = self.adaptation, self.selection.options
        margin = adaptation.margin(options)
        if name != "weight" or not adaptation.transforms_kernel or not margin:
            return adaptation.tensor(name, tensor, options)
        assert adaptation.kernel is not None
        for dim, part in adaptation.parts.get(name, {}).items():
            tensor = part.of(tensor, dim, options)
        sides = list(map(int, adaptation.kernel.options))
        transforms: Any = self._modules["transforms"]
        return transformed(tensor, max(sides) - 2 * margin, sides, transforms)

    def forward(self, *inputs: Any, **named: Any) -> Any:
        """What the module does with the active parts; its input where it is not part of the network."""
        if not self.is_present:
            return inputs[0]
        for name in self.adaptation.caches:
            self.__dict__[name].clear()
        self.__dict__["_written"] = []
        output = super().forward(*inputs, **named)
        for name, active in self.__dict__["_written"]:
            self._write(name, active)
        return output

    @torch.no_grad()
    def _write(self, name: str, active: Tensor) -> None:
        """Bring running statistics, which were updated in a copy, back to their places."""
        buffer = self._buffers[name]
        assert buffer is not None
        ((dim, part),) = self.adaptation.parts[name].items()
        kept = part.kept(self.selection.options)
        assert isinstance(kept, Tensor)
        buffer.index_copy_(dim, kept.to(buffer.device), active)

    def extracted(self, *, inherit: bool) -> nn.Module:
        """`nn.Identity` where the module is not part of the network; else itself, which extraction then cuts down."""
        del inherit
        if self.is_present:
            return self
        return FirstInput() if self.adaptation.takes_more else nn.Identity()

    def make_plain(self, clone: nn.Module) -> None:
        """Give a copy, whose tensors are the active parts, its own class and the active sizes."""
        options = self.selection.options
        clone.__class__ = self.plain
        if self.adaptation.transforms_kernel:
            del clone._modules["transforms"]
        for name in ("path", "selection", "_written"):
            clone.__dict__.pop(name, None)
        for name, size in self.adaptation.sizes.items():
            value = size.value(options)
            clone.__dict__[name] = (value,) if isinstance(self.__dict__[name], tuple) else value
        for name in self.adaptation.caches:
            clone.__dict__[name] = type(self.__dict__[name])()
        if self.adaptation.kernel is not None:
            _set_kernel(self, clone)


def _set_kernel(module: Any, clone: nn.Module) -> None:
    weight = clone._parameters["weight"]
    assert weight is not None
    clone.__dict__["kernel_size"] = tuple(weight.shape[2:])
    clone.__dict__["padding"] = padding = module.padding
    if not isinstance(padding, str):
        both = [size for size in reversed(padding) for _ in range(2)]
        clone.__dict__["_reversed_padding_repeated_twice"] = both


def adapt(module: nn.Module, adaptation: Adaptation) -> None:
    """Make a module elastic, in place."""
    if adaptation.transforms_kernel and adaptation.kernel is not None:
        weight = module._parameters["weight"]
        assert weight is not None
        transforms = make_transforms(list(map(int, adaptation.kernel.options)), weight.dim() - 2)
        module.add_module("transforms", transforms.to(weight))
    module.__class__ = _adapted_class(type(module), adaptation)
    module.__dict__.update(path="", selection=Selection(), _written=[])


def _adapted_class(own: type[nn.Module], adaptation: Adaptation) -> Any:
    """The class of one adapted module."""
    members: dict[str, Any] = {
        "__module__": own.__module__,
        "__qualname__": own.__qualname__,
        "adaptation": adaptation,
        "plain": own,
    }
    for name in adaptation.sizes:
        members[name] = _property(name)
    if adaptation.kernel is not None:
        members["padding"] = property(
            lambda self: adaptation.padding(
                self.__dict__["padding"], self.__dict__["dilation"], self.selection.options
            ),
            lambda self, value: self.__dict__.__setitem__("padding", value),
        )
    return type(own.__name__, (Adapted, own), members)


def restore(module: nn.Module) -> None:
    """Undo `adapt`."""
    if isinstance(module, Adapted):
        own: Any = module.plain
        if module.adaptation.transforms_kernel:
            del module._modules["transforms"]
        module.__class__ = own
        for name in ("path", "selection", "_written"):
            module.__dict__.pop(name, None)


def _property(name: str) -> property:
    def get(self: Adapted) -> Any:
        value = self.adaptation.sizes[name].value(self.selection.options)
        return (value,) if isinstance(self.__dict__[name], tuple) else value

    return property(get, lambda self, value: self.__dict__.__setitem__(name, value))
