"""Peak activation memory of one inference, computed without data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from onepath.cost.count import run_once, run_without_data

# Names in aten, without the underscore of an in-place variant, in addition to what torch tags as elementwise.
_VALUE_BY_VALUE = frozenset(
    [
        "native_batch_norm",
        "_native_batch_norm_legit_no_training",
        "batch_norm",
        "gelu",
        "hardswish",
        "mish",
        "log_sigmoid_forward",
        "_prelu_kernel",
        "threshold",
    ]
)


def peak_memory_bytes(model: nn.Module, input_shape: tuple[int, ...]) -> int:
    """Return the largest number of bytes of activations that are alive at once in one inference of one example.

    During an operation its inputs, its outputs and every tensor that a later operation needs are alive. The largest
    sum of their bytes is the peak. The rule in full:

    - Operations run in the order in which `forward` calls them, in evaluation mode, for a batch of one example. Numbers
      have the type that the network computes them in: float32 unless the network says otherwise.
    - Parameters and buffers are not counted. The network's inputs are counted from the start to their last use. The
      network's outputs are alive to the end.
    - A view and an in-place operation share the memory of their tensor, which is counted once.
    - An elementwise operation or batch normalisation overwrites an input of the same size that no later operation
      needs, as inference runtimes do.
    - A result that no operation reads takes no memory, for example the indices of a maximum pooling. The memory that an
      operation needs internally is not counted either, for example the patches of a convolution.

    Args:
        model: the network, on any device; not changed.
        input_shape: shape of one example, without the batch.

    Returns:
        A whole number of bytes.

    Raises:
        ShapeError: the network rejects `input_shape`, or fails for another reason.

    Example:
        A 3x3 convolution of an 8x8 map from 4 to 16 channels, and a ReLU: 4 * 64 + 16 * 64 float32 numbers are alive in
        the convolution, and the ReLU adds none: 5,120 bytes.
    """

    def run(copy: nn.Module, device: str) -> _Trace:
        trace = _Trace(copy)
        trace.finish(run_once(copy, input_shape, device, trace))
        return trace

    return run_without_data(model, input_shape, run)[0].peak_bytes()


@dataclass
class _Operation:
    """One operation: numbers of the storages that it reads and makes, and whether it may overwrite an input."""

    reads: list[int]
    makes: list[int]
    may_overwrite: bool


@dataclass
class _Kept:
    """Numbers for storages. All storages are kept alive, so that no address and no number is used twice."""

    numbers: dict[int, int] = field(default_factory=dict)
    storages: list[Any] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)

    def number(self, tensor: Tensor) -> int:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key not in self.numbers:
            self.numbers[key] = len(self.storages)
            self.storages.append(storage)
            self.sizes.append(storage.nbytes())
        return self.numbers[key]


class _Trace(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Records every operation that the network runs, with the memory that it reads and makes."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._kept = _Kept()
        self._weights = {self._kept.number(tensor) for tensor in [*model.parameters(), *model.buffers()]}
        self._operations: list[_Operation] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Run the operation and record the storages that it reads and makes."""
        del types
        read = [self._kept.number(tensor) for tensor in _tensors((args, dict(kwargs or {})))]
        output = func(*args, **(kwargs or {}))
        made = [self._kept.number(tensor) for tensor in _tensors(output)]
        name = str(getattr(func, "_schema", func).name).rpartition("::")[2]
        in_place = torch.Tag.pointwise in getattr(func, "tags", ()) or name in _VALUE_BY_VALUE
        self._operations.append(_Operation(read, [each for each in made if each not in read], in_place))
        return output

    def finish(self, output: Any) -> None:
        """Record the network's output as read at the end, so that it is alive until then."""
        self._operations.append(_Operation([self._kept.number(t) for t in _tensors(output)], [], False))

    def peak_bytes(self) -> int:
        """Return the largest number of bytes that are alive during one operation."""
        last = {each: step for step, operation in enumerate(self._operations) for each in operation.reads}
        place: dict[int, int] = {}  # storage -> the storage whose memory it has taken over
        made = {each for operation in self._operations for each in operation.makes}
        given = last.keys() - made - self._weights
        place.update((each, each) for each in given)
        alive = {each: last[each] for each in given}  # memory -> step after which it is free
        peak = 0
        for step, operation in enumerate(self._operations):
            for each in operation.makes:
                if each not in last:
                    continue
                taken = self._taken(operation, each, place, last, step) if operation.may_overwrite else None
                place[each] = each if taken is None else place[taken]
                alive[place[each]] = last[each]
            peak = max(peak, sum(self._kept.sizes[memory] for memory in alive))
            alive = {memory: until for memory, until in alive.items() if until > step}
        return peak

    def _taken(
        self, operation: _Operation, made: int, place: Mapping[int, int], last: Mapping[int, int], step: int
    ) -> int | None:
        """Return an input of the same size that no operation needs after this step, or None."""
        sizes = self._kept.sizes
        return next(
            (
                each
                for each in operation.reads
                if each not in self._weights and last[each] == step and sizes[place[each]] == sizes[made]
            ),
            None,
        )


def _tensors(tree: Any) -> Iterator[Tensor]:
    if isinstance(tree, Tensor):
        yield tree
    elif isinstance(tree, list | tuple):
        for item in tree:
            yield from _tensors(item)
    elif isinstance(tree, dict):
        yield from _tensors(list(tree.values()))
