"""Parameters and multiply-accumulates of one plain network, without data."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from onepath.errors import ShapeError
from onepath.nn.inputs import blank_inputs


@dataclass(frozen=True)
class ModuleCost:
    """What one forward pass of one example costs.

    Attributes:
        macs: multiply-accumulates of convolutions and linear layers; bias, activation, normalisation and
            pooling are not counted, as in the papers.
        params: learned numbers, each counted once.
        macs_by_module: leaf module -> its multiply-accumulates, summed over its calls.
    """

    macs: int
    params: int
    macs_by_module: dict[nn.Module, int] = field(repr=False)


def module_cost(model: nn.Module, input_shape: tuple[int, ...]) -> ModuleCost:
    """Count a network of plain torch layers.

    The network runs once on torch's meta device, which computes shapes and no values.

    Args:
        model: on the meta device, or on any other (then a copy without data is made); not changed.
        input_shape: of one example, without the batch: (C, H, W), or (T,) for words.

    Raises:
        ShapeError: the network rejects the shape.
    """
    if any(parameter.device.type != "meta" for parameter in model.parameters()):
        import copy

        model = copy.deepcopy(model).to("meta")
    was_training = model.training
    model.eval()
    counts: dict[nn.Module, int] = {}

    def count(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        del inputs
        counts[module] = counts.get(module, 0) + _leaf_macs(module, output)

    hooks = [module.register_forward_hook(count) for module in model.modules() if is_layer(module)]
    normalisations = [module for module in model.modules() if isinstance(module, _NORMALISATIONS)]
    for module in normalisations:
        module.__dict__["forward"] = _same_shape
    try:
        with torch.no_grad():
            model(blank_inputs(model, input_shape, device="meta"))
    except (RuntimeError, ValueError) as error:
        raise ShapeError(
            f"the network must accept inputs of shape {tuple(input_shape)}, but it raised: "
            f"{str(error).splitlines()[0]}. Give the shape of one example without the batch."
        ) from error
    finally:
        for hook in hooks:
            hook.remove()
        for module in normalisations:
            del module.__dict__["forward"]
        model.train(was_training)
    params = sum(parameter.numel() for parameter in model.parameters())
    return ModuleCost(macs=sum(counts.values()), params=params, macs_by_module=counts)


_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)

_NORMALISATIONS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def _same_shape(x: Tensor) -> Tensor:
    """In the place of a normalisation, whose evaluation on the meta device is most of the time otherwise."""
    return x


def is_layer(module: nn.Module) -> bool:
    """Whether a module is a convolution or a linear layer, whose multiply-accumulates are counted."""
    return isinstance(module, (*_CONVOLUTIONS, *_TRANSPOSED, nn.Linear))


def _leaf_macs(module: nn.Module, output: Tensor) -> int:
    """Multiply-accumulates of one call that returned `output`, of shape (1, ...)."""
    if isinstance(module, nn.Linear):
        return output.numel() * module.in_features
    weight = module.weight
    assert isinstance(weight, Tensor)
    if isinstance(module, _CONVOLUTIONS):
        return (
            output.numel() * weight[0].numel()
        )  # (O, I / groups, K, K): every output value needs one filter
    assert isinstance(module, _TRANSPOSED)
    stride = 1
    for step in module.stride:
        stride *= step
    return output.numel() // stride * weight.shape[0] * weight[0, 0].numel() // module.groups
