"""Turn an error inside a network into one line that names the module it comes from."""

from __future__ import annotations

from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm, _NormBase

from onepath.errors import ShapeError, shown
from onepath.nn.selection import has_choices

_MOST = 160  # characters shown of a message of torch

_TWINS: dict[type[nn.Module], str] = {
    nn.Conv2d: "ElasticConv2d",
    nn.Linear: "ElasticLinear",
    nn.BatchNorm2d: "ElasticBatchNorm2d",
}


class Place(NamedTuple):
    """Where an error was raised.

    Attributes:
        path: path of the innermost module of the network.
        module: that module.
        inputs: inputs that the module was called with; None if they are not known.
    """

    path: str
    module: nn.Module
    inputs: tuple[Any, ...] | None


def place_of(error: BaseException, root: nn.Module) -> Place:
    """Return the innermost module below `root` in whose call the error was raised, from the error's traceback."""
    paths = {id(module): path for path, module in root.named_modules()}
    found = Place("", root, None)
    trace = error.__traceback__
    while trace is not None:
        values = trace.tb_frame.f_locals
        module = values.get("self")
        if isinstance(module, nn.Module) and id(module) in paths:
            inputs = values.get("args") if trace.tb_frame.f_code.co_name == "_wrapped_call_impl" else None
            if module is not found.module:
                found = Place(paths[id(module)], module, inputs)
            elif found.inputs is None:
                found = found._replace(inputs=inputs)
        trace = trace.tb_next
    return found


def explained(error: BaseException, root: nn.Module) -> ShapeError:
    """Return a one-line error for a failed pass through a network: the module, its input, and what to do."""
    place = place_of(error, root)
    lines = str(error).splitlines() or [""]
    message = shown(lines[0].rstrip(". ") or type(error).__name__, _MOST).strip("'\"")
    came = "what comes to it" if place.inputs is None else f"an input of {described(place.inputs)}"
    return ShapeError(
        f"{place.path or 'root'}: {type(place.module).__name__} must accept what the network gives it, but {came} "
        f"raised {type(error).__name__}: {message}. {_advice(place, message, root)}"
    )


def described(value: object) -> str:
    """Return the shape of an input or output in words, such as "shape (2, 3)"."""
    if isinstance(value, Tensor):
        return f"shape {tuple(value.shape)}"
    if isinstance(value, tuple | list):
        if len(value) == 1 and isinstance(value, tuple):
            return described(value[0])
        return f"{len(value)} parts ({', '.join(described(item) for item in value[:4])})"
    return f"type {type(value).__name__}"


def _advice(place: Place, message: str, root: nn.Module) -> str:
    kind = type(place.module)
    if "more than 1 value per channel" in message or "more than 1 spatial element" in message:
        return (
            "Train with more examples per batch (a larger batch_size, fewer ghost batches), or keep maps larger than "
            "1x1"
        )
    if not any(has_choices(module) and hasattr(module, "is_elastic") for module in root.modules()):
        return "Let the module before it return what it takes"
    twin = next((name for known, name in _TWINS.items() if kind is known), None)
    if twin is not None:
        return f"Behind an elastic width use {twin} with the choice of the layer before it"
    if (
        isinstance(place.module, _NormBase | _BatchNorm)
        or next(place.module.parameters(False), None) is not None
    ):
        return (
            f"Behind an elastic width use a ChoiceBlock with that choice and one {kind.__name__} per option, "
            "ElasticConv2d, ElasticLinear or ElasticBatchNorm2d"
        )
    return "Let the module before it return what it takes"
