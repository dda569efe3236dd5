"""Make a module of any class elastic in place, so that it uses only the active part of its tensors.

Such a module comes from a network that was written without choices, and it keeps its own code. Its class is replaced by
a new subclass of its old class. Through the subclass, the module's code sees the active part of each parameter and the
active value of each size among its attributes. The module object itself stays, so everything that refers to it still
does.
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
from torch.utils._pytree import tree_leaves

from onepath.nn.kernel_transform import make_transforms, transformed
from onepath.nn.selection import Selection
from onepath.space import Choice, Option

Presence = tuple[Choice, frozenset[Option]]
"""A choice, and those of its options under which a module is part of the network."""


@dataclass(frozen=True, eq=False)
class Part:
    """The rule by which the active options keep entries of a tensor along one dimension.

    The entries are of several kinds, one per choice, and form units, such as the heads of an attention. Of each kind,
    the first `option // per_unit` units are kept, in their order.

    Attributes:
        choices: choice of each kind; its option decides how many units of the kind are kept.
        per_unit: for each choice, the part of an option that stands for one unit.
        owners: (full,) kind of each entry, as index in `choices`; -1 for an entry that is always kept.
        ranks: (full,) position of each entry's unit among the units of its kind.
    """

    choices: tuple[Choice, ...]
    per_unit: tuple[int, ...]
    owners: npt.NDArray[np.int64]
    ranks: npt.NDArray[np.int64]
    _known: dict[tuple[Any, ...], slice | Tensor] = field(default_factory=dict)

    @property
    def full(self) -> int:
        """Number of entries in the largest architecture."""
        return len(self.owners)

    def kept(self, options: Mapping[Choice, Option]) -> slice | Tensor:
        """Return the active entries: a slice if they are the leading ones, else their indices, an int64 tensor (N,)."""
        key = tuple(options.get(choice) for choice in self.choices)
        found = self._known.get(key)
        if found is None:
            places = torch.from_numpy(np.flatnonzero(self._mask(key)))
            num = len(places)
            found = slice(0, num) if bool((places == torch.arange(num)).all()) else places
            self._known[key] = found
        return found

    def num(self, options: Mapping[Choice, Option]) -> int:
        """Return the number of active entries."""
        kept = self.kept(options)
        return int(kept.stop) if isinstance(kept, slice) else len(kept)

    def of(self, tensor: Tensor, dim: int, options: Mapping[Choice, Option]) -> Tensor:
        """Return the active entries of a tensor along `dim`: a view if they are the leading ones, else a copy."""
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
    """A whole-number attribute of a module: `full` in the largest architecture, else in proportion to a part."""

    part: Part
    full: int

    def value(self, options: Mapping[Choice, Option]) -> int:
        """Return the value under the active options."""
        return self.full * self.part.num(options) // self.part.full


@dataclass(frozen=True, eq=False)
class Adaptation:
    """How the tensors and attributes of a module depend on choices.

    Attributes:
        parts: name of a parameter or buffer -> dimension -> the part that is active along it.
        sizes: name of an attribute -> its value, which depends on choices.
        kernel: choice of the side of a convolution's kernel, whose centre is used; None: the kernel is fixed.
        transforms_kernel: whether the module has matrices `transforms` that the centre is multiplied by, see
            `onepath.nn.kernel_transform.transformed`.
        presence: when the module is part of the network; when it is not, it returns its first input. None: it always
            is.
        takes_more: whether the module is called with more than one input.
        caches: names of dictionaries in which the module keeps results computed from its parameters; `drop_tensors`
            empties them before each use.
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
        """All distinct choices; the choice of the presence comes first, that of the kernel last."""
        found = [] if self.presence is None else [self.presence[0]]
        found += [choice for dims in self.parts.values() for part in dims.values() for choice in part.choices]
        found += [choice for size in self.sizes.values() for choice in size.part.choices]
        return tuple(dict.fromkeys([*found, *([] if self.kernel is None else [self.kernel])]))

    def tensor(self, name: str, tensor: Tensor, options: Mapping[Choice, Option]) -> Tensor:
        """Return the active part of a parameter or buffer; kernels by their centre, without the transforms.

        Args:
            name: name of the parameter or buffer.
            tensor: its value in the largest architecture.
            options: the active options.
        """
        for dim, part in self.parts.get(name, {}).items():
            tensor = part.of(tensor, dim, options)
        margin = self.margin(options) if name == "weight" else 0
        for dim in range(2, tensor.dim() if margin else 0):
            tensor = tensor.narrow(dim, margin, tensor.shape[dim] - 2 * margin)
        return tensor

    def margin(self, options: Mapping[Choice, Option]) -> int:
        """Return the number of entries that are cut off each end of the largest kernel's sides."""
        if self.kernel is None or self.kernel not in options:
            return 0
        return (max(map(int, self.kernel.options)) - int(options[self.kernel])) // 2

    def padding(self, padding: Any, dilation: Sequence[int], options: Mapping[Choice, Option]) -> Any:
        """Return a convolution's padding for the active kernel, so that the output keeps its size.

        Args:
            padding: padding of the largest kernel, per side, or a word such as "same", which is returned.
            dilation: dilation per side.
            options: the active options.
        """
        if isinstance(padding, str):
            return padding
        return tuple(size - self.margin(options) * step for size, step in zip(padding, dilation, strict=True))


