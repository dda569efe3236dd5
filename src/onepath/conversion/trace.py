"""Passes of a network, recorded operation by operation, with the units that the elements of its tensors belong to."""

from __future__ import annotations

import types
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from onepath.conversion.units import FIXED, Units
from onepath.cost.operations import counter_of
from onepath.errors import ConfigurationError
from onepath.nn.copying import held

MOST_ELEMENTS = 4_000_000
"""Most elements of a parameter that get a label each; a larger one counts as fixed."""


@dataclass(eq=False)
class Source:
    """A parameter or buffer, and the labels of its entries.

    It is either a matrix, whose rows and columns have labels (such as the weight of a convolution), or a tensor whose
    elements have labels.

    Attributes:
        path: path of the first module that holds it.
        name: its name in that module.
        tensor: the parameter or buffer itself.
        vectors: of a matrix: dimension -> labels along it, (size,).
        elements: of any other tensor: its labels, in its shape; None until it is used element by element.
        made: of a matrix: the dimension of its outputs, whose labels were new at its first use; None of any other.
        holders: path of each module that holds it, and its name there.
    """

    path: str
    name: str
    tensor: Tensor
    vectors: dict[int, Tensor] = field(default_factory=dict)
    elements: Tensor | None = None
    made: int | None = None
    holders: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True)
class Operation:
    """An operation that ran.

    Attributes:
        kind: "shape", "pointwise" (of one tensor), "add" (of two tensors) or "other".
        path: path of the innermost module that ran it.
        inputs, outputs: ids of its tensors.
        macs: its multiply-accumulates; 0 if it has no counter.
    """

    kind: str
    path: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    macs: int


@dataclass(frozen=True)
class Call:
    """A call of a module.

    Attributes:
        path: path of the module.
        inputs, outputs: ids of the tensors in its arguments and in its results.
        first, last: the operations that ran in it are `Trace.operations[first:last]`.
        is_plain: whether its first argument and its result are tensors of one shape, and no other tensor came in.
        takes_more: whether it got an argument besides the first.
    """

    path: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    first: int
    last: int
    is_plain: bool
    takes_more: bool


@dataclass(frozen=True)
class Split:
    """A dimension with units that the code splits into equal parts.

    Attributes:
        labels: labels along the dimension, (size,).
        outer: number of the parts.
    """

    labels: Tensor
    outer: int


