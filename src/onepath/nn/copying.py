"""Copies of a tree of modules that share nothing with the tree, however its modules refer to each other.

Besides its parent, many other things may refer to a module: a list, a tuple, a dict, a bound method, a
`functools.partial`, a hook, the closure or a default of a function, a weak reference, an object. Like `copy.deepcopy`,
a copy keeps a record of each original and its copy, so that all these references lead to the copies, and a tensor that
several modules share is copied once. Unlike in `copy.deepcopy`, an object from which nothing of the tree can be reached
is not copied: a module outside the tree (such as a teacher), a choice, a logger.
"""

from __future__ import annotations

import copy
import functools
import gc
import types
import weakref
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Collection, Iterable
from typing import Any, TypeVar, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from onepath.errors import BindingError
from onepath.nn.selection import Selection, has_choices
from onepath.space import Architecture, Choice, SearchSpace
from onepath.space.choice import Expression

_ATOMS = frozenset(
    {type(None), bool, int, float, complex, str, bytes, type, torch.dtype, torch.device, torch.Size, slice}
    | {Choice, Expression, SearchSpace, Architecture, types.BuiltinFunctionType, types.ModuleType}
)
M = TypeVar("M", bound=nn.Module)
_CONTAINERS = frozenset({dict, OrderedDict, list, set})
_DICTS = ("_parameters", "_buffers", "_modules")


