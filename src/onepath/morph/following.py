"""What follows a layer in a network: its normalisation and its activation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from onepath.conversion.rules import apply_rule
from onepath.conversion.trace import Call, Trace
from onepath.conversion.tracing import does_not_run
from onepath.conversion.units import Units
from onepath.errors import ConfigurationError, shown
from onepath.morph.draft import Draft

_NORMALISATIONS = (
    _BatchNorm,
    nn.GroupNorm,
    nn.LayerNorm,
    nn.InstanceNorm1d,
    nn.InstanceNorm2d,
    nn.InstanceNorm3d,
)
# Operations of one tensor that are no activations: the network would be a linear one with them.
_LINEAR = frozenset(
    ("mul", "div", "neg", "add", "sub", "rsub", "dropout", "native_dropout", "_to_copy", "clone")
)


@dataclass(frozen=True)
class Step:
    """An operation that ran.

    Attributes:
        name: its name in torch, such as "relu", without the underscore of an operation in place.
        kind: see `onepath.conversion.trace.Operation`.
        is_in_place: whether it writes into its first argument.
        arguments: its positional arguments, with the ids of tensors in their place.
    """

    name: str
    kind: str
    is_in_place: bool
    arguments: tuple[Any, ...]


@dataclass(frozen=True)
class Following:
    """Where a layer can be inserted after another one.

    Attributes:
        point: path of the module after which it is inserted: the layer's normalisation, or the layer if it has none.
        activation: a new module that computes the activation behind this module; None if no activation follows.
    """

    point: str
    activation: nn.Module | None


def what_follows(draft: Draft) -> Following:
    """Run a network once in evaluation mode and find out what follows the layer.

    A normalisation or an activation follows if nothing else takes the output before it.

    Raises:
        ConfigurationError: the network does not run, or the layer does not run exactly once, or it has an activation f
            other than ReLU, ReLU6, Hardtanh and clamping, for which f(f(x)) = f(x) does not hold or is not known.
    """
    steps: list[Step] = []

    def rule(trace: Trace, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], output: Any) -> str:
        kind = apply_rule(trace, func, args, kwargs, output)
        name = func._schema.name.rpartition("::")[2]
        own = tuple(id(value) if isinstance(value, Tensor) else value for value in args)
        plain = name.rstrip("_")
        steps.append(Step(plain, kind, name != plain, own))
        return kind

    trace = Trace(draft.model, Units(), rule)
    try:
        trace.run(draft.inputs)
    except ConfigurationError:
        raise
    except Exception as error:
        raise does_not_run(draft.model, error) from error
    calls = [call for call in trace.calls if call.path == draft.path]
    if len(calls) != 1:
        raise ConfigurationError(
            f"a layer must run once in a pass to be deepened, but {shown(draft.path)} runs {len(calls)} times; choose "
            "another layer"
        )
    normalisation = _normalisation(draft, trace, calls[0])
    last = normalisation or calls[0]
    takers = _takers(trace, last)
    if len(takers) != 1 and not (takers and steps[takers[0]].is_in_place):
        return Following(last.path, None)
    return Following(last.path, _activation(draft, steps[takers[0]]))


def _takers(trace: Trace, call: Call) -> list[int]:
    """Return the numbers of the operations after a call that take its output."""
    own = call.outputs[0]
    after = range(call.last, len(trace.operations))
    return [number for number in after if own in trace.operations[number].inputs]


def _normalisation(draft: Draft, trace: Trace, call: Call) -> Call | None:
    """Return the call of the normalisation that alone takes the output of a call; None if there is none."""
    modules = dict(draft.model.named_modules())
    takers = _takers(trace, call)
    for other in trace.calls:
        if isinstance(modules[other.path], _NORMALISATIONS) and other.inputs[:1] == call.outputs[:1]:
            runs = sum(again.path == other.path for again in trace.calls)
            if runs == 1 and takers and all(other.first <= number < other.last for number in takers):
                return other
    return None


def _activation(draft: Draft, step: Step) -> nn.Module | None:
    """Return a module that computes an operation f with f(f(x)) = f(x); None if it is no activation."""
    numbers = step.arguments[1:]
    if step.name == "relu" or (step.name == "clamp_min" and numbers == (0,)):
        return nn.ReLU()
    if step.name in ("hardtanh", "clamp") and len(numbers) == 2 and None not in numbers:
        return nn.ReLU6() if numbers == (0, 6) else nn.Hardtanh(*numbers)
    is_activation = step.kind == "pointwise" or step.name == "_prelu_kernel"
    if not is_activation or step.name in _LINEAR:
        return None
    name = step.name.strip("_").removesuffix("_kernel")
    raise ConfigurationError(
        f"an activation f must have f(f(x)) = f(x) to stand twice, as ReLU, ReLU6 and Hardtanh do, but {name} follows "
        f"{shown(draft.path)}; choose a layer with one of these, or with none"
    )
