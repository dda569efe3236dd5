"""One pass of a network, recorded operation by operation, with the units that its tensors are made of."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from onepath.conversion.units import FIXED, Units
from onepath.cost.operations import counter_of

MOST_ELEMENTS = 4_000_000
"""Of a parameter that is used element by element; the units of a larger one are frozen."""


@dataclass(eq=False)
class Source:
    """A parameter or buffer, and the labels of what it is made of.

    It is a matrix, whose rows and columns are of units (the weight of a convolution), or a tensor whose elements are.

    Attributes:
        path: of the first module that holds it.
        name: in that module.
        tensor: itself.
        vectors: dimension -> labels (size,) along it, of a matrix.
        elements: labels of its shape, of any other tensor; None as long as it was not used so.
        made: the dimension of a matrix that the network's channels first come from; None of any other tensor.
        holders: all modules that hold it, with its name there.
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
    """What ran: its kind ("shape", "pointwise", "add" or "other"), the innermost module, the tensors by their ids."""

    kind: str
    path: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    macs: int


@dataclass(frozen=True)
class Call:
    """A call of a module: the tensors that came and went by their ids, and where it stands among the operations."""

    path: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    first: int
    last: int
    is_plain: bool
    """Whether one tensor came first and one tensor of its shape went."""
    takes_more: bool
    """Whether anything came beside the first argument."""


@dataclass(frozen=True)
class Split:
    """A dimension of units that a reshape made two of: labels along it, and the size of the outer one."""

    labels: Tensor
    outer: int


class Trace(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Sees every operation of a network below torch's own composite ones, and gives its results their labels.

    Args:
        model: whose parameters and buffers are the sources.
        units: filled.
        rule: labels the results of an operation, and says its kind; see `onepath.conversion.rules`.
        known: (path, name) -> source whose labels are known already, for a network cut out of a larger one.

    Attributes:
        sources: id of a parameter or buffer -> what is known of it.
        operations, calls: in their order.
        notes: (path of a module, attribute) -> labels of the units by whose number the attribute changes.
        splits: dimensions of units that were split.
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
        """Of the module whose call is the innermost one that runs now."""
        return self._stack[-1]

    def run(self, inputs: Sequence[Any]) -> Any:
        """One pass without gradients, on inputs that are whole arguments; what is returned can lose no channel."""
        with torch.no_grad(), self._hooked(), _unfused(), self:
            output = self.model(*inputs)
        for tensor in tree_leaves(output):
            if isinstance(tensor, Tensor) and (labels := self.label(tensor)) is not None:
                self.units.freeze(labels, "it makes what the model returns")
        return output

    def label(self, tensor: Any) -> Tensor | None:
        """The labels of a tensor; None where all of it is fixed."""
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
        """The parameter that a tensor is, and whether turned; None of one computed, or used element by element."""
        source = self.sources.get(id(tensor))
        is_turned = source is None
        source = source or self.turned.get(id(tensor))
        if source is None or (source.elements is not None and bool((source.elements != FIXED).any())):
            return None
        return source, is_turned

    def set(self, tensor: Any, labels: Tensor | None) -> None:
        """Give a result its labels."""
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
        """Run the operation, and label what it returns."""
        del types
        kwargs = kwargs or {}
        output = func(*args, **kwargs)
        tensors = [leaf for leaf in tree_leaves([args, kwargs]) if isinstance(leaf, Tensor)]
        results = [leaf for leaf in tree_leaves(output) if isinstance(leaf, Tensor)]
        self._kept += [*tensors, *results]
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


@contextmanager
def _unfused() -> Iterator[None]:
    """Inside, no transformer layer runs as one fused operation."""
    was = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(was)