class Copier:
    """Makes one copy of a tree of modules.

    First `shell` copies each module with its tensors, then `finish` copies everything else that the modules hold.

    Args:
        root: root of the tree.
        tensor: makes the copy of the data of a parameter, buffer or other tensor; its result is detached, and it is
            called once per tensor.
        apart: also copy objects from which nothing of the tree can be reached, if they can be copied, so that running
            the copy does not change generators, counters and teachers.
    """

    def __init__(self, root: nn.Module, tensor: Callable[[Tensor], Tensor], *, apart: bool = False) -> None:
        self._root = root
        self._tensor = tensor
        self._apart: dict[int, Any] | None = None  # memo of `copy.deepcopy`
        if apart:
            readers = [module for module in root.modules() if has_choices(module)]
            self._apart = {id(choice): choice for module in readers for choice in module.own_choices()}
        self._made: dict[int, Any] = {}  # id of an original -> its copy
        self._kept: list[object] = []  # originals made on the way, so that no id is used twice
        self._unfinished: list[tuple[nn.Module, nn.Module, list[str]]] = []
        self._paths: dict[int, str] | None = None
        self._outside: set[int] = set()  # objects that lead to nothing of the tree

    def note(self, original: object, copied: object) -> None:
        """Record that all references to an original shall lead to this copy."""
        self._made[id(original)] = copied
        self._kept.append(original)

    def known(self, original: object) -> Any:
        """Return the recorded copy of an object, or None if there is none."""
        return self._made.get(id(original))

    def path(self, module: nn.Module) -> str | None:
        """Return the path of a module in the tree, or None for a module outside the tree."""
        if self._paths is None:
            self._paths = {id(found): path for path, found in self._root.named_modules()}
        return self._paths.get(id(module))

    def shell(
        self,
        module: nn.Module,
        *,
        without: Collection[str] = (),
        part: Callable[[str, Tensor], Tensor | None] = lambda _, __: None,
    ) -> nn.Module:
        """Return a copy of one module with copied tensors and the same children; `finish` copies the rest later.

        Args:
            module: a module of the tree.
            without: names of attributes that the copy shall not have.
            part: name and value of a parameter or buffer -> the tensor that the copy holds instead; None: a copy of the
                tensor.

        Raises:
            BindingError: a parameter or buffer has no shape yet, as in a lazy module.
        """
        clone = module.__class__.__new__(module.__class__)
        self.note(module, clone)
        values = {name: value for name, value in module.__dict__.items() if name not in without}
        clone.__dict__ = values
        others: list[str] = []
        for name, value in values.items():
            kind = type(value)
            if kind in _ATOMS or (kind is tuple and _is_plain(value)):
                continue
            if kind in _CONTAINERS and not value:
                values[name] = kind()
            elif name in _DICTS or (kind is list and _is_plain(value)):
                values[name] = value.copy()
            else:
                others.append(name)
        values["_compiled_call_impl"] = None
        registries: tuple[dict[str, Any], ...] = (clone._parameters, clone._buffers)
        for tensors in registries:
            for name, tensor in tensors.items():
                if tensor is None:
                    continue
                if is_lazy(tensor):
                    raise BindingError(
                        f"{self.path(module) or 'root'}: a module must know its shapes to be copied, but {name!r} of "
                        f"{type(module).__name__} has none yet; run the module once before, or give it its sizes"
                    )
                own = part(name, tensor)
                tensors[name] = self.tensor(tensor) if own is None else own
        if others:
            self._unfinished.append((module, clone, others))
        return clone

    def tensor(self, tensor: Tensor) -> Tensor:
        """Return the copy of a tensor, made on the first call; the copy of a parameter is a parameter."""
        found: Tensor | None = self._made.get(id(tensor))
        if found is None:
            found = self._tensor(tensor)
            if isinstance(tensor, nn.Parameter):
                found = nn.Parameter(found, requires_grad=tensor.requires_grad)
            elif tensor.requires_grad and tensor.is_leaf:
                found.requires_grad_()
            self._made[id(tensor)] = found
            self._kept.append(tensor)
        return found

    def finish(self, make: Callable[[nn.Module, str], nn.Module]) -> None:
        """Replace everything that the copies hold besides their children by copies.

        Args:
            make: (module, path) -> copy, for a module of the tree that no parent has led to yet.

        Raises:
            BindingError: an attribute of a module cannot be copied; the message names the attribute.
        """
        self._make = make
        while self._unfinished:
            module, clone, names = self._unfinished.pop()
            for name in names:
                try:
                    clone.__dict__[name] = self.mapped(module.__dict__[name])
                except (TypeError, AttributeError, RecursionError) as error:
                    raise BindingError(
                        f"{self.path(module) or 'root'}: what a module of a supernet holds must be possible to "
                        f"copy, but attribute {name!r} of {type(module).__name__}, which leads to others, raised "
                        f"{type(error).__name__}: {error}; hold the modules in an nn.ModuleList or nn.ModuleDict"
                    ) from error

    def mapped(self, value: Any) -> Any:
        """Return the object that a copy holds in place of `value`: a copy, or `value` itself if that may be shared."""
        kind = type(value)
        if kind in _ATOMS:
            return value
        found = self._made.get(id(value))
        if found is not None:
            return found
        if isinstance(value, nn.Module):
            path = self.path(value)
            is_outside = path is None and not self._leads_inside(value)
            return self._outsider(value) if is_outside else self._make(value, path or "")
        if isinstance(value, Tensor):
            return self.tensor(value)
        if isinstance(value, (list, dict, set, deque)):
            return self._container(value)
        if not self._leads_inside(value):
            return self._outsider(value)
        self._kept.append(value)
        return self._other(value)

    def _outsider(self, value: Any) -> Any:
        """Return an object from which nothing of the tree can be reached: itself, or a copy if `apart` is set."""
        if self._apart is None:
            return value
        if isinstance(value, tuple):
            return self._other(value)
        try:
            return copy.deepcopy(value, self._apart)
        except (TypeError, ValueError, AttributeError, RuntimeError, OSError):  # a lock, a file
            return value

    def _container(self, value: Any) -> Any:
        """Copy a mutable container, which is always copied."""
        copied = copy.copy(value)
        self._made[id(value)] = copied
        self._kept.append(value)
        if isinstance(value, dict):
            copied.clear()
            for key, item in value.items():
                copied[self.mapped(key)] = self.mapped(item)
        elif isinstance(value, set):
            copied.clear()
            copied.update(self.mapped(item) for item in value)
        else:
            for index, item in enumerate(value):
                copied[index] = self.mapped(item)
        if isinstance(value, defaultdict):
            copied.default_factory = self.mapped(value.default_factory)
        if type(value) not in _CONTAINERS:
            for name, item in _attributes(value).items():
                object.__setattr__(copied, name, self.mapped(item))
        return copied

    def _other(self, value: Any) -> Any:
        """Copy a tuple, a callable, a weak reference or an object that leads into the tree."""
        if isinstance(value, (tuple, frozenset)):
            items = [self.mapped(item) for item in value]
            copied = type(value)._make(items) if hasattr(value, "_make") else type(value)(items)
        elif isinstance(value, types.MethodType):
            owner = self.mapped(value.__self__)
            is_plain = has_choices(value.__self__) and not has_choices(owner)
            copied = getattr(owner, value.__name__) if is_plain else types.MethodType(value.__func__, owner)
        elif isinstance(value, functools.partial):
            arguments = [self.mapped(item) for item in value.args]
            copied = type(value)(self.mapped(value.func), *arguments, **self.mapped(value.keywords))
            copied.__dict__.update(self.mapped(value.__dict__))
        elif isinstance(value, types.FunctionType):
            return self._function(value)
        elif isinstance(value, types.CellType):
            copied = self._made[id(value)] = types.CellType()
            copied.cell_contents = self.mapped(value.cell_contents)
        elif isinstance(value, weakref.ref):
            copied = type(value)(self.mapped(value()))
        elif isinstance(value, types.MappingProxyType):
            copied = types.MappingProxyType(self.mapped(value.copy()))
        elif isinstance(value, np.ndarray):
            copied = value.copy()
            for index in np.ndindex(value.shape):
                copied[index] = self.mapped(value[index])
        else:
            return self._object(value)
        self._made[id(value)] = copied
        return copied

    def _function(self, value: types.FunctionType) -> types.FunctionType:
        """Copy a function whose closure, defaults or attributes lead into the tree."""
        defaults = self.mapped(value.__defaults__)
        closure = self.mapped(value.__closure__)
        if (found := self._made.get(id(value))) is not None:  # by a closure that holds the function
            return found  # type: ignore[no-any-return]
        copied = types.FunctionType(value.__code__, value.__globals__, value.__name__, defaults, closure)
        self._made[id(value)] = copied
        copied.__qualname__, copied.__doc__ = value.__qualname__, value.__doc__
        copied.__kwdefaults__ = self.mapped(value.__kwdefaults__)
        copied.__dict__.update(self.mapped(value.__dict__))
        return copied

    def _object(self, value: Any) -> Any:
        """Copy an object whose attributes lead into the tree."""
        copied = self._made[id(value)] = value.__class__.__new__(value.__class__)
        if isinstance(value, Selection):
            copied.options, copied.gates = dict(value.options), {}
            return copied
        for name, item in _attributes(value).items():
            object.__setattr__(copied, name, self.mapped(item))
        return copied

    def _leads_inside(self, value: Any) -> bool:
        """Tell whether a copied object, a module of the tree, or a tensor can be reached from `value`.

        The tensors of a module outside the tree do not count, unless they have been copied.
        """
        seen: set[int] = set()
        left = [value]
        while left:
            item = left.pop()
            if type(item) in _ATOMS or id(item) in seen or id(item) in self._outside:
                continue
            seen.add(id(item))
            if id(item) in self._made or isinstance(item, (Tensor, Selection)):
                return True
            if not isinstance(item, nn.Module):
                left.extend(held(item))
            elif self.path(item) is not None or any(
                id(tensor) in self._made for tensor in (*item._parameters.values(), *item._buffers.values())
            ):
                return True
            else:
                left.extend(item._modules.values())
        self._outside |= seen
        return False


