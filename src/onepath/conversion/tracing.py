"""Forward passes of a network, recorded in order to find its units."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from onepath.conversion.rules import apply_rule
from onepath.conversion.trace import Call, Operation, Trace
from onepath.conversion.units import Units
from onepath.errors import ConfigurationError, shown
from onepath.nn.selection import has_choices
from onepath.nn.supernet import Supernet


@dataclass(frozen=True)
class Traced:
    """A trace, and the part of it that was recorded in evaluation mode on the given inputs.

    Attributes:
        trace: the record of all passes, those in training mode and on changed inputs included.
        calls: calls of modules in evaluation mode on the given inputs.
        operations: operations in evaluation mode on the given inputs.
        value_reads: paths of modules that read a value of a tensor as a number there, as `if x.mean() > 0` does.
    """

    trace: Trace
    calls: tuple[Call, ...]
    operations: tuple[Operation, ...]
    value_reads: tuple[str, ...]


def trace_passes(model: nn.Module, inputs: Sequence[Any]) -> Traced:
    """Record forward passes that together run as many parts of a network as possible.

    One pass in evaluation mode is recorded for each candidate of the network's choice blocks. A pass in training mode
    and passes on changed inputs then run parts that have not run yet; errors in these are ignored.

    Args:
        model: the network, in evaluation mode; its buffers and training flags are as before afterwards.
        inputs: positional arguments of the network.

    Raises:
        ConfigurationError: the network does not run with these inputs.
    """
    trace = Trace(model, Units(), apply_rule)
    try:
        for _ in each_candidate(model):
            trace.run(inputs)
    except ConfigurationError:
        raise
    except Exception as error:
        raise does_not_run(model, error) from error
    reads = tuple(dict.fromkeys(trace.value_reads))
    traced = Traced(trace, tuple(trace.calls), tuple(trace.operations), reads)
    _add_training(model, inputs, trace)
    _add_branches(model, inputs, trace)
    return traced


def does_not_run(model: nn.Module, error: Exception) -> ConfigurationError:
    """Return the error for a network that does not take the example inputs."""
    return ConfigurationError(
        f"the model must run with the example inputs, but {type(model).__name__} raised {type(error).__name__}: "
        f"{shown(str(error), 160)}; give what model(*example_inputs) takes"
    )


def _add_branches(model: nn.Module, inputs: Sequence[Any], trace: Trace) -> None:
    """Run the network on changed inputs as long as a part with parameters has not run.

    The inputs are negated, then set to zero, then multiplied by 100.
    """
    for factor in (-1, 0, 100):
        ran = {call.path for call in trace.calls}
        if all(path in ran or not module._parameters for path, module in model.named_modules() if path):
            return
        with contextlib.suppress(Exception):  # the network may reject these values
            trace.run(tree_map(lambda x, by=factor: x * by if _is_float(x) else x, tuple(inputs)))


def _is_float(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point()


def each_candidate(model: nn.Module) -> Iterator[None]:
    """Activate each candidate of the network's choice blocks in turn, with all sizes at their largest, and yield.

    A network without choice blocks is yielded once, unchanged.
    """
    if not any(has_choices(module) for module in model.modules()):
        yield
        return
    supernet = Supernet(model)
    choices = supernet.space.choices
    num = max((choice.num_options for choice in choices if not choice.is_ordered), default=1)
    for number in reversed(range(num)):
        supernet.activate(
            supernet.space.architecture(
                [
                    choice.options.index(max(choice.options))
                    if choice.is_ordered
                    else min(number, choice.num_options - 1)
                    for choice in choices
                ]
            )
        )
        yield


def _add_training(model: nn.Module, inputs: Sequence[Any], trace: Trace) -> None:
    """Record a pass in training mode, for parts that run only then, such as auxiliary heads.

    Each input is concatenated with itself along its first dimension, and dropout stays off. Parameters, buffers and
    training flags are restored; errors are ignored.
    """
    held: list[tuple[dict[str, Any], str, Tensor, Tensor]] = [
        (tensors, name, tensor, tensor.detach().clone())
        for module in model.modules()
        for tensors in cast(tuple[dict[str, Any], ...], (module._parameters, module._buffers))
        for name, tensor in tensors.items()
        if tensor is not None
    ]
    modes = {module: module.training for module in model.modules()}
    twice = tree_map(
        lambda x: torch.cat([x, x]) if isinstance(x, Tensor) and x.dim() > 0 else x, tuple(inputs)
    )
    model.train()
    for module in model.modules():
        if "drop" in type(module).__name__.lower():
            module.eval()
    try:
        with torch.random.fork_rng(devices=[]):
            trace.run(twice)
    except Exception:  # noqa: BLE001 - in training a detector needs targets, for example; this pass may be missing
        pass
    finally:
        for module, mode in modes.items():
            module.training = mode
        with torch.no_grad():
            for tensors, name, tensor, value in held:
                tensors[name] = tensor.copy_(value)
