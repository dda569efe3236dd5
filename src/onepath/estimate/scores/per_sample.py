"""The gradients of the losses of single examples, computed for a whole batch at once.

Each example is treated as a batch of its own: batch normalisation uses the statistics of that one example, which for
feature maps is instance normalisation. Then examples do not depend on each other, and one backward pass of the whole
batch gives the gradient of every layer's output for every example. One grouped convolution, with a group for each
example, turns these into the gradients of a convolution's weight. Only weights of convolutions and linear layers count.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.utils.hooks import RemovableHandle

from onepath.estimate.scores.backward import gradients_of, watched
from onepath.estimate.scores.degenerate import DegenerateNetworkError
from onepath.estimate.scores.pooling import matrix_pooling
from onepath.estimate.scores.probe import Loss, WeightedLayer, weighted_layers

Reduce = Callable[[Tensor], Tensor]


def per_sample_gradients(
    network: nn.Module, inputs: Tensor, targets: Tensor, loss: Loss, reduce: Reduce | None = None
) -> list[Tensor]:
    """Return the gradient of each example's own loss with respect to each weight.

    Args:
        network: copy of a network as `Probe.copy` returns it; only its running statistics may change.
        inputs: (B, ...) inputs of the network.
        targets: (B, ...) targets of the loss.
        loss: (outputs, targets) -> mean loss of a batch; it is called with one example at a time.
        reduce: function of the gradients (B, *shape) of one weight that returns what to keep; it may change its
            argument. None keeps the gradients.

    Returns:
        What `reduce` kept, one tensor for each of `weighted_layers(network)`.

    Raises:
        DegenerateNetworkError: a normalisation would see only one value per channel of an example.
    """
    reduce = _same if reduce is None else reduce
    layers = weighted_layers(network)
    if not all(_is_batchable(layer) for layer in layers):
        return _by_loop(network, inputs, targets, loss, reduce)
    passes = _BatchPass(network, len(inputs), reduce)
    try:
        return passes.run(inputs, targets, loss)
    except _MixedBatchError:
        return _by_loop(network, inputs, targets, loss, reduce)


def chunk_size(network: nn.Module, example: Tensor, max_memory_bytes: int) -> int:
    """Return how many examples can run at a time under a memory limit; at least 1.

    Counted are the activations and the gradients of the largest weight.

    Args:
        network: copy of a network, see `per_sample_gradients`.
        example: (1, ...) one input.
        max_memory_bytes: limit on the memory of all examples that run at a time.

    Raises:
        DegenerateNetworkError: the output does not depend on the example.
    """
    saved: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        saved[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with (
        torch.enable_grad(),
        torch.autograd.graph.saved_tensors_hooks(pack, _same),
        single_normalisation(network),
    ):
        example = watched(example)
        output = network(example)
        (by_example,) = gradients_of(output.sum(), (example,))
    if example.is_floating_point() and not bool(by_example.any()):
        raise DegenerateNetworkError("the output does not depend on the input")
    layers = weighted_layers(network)
    largest = max((layer.weight.numel() * layer.weight.element_size() for layer in layers), default=0)
    # Three copies per example: a weight and its gradient in the grouped convolution, and the signs of the gradient.
    return max(1, max_memory_bytes // (sum(saved.values()) + 3 * largest + 1))


class single_normalisation:  # noqa: N801  a context manager that reads as a function
    """Inside this context, every batch normalisation of the network normalises each example by itself."""

    def __init__(self, network: nn.Module) -> None:
        self._layers = [module for module in network.modules() if isinstance(module, _BatchNorm)]

    def __enter__(self) -> None:
        for layer in self._layers:
            layer.__dict__["forward"] = _normalise_single(layer)

    def __exit__(self, *_: object) -> None:
        for layer in self._layers:
            layer.__dict__.pop("forward", None)


class _MixedBatchError(Exception):
    """A layer was called with a tensor whose first dimension is not the batch."""


class _BatchPass:
    """One forward and one backward pass of a batch of independent examples."""

    def __init__(self, network: nn.Module, num: int, reduce: Reduce) -> None:
        self._network, self._num, self._reduce = network, num, reduce
        self._layers = weighted_layers(network)
        self._calls = [0] * len(self._layers)
        self._sums: list[Tensor | None] = [None] * len(self._layers)
        self._reduced: list[Tensor | None] = [None] * len(self._layers)

    def run(self, inputs: Tensor, targets: Tensor, loss: Loss) -> list[Tensor]:
        learned = [parameter for parameter in self._network.parameters() if parameter.requires_grad]
        hooks = self._watch_all()
        for parameter in learned:
            parameter.requires_grad_(False)  # the hooks compute the gradients of weights, per example
        try:
            self._run(inputs, targets, loss)
        finally:
            for hook in hooks:
                hook.remove()
            for parameter in learned:
                parameter.requires_grad_(True)
        return [
            self._reduce(
                torch.zeros(self._num, *layer.weight.shape, device=inputs.device, dtype=layer.weight.dtype)
            )
            if found is None
            else found
            for layer, found in zip(self._layers, self._reduced, strict=True)
        ]

    def _watch_all(self) -> list[RemovableHandle]:
        places = {id(layer.weight): number for number, layer in enumerate(self._layers)}
        return [
            module.register_forward_hook(self._watch(places[id(module.weight)]))
            for module in self._network.modules()
            if isinstance(module, _ConvNd | nn.Linear) and id(module.weight) in places
        ]

    def _run(self, inputs: Tensor, targets: Tensor, loss: Loss) -> None:
        with torch.enable_grad(), single_normalisation(self._network), matrix_pooling(self._network):
            outputs = self._network(inputs)
            losses = [
                loss(outputs[i : i + 1], targets[i : i + 1]) for i in range(self._num)
            ]  # each example's own mean
            total = torch.stack(losses).sum()
        if total.requires_grad:
            total.backward()  # type: ignore[no-untyped-call]

    def _watch(self, number: int) -> Callable[[Any, tuple[Tensor, ...], Tensor], Tensor]:
        def watch(layer: Any, arguments: tuple[Tensor, ...], output: Tensor) -> Tensor:
            x = arguments[0].detach()
            if (
                len(x) != self._num
                or x.ndim < 2
                or (isinstance(layer, _ConvNd) and x.ndim != layer.weight.ndim)
            ):
                raise _MixedBatchError
            self._calls[number] += 1
            if not output.requires_grad:
                output.requires_grad_(True)

            def arrive(gradient: Tensor) -> None:
                self._add(number, layer_gradients(layer, x, gradient))

            output.register_hook(arrive)  # type: ignore[no-untyped-call]
            return output

        return watch

    def _add(self, number: int, gradients: Tensor) -> None:
        """Add the gradients of one call; a weight that is used in several calls is complete after the last of them."""
        before = self._sums[number]
        total = gradients if before is None else before + gradients
        self._calls[number] -= 1
        # No gradient arrives for a call whose output is not used, so the last arrival is unknown: reduce at each one.
        self._sums[number] = total.clone() if self._calls[number] else None
        self._reduced[number] = self._reduce(total)


def layer_gradients(layer: WeightedLayer, x: Tensor, gradient: Tensor) -> Tensor:
    """Return the gradient of each example's loss with respect to a layer's weight, (B, *weight.shape).

    Args:
        layer: linear layer, or convolution, transposed or not, that pads with zeros.
        x: (B, ...) input of the layer.
        gradient: (B, ...) gradient of the losses with respect to the output of the layer.
    """
    num, weight = len(x), layer.weight
    if isinstance(layer, nn.Linear):
        middle = gradient.reshape(num, -1, gradient.shape[-1]).transpose(1, 2)  # (B, out, positions)
        return middle @ x.reshape(num, -1, x.shape[-1])
    if _is_pointwise(layer):  # a linear layer at every position
        return (gradient.flatten(2) @ x.flatten(2).transpose(1, 2)).view(num, *weight.shape)
    found: Tensor = torch.ops.aten.convolution_backward(
        gradient.reshape(1, -1, *gradient.shape[2:]),
        x.reshape(1, -1, *x.shape[2:]),
        weight.new_empty(num * weight.shape[0], *weight.shape[1:]),  # only the shape is used
        None,
        layer.stride,
        layer.padding,
        layer.dilation,
        isinstance(layer, _ConvTransposeNd),
        layer.output_padding,
        num * layer.groups,
        [False, True, False],
    )[1]
    return found.view(num, *weight.shape)


def _by_loop(network: nn.Module, inputs: Tensor, targets: Tensor, loss: Loss, reduce: Reduce) -> list[Tensor]:
    """Compute `per_sample_gradients` one example at a time, for layers that a grouped convolution does not cover."""
    weights = [layer.weight for layer in weighted_layers(network)]
    rows = []
    for x, target in zip(torch.split(inputs, 1), torch.split(targets, 1), strict=True):
        with torch.enable_grad(), single_normalisation(network):
            rows.append(gradients_of(loss(network(x), target), weights))
    return [reduce(torch.stack(gradients)) for gradients in zip(*rows, strict=True)]


def _is_batchable(layer: WeightedLayer) -> bool:
    return isinstance(layer, nn.Linear) or (
        layer.padding_mode == "zeros" and not isinstance(layer.padding, str)
    )


def _is_pointwise(layer: _ConvNd) -> bool:
    return (
        not isinstance(layer, _ConvTransposeNd)
        and layer.groups == 1
        and set(layer.kernel_size) == set(layer.stride) == {1}
        and set(layer.padding) == {0}
    )


def _normalise_single(layer: _BatchNorm) -> Callable[[Tensor], Tensor]:
    def normalise(x: Tensor) -> Tensor:
        if math.prod(x.shape[2:]) < 2:
            raise DegenerateNetworkError(
                "a normalisation sees one value per channel and example; give larger inputs"
            )
        return functional.instance_norm(x, None, None, layer.weight, layer.bias, True, 0.0, layer.eps)

    return normalise


def _same(tensor: Tensor) -> Tensor:
    return tensor