def _is_plain(value: Iterable[Any]) -> bool:
    """Tell whether a tuple or list holds only objects that cannot lead to a module."""
    return all(type(item) in _ATOMS for item in value)


def held(item: Any) -> list[Any]:
    """Return the objects that an object refers to directly: items, attributes, closures, arguments."""
    if isinstance(item, (list, tuple, set, frozenset, deque, dict, types.MappingProxyType)):
        found = [*item, *item.values()] if isinstance(item, (dict, types.MappingProxyType)) else list(item)
        if isinstance(item, defaultdict):
            found.append(item.default_factory)
        return found if type(item) in _CONTAINERS else [*found, *_attributes(item).values()]
    if isinstance(item, np.ndarray):
        return list(item.flat) if item.dtype.hasobject else []
    if isinstance(item, types.MethodType):
        return [item.__self__]
    if isinstance(item, functools.partial):
        return [item.func, item.args, item.keywords, item.__dict__]
    if isinstance(item, types.FunctionType):
        return [item.__closure__, item.__defaults__, item.__kwdefaults__, item.__dict__]
    if isinstance(item, types.CellType):
        try:
            return [item.cell_contents]
        except ValueError:  # empty
            return []
    if isinstance(item, weakref.ref):
        return [item()]
    if isinstance(item, type):
        return []
    return list(_attributes(item).values()) or gc.get_referents(item)  # as of an iterator


def _attributes(item: Any) -> dict[str, Any]:
    """Return the attributes of an object itself, including those in slots."""
    found = dict(getattr(item, "__dict__", {}))
    for base in type(item).__mro__:
        slots = base.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if name not in ("__dict__", "__weakref__") and hasattr(item, name):
                found[name] = getattr(item, name)
    return found


def scripted_copy(module: torch.jit.ScriptModule) -> torch.jit.ScriptModule:
    """Return a deep copy of a scripted module, whose tensors are not held in Python."""
    with torch.no_grad():  # else its parameters would lead to those of the module
        copied = copy.deepcopy(module)
    for parameter, original in zip(copied.parameters(), module.parameters(), strict=True):
        parameter.requires_grad_(original.requires_grad)
    return copied


def unfilled_copy(module: nn.Module, device: torch.device) -> nn.Module:
    """Copy a tree of plain modules; parameters and buffers are allocated on `device` and not filled.

    This is many times faster than building the modules, which draws weights, or than a deep copy.
    """
    return whole_copy(module, lambda tensor: torch.empty(tensor.shape, dtype=tensor.dtype, device=device))


def whole_copy(module: M, tensor: Callable[[Tensor], Tensor], *, apart: bool = False) -> M:
    """Copy a tree of modules, including its choice blocks and elastic layers.

    Args:
        module: root of the tree; not changed.
        tensor: makes the copy of a tensor's data, see `Copier`.
        apart: also copy objects outside the tree, see `Copier`.

    Raises:
        BindingError: a module holds something that cannot be copied, or has no shapes yet.
    """
    copier = Copier(module, tensor, apart=apart)

    def copied(original: nn.Module, path: str = "") -> nn.Module:
        del path
        found: nn.Module | None = copier.known(original)
        if found is None and isinstance(original, torch.jit.ScriptModule):
            found = scripted_copy(original)
            copier.note(original, found)
        elif found is None:
            found = copier.shell(original)
            for name, child in found._modules.items():
                if child is not None:
                    found._modules[name] = copied(child)
        return found

    result = copied(module)
    with torch.no_grad():
        copier.finish(copied)
    return cast(M, result)
