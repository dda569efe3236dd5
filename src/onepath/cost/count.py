"""Parameters and multiply-accumulates of one plain network, without data."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from onepath.cost.operations import counter_of, operation_name
from onepath.cost.shape_only import same_shape, shape_only
from onepath.errors import ShapeError
from onepath.nn.copying import whole_copy
from onepath.nn.inputs import blank_inputs
from onepath.tree import call

Ran = TypeVar("Ran")


@dataclass(frozen=True)
class ModuleCost:
    """What one forward pass of one example costs.

    Attributes:
        macs: multiply-accumulates of matrix products, convolutions, linear, bilinear and recurrent layers and
            attention; bias, activation, normalisation and pooling are not counted, as in the papers. Without those of
            `uncounted`.
        params: learned numbers, each counted once.
        macs_by_module: module -> what it does itself, without its children, summed over its calls.
        uncounted: operations without a counter that the network runs, such as "aten::grid_sampler_2d" -> path of the
            first module that does ("" for the network itself). Empty where `macs` is all of them.
    """

    macs: int
    params: int
    macs_by_module: dict[nn.Module, int] = field(repr=False)
    uncounted: Mapping[str, str] = field(default_factory=dict)


def module_cost(model: nn.Module, input_shape: tuple[int, ...]) -> ModuleCost:
    """Count a network by the operations that it runs.

    The network runs once in evaluation mode on torch's meta device, which computes shapes and no values; where an
    operation needs values, once on the CPU with zeros as inputs (and as weights, for a network on the meta device).

    Args:
        model: on the meta device, or on any other (then a copy without data is made); not changed.
        input_shape: of one example, without the batch: (C, H, W), or (T,) for words.

    Raises:
        ShapeError: the network rejects the shape, or fails otherwise.
    """
    counts, copy = run_without_data(
        model, input_shape, lambda copy, device: _counts(copy, input_shape, device)
    )
    given, model = model, copy
    macs, uncounted = counts.macs, {}
    if model is not given:
        originals = dict(zip(model.modules(), given.modules(), strict=True))
        macs = {originals[module]: own for module, own in macs.items()}
    if counts.uncounted:
        paths = {module: path for path, module in model.named_modules()}
        uncounted = {name: paths[module] for name, module in counts.uncounted.items()}
    params = sum(parameter.numel() for parameter in given.parameters())
    return ModuleCost(sum(macs.values()), params, macs, uncounted)


def run_without_data(
    given: nn.Module, input_shape: tuple[int, ...], run: Callable[[nn.Module, str], Ran]
) -> tuple[Ran, nn.Module]:
    """Run a network on the meta device; where an operation needs values, on the CPU.

    Args:
        given: not changed.
        input_shape: for messages.
        run: takes the network, or a copy without data, and the device that it is on.

    Returns:
        What `run` returned, and the network that it was given.

    Raises:
        ShapeError: the network rejects the shape, or fails otherwise.
    """
    model = given
    if any(tensor.device.type != "meta" for tensor in _tensors(model)):
        model = _copy(given, "meta")
    try:
        return run(model, "meta"), model
    except _FAILURES as error:
        if not _needs_values(error):
            raise _rejected(input_shape, error) from error
    try:
        model = _copy(given, "cpu")
        return run(model, "cpu"), model
    except _FAILURES as second:
        raise _rejected(input_shape, second) from second


class _Counts(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Sees every operation that the network runs, below torch's own composite ones."""

    supports_higher_order_operators = True

    def __init__(self, model: nn.Module) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.model = model
        self.macs: dict[nn.Module, int] = {}
        self.uncounted: dict[str, nn.Module] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Run the operation and count it."""
        del types
        if not kwargs and (known := same_shape(func, args)) is not None:
            return known
        kwargs = kwargs or {}
        counter = counter_of(func)
        if counter is None and isinstance(func, torch._ops.OpOverload):
            with self:  # a composite one, which is only met whole in inference mode
                output = func.decompose(*args, **kwargs)
            if output is not NotImplemented:
                return output
        output = func(*args, **kwargs)
        if counter is None:
            self.uncounted.setdefault(operation_name(func), self._caller())
        else:
            macs = counter(args, output)
            if macs:
                self.add(self._caller(), macs)
        return output

    def add(self, module: nn.Module, macs: int) -> None:
        """Count what one call of a module does itself."""
        self.macs[module] = self.macs.get(module, 0) + macs

    def _caller(self) -> nn.Module:
        """The module whose call is the innermost one that runs now."""
        frame = sys._getframe(2)
        while frame.f_back is not None:
            if frame.f_code is _CALL:
                caller = frame.f_locals["self"]
                if isinstance(caller, nn.Module):
                    return caller
            frame = frame.f_back
        return self.model


_FAILURES = (RuntimeError, ValueError, TypeError, IndexError)
_CALL = nn.Module._call_impl.__code__


def _counts(model: nn.Module, input_shape: tuple[int, ...], device: str) -> _Counts:
    """What a network does with zeros of this shape on the device that it is on."""
    counts = _Counts(model)
    around = _replaced(model, counts.add) if device == "meta" else _operations_apart()
    with around:
        run_once(model, input_shape, device, counts)
    return counts


def run_once(
    model: nn.Module, input_shape: tuple[int, ...], device: str, mode: contextlib.AbstractContextManager[Any]
) -> Any:
    """One pass of zeros in evaluation mode inside `mode`; what the network returns."""
    was_training = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with torch.no_grad():
            inputs = blank_inputs(model, input_shape, device=device)
            with mode:
                return call(model, inputs)
    finally:
        for module, training in was_training.items():
            module.training = training


@contextlib.contextmanager
def _replaced(model: nn.Module, add: Callable[[nn.Module, int], None]) -> Iterator[None]:
    """Inside, torch's common layers compute shapes and report their costs."""
    replaced = []
    for module in model.modules():
        if "forward" not in module.__dict__ and (own := shape_only(module, add)) is not None:
            module.__dict__["forward"] = own
            replaced.append(module)
    try:
        yield
    finally:
        for module in replaced:
            del module.__dict__["forward"]


@contextlib.contextmanager
def _operations_apart() -> Iterator[None]:
    """Inside, no transformer or recurrent layer runs as one fused operation, which could not be counted."""
    fast, onednn = torch.backends.mha.get_fastpath_enabled(), torch.backends.mkldnn.enabled
    torch.backends.mha.set_fastpath_enabled(False)
    torch.backends.mkldnn.enabled = False  # type: ignore[assignment]
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        torch.backends.mkldnn.enabled = onednn


def _tensors(model: nn.Module) -> Iterator[torch.Tensor]:
    yield from model.parameters()
    yield from model.buffers()


def _needs_values(error: Exception) -> bool:
    """Whether a network failed because it was without data: an operation needs values or is not known there."""
    return isinstance(error, NotImplementedError) or any(
        word in str(error) for word in ("meta", "Meta", "fake")
    )


def _copy(model: nn.Module, device: str) -> nn.Module:
    """A copy on the meta device, or on the CPU with zeros in the place of values that are not there."""

    def moved(tensor: torch.Tensor) -> torch.Tensor:
        held = torch.zeros_like(tensor, device="cpu") if tensor.is_meta else tensor.detach()
        return held.to(device, copy=True)

    return whole_copy(model, moved, apart=True)


def _rejected(input_shape: tuple[int, ...], error: Exception) -> ShapeError:
    reason = next(iter(str(error).splitlines()), type(error).__name__)
    return ShapeError(
        f"the network must accept inputs of shape {tuple(input_shape)}, but it raised: {reason}; give the shape of one "
        "example without the batch"
    )