class FirstInput(nn.Identity):
    """A module that returns the first of its inputs."""

    def forward(self, input: Tensor, *others: Any, **named: Any) -> Tensor:  # noqa: ARG002
        """Return the first input."""
        return input


class Adapted(nn.Module):
    """Base of the classes that `adapt` makes; such a class inherits from it and from the module's own class.

    Attributes:
        path: path of the module in its supernet; "" before it is bound.
        selection: the active options of the supernet.
        adaptation: how the module depends on choices; held by the class, because each adapted module has its own class.
        plain: the module's own class.
    """

    adaptation: ClassVar[Adaptation]
    plain: ClassVar[type[nn.Module]]
    path: str
    selection: Selection

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Return a deep copy, with a class of its own because it reads the copies of the choices."""
        made = _adapted_class(self.plain, copy.deepcopy(self.adaptation, memo))
        clone: Self = made.__new__(made)
        memo[id(self)] = clone
        clone.__dict__.update(copy.deepcopy(self.__dict__, memo))
        return clone

    def __init_subclass__(cls, **named: Any) -> None:
        """Does nothing: what the plain class does with each class below it is not meant for this one."""

    def own_choices(self) -> tuple[Choice, ...]:
        """Return all choices that the module itself reads."""
        return self.adaptation.choices

    @property
    def presence(self) -> Presence | None:
        """When the module, with all its submodules, is part of the network; None: always."""
        return self.adaptation.presence

    @property
    def is_present(self) -> bool:
        """Whether the module is part of the network under the active options."""
        if self.adaptation.presence is None:
            return True
        choice, options = self.adaptation.presence
        return self.selection.options.get(choice, max(choice.options)) in options

    def __getattr__(self, name: str) -> Any:
        value = super().__getattr__(name)
        if not isinstance(value, Tensor):
            return value
        copies = self.__dict__["_written"]
        if copies is not None and name in copies:
            return copies[name]
        active = self.active(name, value)
        if copies is not None and name in self._buffers and self._is_copied(name):
            copies[name] = active
        return active

    def __setattr__(self, name: str, value: Any) -> None:
        """A tensor with the shape of a buffer's active part takes that part's place; the other entries stay."""
        if (
            isinstance(value, Tensor)
            and name in self.adaptation.parts
            and self._buffers.get(name) is not None
        ):
            active, stored = getattr(self, name), self._buffers[name]
            assert stored is not None
            is_view = value._is_view() and value._base is stored
            if value is active or (
                is_view and value.shape == active.shape and value.stride() == active.stride()
            ):
                return  # it was changed in place
            if value.shape == active.shape != stored.shape:
                # What the module has read of the stored buffer must keep the old values, also for gradients.
                dims = list(self.adaptation.parts[name].items())
                value = self._fill(stored.detach().clone(), value, dims)
        super().__setattr__(name, value)
        if self.__dict__.get("_written"):
            self.__dict__["_written"].pop(name, None)

    def active(self, name: str, tensor: Tensor) -> Tensor:
        """Return the active part of a parameter or buffer of the module.

        Args:
            name: name of the parameter or buffer.
            tensor: its value in the largest architecture.
        """
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
        """Run the module's own `forward` on the active parts; return the first input if it is not in the network."""
        if not self.is_present:
            return inputs[0]
        for name in self.adaptation.caches:
            drop_tensors(self.__dict__[name])
        copies: dict[str, Tensor] | None = {} if self.training else None
        self.__dict__["_written"] = copies
        try:
            output = super().forward(*inputs, **named)
        finally:
            self.__dict__["_written"] = None
        with torch.no_grad():
            for name, active in (copies or {}).items():
                buffer = self._buffers[name]
                assert buffer is not None
                self._fill(buffer, active, list(self.adaptation.parts[name].items()))
        return output

    def _is_copied(self, name: str) -> bool:
        """Whether the active part of a tensor is no view of it."""
        parts = self.adaptation.parts.get(name, {}).values()
        return any(isinstance(part.kept(self.selection.options), Tensor) for part in parts)

    def _fill(self, tensor: Tensor, active: Tensor, dims: Sequence[tuple[int, Part]]) -> Tensor:
        """Write into the active part of a tensor along some of its dimensions, in place, and return the tensor."""
        if not dims:
            return tensor.copy_(active)
        (dim, part), *others = dims
        kept = part.kept(self.selection.options)
        inside = self._fill(part.of(tensor, dim, self.selection.options), active, others)
        return tensor if isinstance(kept, slice) else tensor.index_copy_(dim, kept.to(tensor.device), inside)

    def extracted(self, *, inherit: bool) -> nn.Module:
        """Return the module itself, which extraction then cuts down, or an identity if it is not in the network."""
        del inherit
        if self.is_present:
            return self
        return FirstInput() if self.adaptation.takes_more else nn.Identity()

    def make_plain(self, clone: nn.Module) -> None:
        """Give a copy, whose tensors already are the active parts, its plain class and the active sizes; in place.

        Args:
            clone: the copy.
        """
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
            drop_tensors(self.__dict__[name])  # the clone gets a copy of it in the end
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
    """Make a module elastic, in place; `restore` undoes it.

    Args:
        module: module whose class is replaced; it gets a submodule `transforms` if the kernel is transformed.
        adaptation: how the module depends on choices.
    """
    if adaptation.transforms_kernel and adaptation.kernel is not None:
        weight = module._parameters["weight"]
        assert weight is not None
        transforms = make_transforms(list(map(int, adaptation.kernel.options)), weight.dim() - 2)
        module.add_module("transforms", transforms.to(weight))
    module.__class__ = _adapted_class(type(module), adaptation)
    module.__dict__.update(path="", selection=Selection(), _written=None)


def _adapted_class(own: type[nn.Module], adaptation: Adaptation) -> Any:
    """Return the class of one adapted module."""
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


def drop_tensors(cache: dict[Any, Any]) -> None:
    """Remove the entries of a dictionary that hold tensors, also in lists, tuples and dictionaries; others stay."""
    for key, value in list(cache.items()):
        if any(isinstance(leaf, Tensor) for leaf in tree_leaves(value)):
            del cache[key]


def restore(module: nn.Module) -> None:
    """Undo `adapt`, in place: the module gets its own class back; other modules are left alone."""
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
