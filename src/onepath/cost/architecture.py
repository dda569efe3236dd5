"""Parameters, layers and multiply-accumulates (macs) of an architecture's stand-alone network."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping

from torch import nn

from onepath.cost.count import ModuleCost, module_cost
from onepath.cost.shape_only import is_layer
from onepath.errors import ConfigurationError, shown
from onepath.nn import Supernet
from onepath.space import Architecture

Refuse = Callable[[Mapping[str, str]], None]
"""A function that is called with a non-empty `ModuleCost.uncounted`, and reports it or raises."""

_NUM_NAMED = 3  # operations that a message names

_twins: weakref.WeakKeyDictionary[nn.Module, Supernet] = weakref.WeakKeyDictionary()


def macs(supernet: Supernet, architecture: Architecture, input_shape: tuple[int, ...]) -> int:
    """Return the multiply-accumulates (macs) of one forward pass of one example.

    One fused multiply-add counts as 1. Counted are the convolutions, linear layers, matrix products, attention and
    recurrent layers that run; see `ModuleCost`. Operations without a counter are left out, and
    `architecture_cost(...).uncounted` names them. A limit on macs raises an error for such a network.

    Args:
        supernet: the supernet that the architecture belongs to; not changed, and no data runs through it.
        architecture: an architecture of the supernet's space.
        input_shape: shape of one example, without the batch, such as (3, 224, 224).

    Raises:
        ShapeError: the network rejects `input_shape`.
    """
    return architecture_cost(supernet, architecture, input_shape).macs


def params(supernet: Supernet, architecture: Architecture) -> int:
    """Return the number of learned parameters of the stand-alone network that would be trained from scratch.

    Scale and shift of normalisation are included where the stand-alone network has them, even if the supernet has
    none. A parameter that layers share counts once.
    """
    model, _ = shape_twin(supernet).extract_with_origins(architecture, inherit=False)
    return sum(parameter.numel() for parameter in model.parameters())


def layers(supernet: Supernet, architecture: Architecture) -> int:
    """Return the number of convolutions and linear layers of the stand-alone network.

    Layers of shortcuts and of parallel branches are included.
    """
    model, _ = shape_twin(supernet).extract_with_origins(architecture, inherit=False)
    return sum(is_layer(module) for module in model.modules())


def architecture_cost(
    supernet: Supernet, architecture: Architecture, input_shape: tuple[int, ...]
) -> ModuleCost:
    """Return macs and parameters of an architecture's stand-alone network, and the operations without a counter.

    Args:
        supernet: the supernet that the architecture belongs to; not changed, and no data runs through it.
        architecture: an architecture of the supernet's space.
        input_shape: shape of one example, without the batch, such as (3, 224, 224).

    Raises:
        ShapeError: the network rejects `input_shape`.
    """
    return cost_with_origins(supernet, architecture, input_shape)[0]


def cost_with_origins(
    supernet: Supernet, architecture: Architecture, input_shape: tuple[int, ...]
) -> tuple[ModuleCost, dict[nn.Module, str]]:
    """Return the cost of the stand-alone network, and module -> its path in the supernet.

    The arguments are the same as for `architecture_cost`.
    """
    model, origins = shape_twin(supernet).extract_with_origins(architecture, inherit=False)
    return module_cost(model, input_shape), origins


def shape_twin(supernet: Supernet) -> Supernet:
    """Return a copy of the supernet on torch's meta device (shapes without values).

    The copy is made once per supernet and kept as long as the supernet lives: every call returns the same object.
    """
    twin = _twins.get(supernet)
    if twin is None:
        twin = _twins[supernet] = supernet.on_meta()
        twin.hold_weights()
    return twin


def refuse_uncounted(uncounted: Mapping[str, str]) -> None:
    """Raise ConfigurationError that names the operations without a counter and the modules that run them.

    Args:
        uncounted: operations without a counter, as in `ModuleCost.uncounted`.
    """
    raise ConfigurationError(
        "multiply-accumulates can be limited or compared only where every operation has a counter, but there is none "
        f"for {name_uncounted(uncounted)}; limit parameters or latency instead, or compute it by convolutions and "
        "matrix products"
    )


def name_uncounted(uncounted: Mapping[str, str]) -> str:
    """Return text for a message: the first few operations of `ModuleCost.uncounted` and the modules that run them."""
    named = [f"{name} in {shown(path) if path else 'the network itself'}" for name, path in uncounted.items()]
    more = f" and {len(named) - _NUM_NAMED} more" if len(named) > _NUM_NAMED else ""
    return ", ".join(named[:_NUM_NAMED]) + more
