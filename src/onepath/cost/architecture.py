"""Parameters and multiply-accumulates of an architecture."""

from __future__ import annotations

import weakref

from torch import nn

from onepath.cost.count import ModuleCost, is_layer, module_cost
from onepath.nn import Supernet
from onepath.space import Architecture

_twins: weakref.WeakKeyDictionary[nn.Module, Supernet] = weakref.WeakKeyDictionary()


def macs(supernet: Supernet, architecture: Architecture, input_shape: tuple[int, ...]) -> int:
    """Multiply-accumulates of one forward pass of one example.

    One fused multiply-add counts as 1; convolutions and linear layers only.

    Args:
        supernet: not changed; no data is run.
        architecture: of the supernet's space.
        input_shape: of one example, without the batch: (3, 224, 224).

    Raises:
        ShapeError: the network rejects the shape.
    """
    return architecture_cost(supernet, architecture, input_shape)[0].macs


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
