"""Parameters and multiply-accumulates of an architecture."""

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
"""Takes `ModuleCost.uncounted` where it is not empty, and says so or raises."""

_NUM_NAMED = 3

_twins: weakref.WeakKeyDictionary[nn.Module, Supernet] = weakref.WeakKeyDictionary()


def macs(supernet: Supernet, architecture: Architecture, input_shape: tuple[int, ...]) -> int:
    """Multiply-accumulates of one forward pass of one example.

    One fused multiply-add counts as 1: convolutions, linear layers, matrix products, attention and recurrent layers,
    by the operations that run; see `ModuleCost`. Operations without a counter are left out here and named by
    `module_cost(...).uncounted`; a limit on multiply-accumulates is an error for such a network.

    Args:
        supernet: not changed; no data is run.
        architecture: of the supernet's space.
        input_shape: of one example, without the batch: (3, 224, 224).

    Raises:
        ShapeError: the network rejects the shape.
    """
    return architecture_cost(supernet, architecture, input_shape).macs


def params(supernet: Supernet, architecture: Architecture) -> int:
    """Learned parameters of the stand-alone network that would be trained from scratch.

    Scale and shift of normalisation are included where that network has them, even if the supernet goes
    without.
    """
    model, _ = shape_twin(supernet).extract_with_origins(architecture, inherit=False)
    return sum(parameter.numel() for parameter in model.parameters())


def layers(supernet: Supernet, architecture: Architecture) -> int:
    """Convolutions and linear layers of the stand-alone network, those of shortcuts and parallel branches too."""
    model, _ = shape_twin(supernet).extract_with_origins(architecture, inherit=False)
    return sum(is_layer(module) for module in model.modules())


def architecture_cost(
    supernet: Supernet, architecture: Architecture, input_shape: tuple[int, ...]
) -> ModuleCost:
    """What an architecture's stand-alone network costs, with the operations that could not be counted."""
    return cost_with_origins(supernet, architecture, input_shape)[0]


def cost_with_origins(
    supernet: Supernet, architecture: Architecture, input_shape: tuple[int, ...]
) -> tuple[ModuleCost, dict[nn.Module, str]]:
    """The cost of the stand-alone network, and the path in the supernet of each of its modules."""
    model, origins = shape_twin(supernet).extract_with_origins(architecture, inherit=False)
    return module_cost(model, input_shape), origins


def shape_twin(supernet: Supernet) -> Supernet:
    """A copy without data, made once per supernet and kept as long as the supernet lives."""
    twin = _twins.get(supernet)
    if twin is None:
        twin = _twins[supernet] = supernet.on_meta()
    return twin


def refuse_uncounted(uncounted: Mapping[str, str]) -> None:
    """Raise ConfigurationError, with the names of the operations and where they are."""
    raise ConfigurationError(
        "multiply-accumulates can be limited or compared only where every operation has a counter, but there is none "
        f"for {name_uncounted(uncounted)}; limit parameters or latency instead, or compute it by convolutions and "
        "matrix products"
    )


def name_uncounted(uncounted: Mapping[str, str]) -> str:
    """The first few operations of `ModuleCost.uncounted`, and where they are, for a message."""
    named = [f"{name} in {shown(path) if path else 'the network itself'}" for name, path in uncounted.items()]
    more = f" and {len(named) - _NUM_NAMED} more" if len(named) > _NUM_NAMED else ""
    return ", ".join(named[:_NUM_NAMED]) + more