class Trace(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """A mode that records every operation of a network below torch's composite ones, and labels its results.

    Args:
        model: the network; its parameters and buffers are the sources.
        units: the sets that new labels are added to and united in.
        rule: labels the results of an operation and returns its kind; see `onepath.conversion.rules.apply_rule`.
        known: (path, name) -> a source whose labels are taken, for a network that was cut out of a larger one.

    Attributes:
        labels: id of a computed tensor -> its labels, in its shape.
        turned: id of a transposed matrix -> its source.
        sources: id of a parameter or buffer -> its source.
        operations: the operations that ran, in order.
        calls: the calls of modules, in the order in which they ended.
        notes: (path of a module, attribute) -> labels of the units that the attribute counts.
        splits: dimensions with units that were split.
    """

    def __init__(
        self,
        model: nn.Module,
        units: Units,
        rule: Callable[..., str],
        known: Mapping[tuple[str, str], Source] | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.model, self.units, self._rule = model, units, rule
        self.labels: dict[int, Tensor] = {}
        self.turned: dict[int, Source] = {}
        self.sources: dict[int, Source] = {}
        self.operations: list[Operation] = []
        self.calls: list[Call] = []
        self.notes: dict[tuple[str, str], Tensor] = {}
        self.splits: list[Split] = []
        self.value_reads: list[str] = []
        self._stack: list[str] = [""]
        self._kept: list[Any] = []
        for path, module in model.named_modules():
            for name, tensor in (*module._parameters.items(), *module._buffers.items()):
                if tensor is None:
                    continue
                source = self.sources.get(id(tensor))
                if source is None:
                    source = Source(path, name, tensor)
                    if known is not None and (path, name) in known:
                        source.vectors = known[path, name].vectors
                        source.elements = known[path, name].elements
                    self.sources[id(tensor)] = source
                source.holders.append((path, name))

    @property
    def path(self) -> str:
        """Path of the innermost module that is running; "" for the model itself."""
        return self._stack[-1]

    def run(self, inputs: Sequence[Any]) -> Any:
        """Run the network once without gradients and return its output; the output's units are frozen.

        Args:
            inputs: positional arguments of the network.

        Raises:
            ConfigurationError: the output hides a tensor, see `output_tensors`.
        """
        with torch.no_grad(), self._hooked(), _unfused(), self:
            output = self.model(*inputs)
        for tensor in output_tensors(output):
            if (labels := self.label(tensor)) is not None:
                self.units.freeze(labels, "it makes what the model returns")
        return output

    def label(self, tensor: Any) -> Tensor | None:
        """Return the labels of a tensor, in its shape; None if all its elements are fixed."""
        if not isinstance(tensor, Tensor):
            return None
        found = self.labels.get(id(tensor))
        if found is not None:
            return found
        source = self.sources.get(id(tensor)) or self.turned.get(id(tensor))
        if source is None:
            return None
        elements = self._elements(source)
        return None if elements is None else elements.t() if id(tensor) in self.turned else elements

    def is_source(self, tensor: Any) -> bool:
        """Whether a tensor is a parameter or a buffer itself."""
        return id(tensor) in self.sources

    def matrix(self, tensor: Any) -> tuple[Source, bool] | None:
        """Return the source of a matrix, and whether the tensor is its transpose.

        Return None for a computed tensor, and for a parameter that was used element by element.
        """
        source = self.sources.get(id(tensor))
        is_turned = source is None
        source = source or self.turned.get(id(tensor))
        if source is None or (source.elements is not None and bool((source.elements != FIXED).any())):
            return None
        return source, is_turned

    def set(self, tensor: Any, labels: Tensor | None) -> None:
        """Set the labels of a result; does nothing if `labels` is None or `tensor` is a parameter or buffer."""
        if labels is not None and isinstance(tensor, Tensor) and not self.is_source(tensor):
            self.labels[id(tensor)] = labels

    def _elements(self, source: Source) -> Tensor | None:
        if source.elements is None:
            if not source.tensor.is_floating_point():
                return None
            if source.vectors or source.tensor.numel() > MOST_ELEMENTS:
                for vector in source.vectors.values():
                    self.units.freeze(vector, "its weight is also used by itself")
                return None
            source.elements = self.units.new(*source.tensor.shape)
        return source.elements

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Run the operation, record it and label its results."""
        del types
        kwargs = kwargs or {}
        output = func(*args, **kwargs)
        tensors = [leaf for leaf in tree_leaves([args, kwargs]) if isinstance(leaf, Tensor)]
        results = [leaf for leaf in tree_leaves(output) if isinstance(leaf, Tensor)]
        self._kept += [*tensors, *results]
        if func._schema.name == "aten::_local_scalar_dense" and not self.is_source(tensors[0]):
            self.value_reads.append(self.path)
        kind = self._rule(self, func, args, kwargs, output)
        counter = counter_of(func)
        macs = 0 if counter is None else counter(args, output)
        ids = tuple(map(id, tensors)), tuple(map(id, results))
        self.operations.append(Operation(kind, self.path, *ids, macs))
        return output

    @contextmanager
    def _hooked(self) -> Iterator[None]:
        begun: list[tuple[tuple[int, ...], int]] = []

        def before(path: str) -> Callable[..., None]:
            def hook(_: nn.Module, args: Any, kwargs: Any) -> None:
                self._stack.append(path)
                tensors = [leaf for leaf in tree_leaves([args, kwargs]) if isinstance(leaf, Tensor)]
                begun.append((tuple(map(id, tensors)), len(self.operations)))

            return hook

        def after(path: str) -> Callable[..., None]:
            def hook(_: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
                self._stack.pop()
                inputs, first = begun.pop()
                outputs = [leaf for leaf in tree_leaves(output) if isinstance(leaf, Tensor)]
                is_plain = (
                    len(args) >= 1
                    and isinstance(args[0], Tensor)
                    and isinstance(output, Tensor)
                    and len(inputs) == 1
                    and args[0].shape == output.shape
                )
                self._kept += outputs
                ids = tuple(map(id, outputs))
                takes_more = len(args) + len(kwargs) > 1
                self.calls.append(Call(path, inputs, ids, first, len(self.operations), is_plain, takes_more))

            return hook

        handles = []
        for path, module in self.model.named_modules():
            if isinstance(module, torch.jit.ScriptModule):
                continue
            handles.append(module.register_forward_pre_hook(before(path), with_kwargs=True))
            handles.append(module.register_forward_hook(after(path), with_kwargs=True))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()
            del self._stack[1:]


def output_tensors(output: Any) -> list[Tensor]:
    """Return the tensors in what a network returns, in the order in which they lie there.

    They are found in lists, tuples and dicts, in attributes and slots of objects such as dataclasses, and in what is
    registered with torch's pytrees. An array of numbers counts as a tensor and is copied into one. A module is no part
    of an output.

    Raises:
        ConfigurationError: a tensor lies where it has no order, or is used by code that has not run: in a set, a
            function or a generator.
    """
    return _tensors(output, {})


_NO_PART = (type(None), bool, int, float, complex, str, bytes, type, types.ModuleType, nn.Module)
_ORDERED = (list, tuple, dict, deque, types.MappingProxyType, np.ndarray, types.CellType, types.MethodType)
_HIDING = (set, frozenset, types.FunctionType, partial)


def _tensors(value: Any, known: dict[int, tuple[Any, list[Tensor]]]) -> list[Tensor]:
    """Return the tensors that a value leads to.

    Args:
        value: any object.
        known: id of an object that was met -> itself, so that no other gets its id, and its tensors; none while these
            are being found.
    """
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, _NO_PART):
        return []
    if isinstance(value, np.ndarray) and value.dtype.kind in "biufc":
        return [torch.from_numpy(value.copy())]
    if id(value) in known:
        return known[id(value)][1]
    found: list[Tensor] = []
    known[id(value)] = value, []
    leaves = tree_leaves(value)
    for item in held(value) if any(leaf is value for leaf in leaves) else leaves:
        found += _tensors(item, known)
    has_attributes = hasattr(value, "__dict__") or hasattr(type(value), "__slots__")
    if found and (isinstance(value, _HIDING) or not (has_attributes or isinstance(value, _ORDERED))):
        raise ConfigurationError(
            "a model must return its tensors in lists, tuples, dicts or attributes of objects, but one of them lies in "
            f"a {type(value).__name__}; return it in a list, for example"
        )
    known[id(value)] = value, found
    return found


@contextmanager
def _unfused() -> Iterator[None]:
    """Context in which no transformer layer runs as one fused operation."""
    was = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(was)
