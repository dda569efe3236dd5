"""Parameters and multiply-accumulates (macs) of one plain network, counted without data."""

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
    """The cost of one forward pass of one example.

    Attributes:
        macs: multiply-accumulates of matrix products, convolutions, linear, bilinear and recurrent layers and
            attention; bias, activation, normalisation and pooling are not counted, as in the papers. The operations in
            `uncounted` are not included.
        params: number of learned parameters; a parameter that layers share counts once.
        macs_by_module: module -> its own macs, without its children, summed over all its calls. The keys are modules of
            the network that was counted, not of a copy.
        uncounted: name of an operation that runs and has no counter, such as "aten::grid_sampler_2d" -> path of the
            first module that runs it ("" for the network itself). If empty, `macs` is complete.
    """

    macs: int
    params: int
    macs_by_module: dict[nn.Module, int] = field(repr=False)
    uncounted: Mapping[str, str] = field(default_factory=dict)


def module_cost(model: nn.Module, input_shape: tuple[int, ...]) -> ModuleCost:
    """Count the parameters and macs of a network by the operations that it runs.

    The network runs once in evaluation mode on torch's meta device, which computes shapes and no values. If an
    operation needs values, the network runs on the CPU instead, with zeros as inputs (and with zeros as weights, if the
    network is on the meta device).

    Args:
        model: the network, on any device; not changed. If it is not on the meta device, a copy without data runs.
        input_shape: shape of one example, without the batch: (C, H, W), or (T,) for words.

    Raises:
        ShapeError: the network rejects `input_shape`, or fails for another reason.
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
    """Run a network on torch's meta device, or on the CPU if an operation needs values.

    Args:
        given: the network; not changed.
        input_shape: shape of one example, used in error messages only.
        run: called with the network or a copy of it, and the device that the network is on ("meta" or "cpu").

    Returns:
        The result of `run`, and the network that `run` was called with.

    Raises:
        ShapeError: the network rejects the shape, or fails for another reason.
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
    """Counts every operation that the network runs; composite operations of torch are split into their parts."""

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
            with self:  # a composite operation, which arrives undivided only in inference mode
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
        """Add the macs of one call to those of a module, without its children."""
        self.macs[module] = self.macs.get(module, 0) + macs

    def _caller(self) -> nn.Module:
        """Return the module whose call is the innermost one at this moment."""
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
    """Count one pass of zeros of this shape through a network on the given device."""
    counts = _Counts(model)
    around = _replaced(model, counts.add) if device == "meta" else _operations_apart()
    with around:
        run_once(model, input_shape, device, counts)
    return counts


def run_once(
    model: nn.Module, input_shape: tuple[int, ...], device: str, mode: contextlib.AbstractContextManager[Any]
) -> Any:
    """Run one pass of zeros in evaluation mode inside `mode`, and return the network's output.

    Every module is in its own training or evaluation mode again afterwards.

    Args:
        model: the network, on `device`.
        input_shape: shape of one example, without the batch.
        device: where the inputs are made, "meta" or "cpu".
        mode: context in which the network is called, for example a `TorchDispatchMode` that sees every operation.
    """
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
    """Within this context, common torch layers only compute shapes and report their macs to `add`."""
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
    """Within this context, no transformer or recurrent layer runs as one fused operation, which has no counter."""
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
    """Whether a network failed because of the meta device: an operation needs values, or does not exist there."""
    return isinstance(error, NotImplementedError) or any(
        word in str(error) for word in ("meta", "Meta", "fake")
    )


def _copy(model: nn.Module, device: str) -> nn.Module:
    """Return a copy on the meta device, or on the CPU with zeros in place of tensors of the meta device."""

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
