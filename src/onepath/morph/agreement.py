"""Whether a network still computes what it computed before a morphism, in evaluation and in training mode."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from onepath.conversion.running import run
from onepath.conversion.tracing import does_not_run
from onepath.errors import ConfigurationError, shown
from onepath.morph.draft import copy_of

_ROUNDING = {torch.float64: 1e-9, torch.complex128: 1e-9, torch.float32: 1e-3, torch.complex64: 1e-3}
_COARSE = 0.05  # the same of other types: the largest difference, in proportion to the largest output
_SMALLEST = 1e-3  # outputs below count as this large: a mean that cancels out is all rounding


@dataclass(frozen=True)
class Trial:
    """What a network returned.

    Attributes:
        is_training: whether in training mode, with dropout off.
        is_varied: whether random examples were appended to the given ones.
        inputs: positional arguments.
        outputs: the floating-point tensors that it returned.
    """

    is_training: bool
    is_varied: bool
    inputs: tuple[Any, ...]
    outputs: tuple[Tensor, ...]


def trials_of(model: nn.Module, inputs: tuple[Any, ...]) -> list[Trial]:
    """Run a network in both modes on its example inputs, alone and with random examples appended.

    Example inputs may be all zeros, which many a wrong network passes. A trial is left out if the network rejects its
    inputs, draws random numbers or returns something infinite, except in evaluation mode on the example inputs.

    Args:
        model: the network; not changed.
        inputs: its positional arguments.

    Raises:
        ConfigurationError: in evaluation mode on the example inputs, the network does not run, returns no finite
            floating-point numbers, or returns others when it runs again.
    """
    found = []
    varied = _varied(inputs)
    for is_training in (False, True):
        for is_varied in (False, True):
            given = varied if is_varied else inputs
            is_needed = not is_training and not is_varied
            try:
                one, other = (outputs_of(model, given, is_training=is_training, seed=seed) for seed in (0, 1))
            except ConfigurationError:
                raise
            except Exception as error:
                if is_needed:
                    raise does_not_run(model, error) from error
                continue
            if one and _is_finite(one) and _excess(one, other) <= 0:
                found.append(Trial(is_training, is_varied, given, one))
            elif is_needed:
                raise ConfigurationError(
                    "a network must return the same finite numbers each time to be changed, but "
                    f"{type(model).__name__} does not in evaluation mode; remove what is random in it, or give other "
                    "example inputs"
                )
    return found


def check_agreement(trials: Sequence[Trial], model: nn.Module, doing: str) -> None:
    """Raise unless a changed network returns what the original one returned, but for rounding.

    Args:
        trials: trials of the original network.
        model: the changed network.
        doing: what was done to it, for the message.

    Raises:
        ConfigurationError: it fails or returns something else.
    """
    for trial in trials:
        mode = "training" if trial.is_training else "evaluation"
        try:
            after = outputs_of(model, trial.inputs, is_training=trial.is_training)
        except Exception as error:
            raise ConfigurationError(
                f"{doing} must leave a network that runs, but in {mode} mode it raised {type(error).__name__}: "
                f"{shown(str(error), 120)}; choose a layer whose attributes the network's own code does not use"
            ) from error
        if not _excess(trial.outputs, after) <= 0:  # NaN is above every bound
            raise ConfigurationError(
                f"{doing} must not change what the network computes, but in {mode} mode an output changes by "
                f"{_difference(trial.outputs, after):.2g}; choose a layer whose channels are not averaged, normalised "
                "or multiplied with each other, and whose weight is used once"
            )


def outputs_of(
    model: nn.Module, inputs: Sequence[Any], *, is_training: bool, seed: int = 0
) -> tuple[Tensor, ...]:
    """Run a copy of a network, with dropout off, and return its floating-point outputs.

    Args:
        model: the network; not changed, nor are its statistics.
        inputs: positional arguments.
        is_training: the mode.
        seed: seed of the random numbers that the network draws.
    """
    return tuple(
        tensor
        for tensor in run(in_mode(copy_of(model), is_training=is_training), inputs, seed)
        if tensor.is_floating_point() or tensor.is_complex()
    )


def in_mode(model: nn.Module, *, is_training: bool) -> nn.Module:
    """Put a network in a mode, in place, with dropout off, and return it."""
    model.train(is_training)
    for module in model.modules():
        if "drop" in type(module).__name__.lower():
            module.eval()
    return model


def _varied(inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """Append to each floating-point tensor as many random examples, and to any other tensor itself."""
    generator = torch.Generator().manual_seed(0)

    def appended(value: Any) -> Any:
        if not isinstance(value, Tensor) or value.dim() == 0:
            return value
        if not value.is_floating_point():
            return torch.cat([value, value])
        drawn = torch.randn(value.shape, generator=generator, dtype=torch.float64).to(value)
        return torch.cat([value, value + drawn])

    varied: tuple[Any, ...] = tree_map(appended, inputs)
    return varied


def _is_finite(outputs: Sequence[Tensor]) -> bool:
    return all(bool(tensor.isfinite().all()) for tensor in outputs)


def _excess(before: Sequence[Tensor], after: Sequence[Tensor]) -> float:
    """How far outputs are above the largest difference that rounding explains; infinite for other shapes."""
    if [tensor.shape for tensor in before] != [tensor.shape for tensor in after]:
        return float("inf")
    excess = [0.0]
    for one, other in zip(before, after, strict=True):
        if one.numel():
            largest = max(float(one.abs().max()), _SMALLEST)
            excess.append(float((one - other).abs().max()) - _ROUNDING.get(one.dtype, _COARSE) * largest)
    return float(torch.tensor(excess).max())  # unlike `max`, it returns NaN if there is one


def _difference(before: Sequence[Tensor], after: Sequence[Tensor]) -> float:
    if [tensor.shape for tensor in before] != [tensor.shape for tensor in after]:
        return float("inf")
    return max(
        float((one - other).abs().max()) for one, other in zip(before, after, strict=True) if one.numel()
    )
