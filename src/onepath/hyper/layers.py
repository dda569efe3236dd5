"""Which layers of a supernet get weights from a hypernetwork: those that depend on a choice."""

from __future__ import annotations

from collections import Counter

from torch import nn
from torch.nn.parameter import is_lazy
from torch.nn.utils import parametrize

from onepath.errors import ConfigurationError
from onepath.nn import Supernet
from onepath.nn.binding import choices_by_path, conditions_by_path
from onepath.nn.selection import has_choices
from onepath.nn.weight_source import SourcedLayer

KINDS = (nn.Conv1d, nn.Conv2d, nn.Linear)


def chosen_layers(supernet: Supernet) -> tuple[SourcedLayer, ...]:
    """Return the convolutions and linear layers whose presence or sizes depend on a choice.

    A layer that a module with choices holds directly, as one whose weight it slices, is one of them. What all
    architectures share as it is (a stem, transitions, a classifier), normalisation and biases are not among them, nor
    are weights that several layers share, that are frozen, or that are computed from other parameters.

    Raises:
        ConfigurationError: there is no such layer, or the supernet was made from a trained model, whose weights would
            be lost.
    """
    if supernet.weights is not None:
        return supernet.weights.layers
    if supernet.conversion is not None:
        raise ConfigurationError(
            "a hypernetwork replaces the weights of a supernet, but those of a model that was given would be lost; use "
            "another method, such as sandwich"
        )
    module = supernet.module
    depends = choices_by_path(module, supernet.space)
    found: dict[nn.Module, tuple[str, list[tuple[object, ...]]]] = {}
    for path, condition in conditions_by_path(module).items():
        layer, around = module.get_submodule(path), module.get_submodule(path.rpartition(".")[0])
        is_sliced = has_choices(around) and bool(around.own_choices())
        if isinstance(layer, KINDS) and (depends[path] or is_sliced):
            found.setdefault(layer, (path, []))[1].append(condition)
    holders = Counter(
        id(parameter)
        for part in module.modules()
        for parameter in part._parameters.values()
        if parameter is not None
    )
    layers = tuple(
        SourcedLayer(path, layer, tuple(layer.weight.shape), tuple(conditions))  # type: ignore[arg-type]
        for layer, (path, conditions) in found.items()
        if _can_be_made(layer) and holders[id(layer._parameters["weight"])] == 1
    )
    if not layers:
        raise ConfigurationError(
            "a hypernetwork makes the weights of convolutions and linear layers that depend on a choice, but "
            f"{type(module).__name__} has none; use another space"
        )
    return layers


def _can_be_made(layer: nn.Module) -> bool:
    weight = layer._parameters.get("weight")
    return (
        weight is not None
        and not is_lazy(weight)
        and weight.requires_grad
        and not parametrize.is_parametrized(layer)
    )
