"""One forward and one backward pass of a batch, whose results `grad_norm`, `snip`, `plain` and `fisher` use."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from onepath.errors import ConfigurationError
from onepath.estimate.scores.degenerate import DegenerateNetworkError


@dataclass(frozen=True)
class Gradients:
    """The results of one backward pass.

    Attributes:
        weights: weights of the convolutions and linear layers, one tensor per layer.
        gradients: gradients of the mean loss with respect to `weights`; zeros for a layer that is not used.
        fisher: sum over layers and channels of half the mean over examples of `(sum over positions of a * dL/da)^2`,
            where a is the output of the layer; None if it was not asked for.
    """

    weights: tuple[Tensor, ...]
    gradients: tuple[Tensor, ...]
    fisher: float | None


def one_backward(
    network: nn.Module,
    layers: Sequence[nn.Module],
    loss: Callable[[Tensor], Tensor],
    inputs: Tensor,
    *,
    needs_activations: bool,
) -> Gradients:
    """Run a network forward and backward once.

    Args:
        network: network without activations in place; its normalisation runs in the mode that is set.
        layers: convolutions and linear layers of the network.
        loss: outputs of the network -> scalar.
        inputs: (B, ...) inputs of the network.
        needs_activations: whether to compute `Gradients.fisher`, too.

    Raises:
        DegenerateNetworkError: `layers` is empty, all gradients of weights are 0, or the loss does not depend on the
            inputs.
        ConfigurationError: with `needs_activations`, the network changes the output of a layer in place.
    """
    if not layers:
        raise DegenerateNetworkError("the network has no convolution and no linear layer")
    weights = tuple(layer.get_parameter("weight") for layer in layers)
    totals: list[Tensor] = []
    hooks = [layer.register_forward_hook(_watch(totals)) for layer in layers if needs_activations]
    try:
        with torch.enable_grad():
            inputs = watched(inputs)
            *gradients, by_inputs = gradients_of(loss(network(inputs)), (*weights, inputs))
    finally:
        for hook in hooks:
            hook.remove()
    check_depends(inputs, by_inputs, gradients)
    fisher = float(torch.stack(totals).sum()) if totals else 0.0
    return Gradients(weights, tuple(gradients), fisher if needs_activations else None)


def gradients_of(
    scalar: Tensor, weights: Sequence[Tensor], *, create_graph: bool = False
) -> tuple[Tensor, ...]:
    """Return the gradient of a scalar with respect to each weight; zeros for a weight that it does not depend on."""
    if not scalar.requires_grad:
        return tuple(torch.zeros_like(weight) for weight in weights)
    learned = [weight for weight in weights if weight.requires_grad]
    found = iter(torch.autograd.grad(scalar, learned, create_graph=create_graph, allow_unused=True))
    gradients = [next(found) if weight.requires_grad else None for weight in weights]
    return tuple(
        torch.zeros_like(weight) if gradient is None else gradient
        for weight, gradient in zip(weights, gradients, strict=True)
    )


def watched(inputs: Tensor) -> Tensor:
    """Return the inputs, detached and requiring gradients if they are floating point, else as they are."""
    return inputs.detach().requires_grad_(True) if inputs.is_floating_point() else inputs


def check_depends(inputs: Tensor, by_inputs: Tensor, gradients: Sequence[Tensor]) -> None:
    """Raise DegenerateNetworkError if all gradients with respect to the weights, or to the inputs, are 0.

    Both checks are needed: behind a cell that lets nothing through, normalisation of constants leaves rounding errors
    as gradients of weights.
    """
    if not any(bool(gradient.any()) for gradient in gradients):
        raise DegenerateNetworkError("every gradient is zero: the output does not depend on the weights")
    if inputs.is_floating_point() and not bool(by_inputs.any()):
        raise DegenerateNetworkError("the output does not depend on the input")


def _watch(totals: list[Tensor]) -> Callable[[nn.Module, Any, Tensor], None]:
    """Return a forward hook that appends a layer's share of `fisher` when the gradient of its output arrives."""

    def watch(layer: nn.Module, _: Any, output: Tensor) -> None:
        activation, version = output.detach(), output._version

        def arrive(gradient: Tensor) -> None:
            if activation._version != version:
                raise ConfigurationError(
                    f"the output of a {type(layer).__name__} must not be changed in place for this score, but it "
                    "is; use the operation that is not in place"
                )
            channel = activation.ndim - 1 if isinstance(layer, nn.Linear) else 1
            positions = [dim for dim in range(1, activation.ndim) if dim != channel]
            product = activation * gradient
            summed = product.sum(dim=positions) if positions else product  # (B, channels)
            totals.append(0.5 * summed.double().square().mean(dim=0).sum())

        if output.requires_grad:
            output.register_hook(arrive)  # type: ignore[no-untyped-call]

    return watch
