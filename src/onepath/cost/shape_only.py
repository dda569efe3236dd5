"""Layers of torch as functions of shapes: what they cost and return on the meta device, many times faster.

Torch computes the shape of one result on the meta device in up to some milliseconds; a network has hundreds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from onepath.cost.operations import convolution_macs

Add = Callable[[nn.Module, int], None]
"""Takes a module and the multiply-accumulates of one of its calls."""

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
_ACTIVATIONS = frozenset(
    {
        *(nn.CELU, nn.ELU, nn.GELU, nn.Hardsigmoid, nn.Hardswish, nn.Hardtanh, nn.LeakyReLU, nn.LogSigmoid),
        *(
            nn.Mish,
            nn.PReLU,
            nn.ReLU,
            nn.ReLU6,
            nn.SELU,
            nn.SiLU,
            nn.Sigmoid,
            nn.Softplus,
            nn.Softsign,
            nn.Tanh,
        ),
        *(nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout),  # in evaluation
    }
)


def is_layer(module: nn.Module) -> bool:
    """Whether a module is a convolution or a linear layer."""
    return isinstance(module, (*_CONVOLUTIONS, *_TRANSPOSED, nn.Linear))


def shape_only(module: nn.Module, add: Add) -> Callable[..., Any] | None:
    """What stands for a module's `forward` in evaluation mode on the meta device; None where torch's own is needed.

    Args:
        module: counts as one of torch's layers only where it runs that layer's own `forward`.
        add: called at each call with what it costs.
    """
    if isinstance(module, torch.jit.ScriptModule):
        return None
    forward = type(module).forward
    if type(module) in _ACTIVATIONS:
        return _unchanged
    if isinstance(module, _BATCH_NORMS) and forward is nn.BatchNorm2d.forward:
        return _normalised(module, 1, (module.num_features,))
    if isinstance(module, nn.GroupNorm) and forward is nn.GroupNorm.forward:
        return _normalised(module, 1, (module.num_channels,))
    if isinstance(module, nn.LayerNorm) and forward is nn.LayerNorm.forward:
        return _normalised(module, -len(module.normalized_shape), module.normalized_shape)
    if isinstance(module, nn.Linear) and forward is nn.Linear.forward:
        return _linear(module, add)
    if isinstance(module, _CONVOLUTIONS) and forward in (kind.forward for kind in _CONVOLUTIONS):
        return _convolution(module, add)
    if type(module) in (nn.LSTM, nn.GRU, nn.RNN):
        return _recurrent(module, add)
    return None


def same_shape(operation: Any, inputs: Sequence[Any]) -> Tensor | None:
    """The result of a common operation value by value on tensors of one shape and type on the meta device; else None.

    Args:
        operation: as a `TorchDispatchMode` is given it.
        inputs: its positional arguments; those that are no tensors do not change shape and type.
    """
    if operation not in _SAME_SHAPE:
        return None
    first = inputs[0]
    if not (isinstance(first, Tensor) and first.is_meta and first.dtype.is_floating_point):
        return None
    for other in inputs[1:]:
        if isinstance(other, Tensor) and (other.shape != first.shape or other.dtype != first.dtype):
            return None
    return torch.empty_like(first)


_ATEN = torch.ops.aten
_SAME_SHAPE = frozenset(
    {
        *(_ATEN.add.Tensor, _ATEN.sub.Tensor, _ATEN.mul.Tensor, _ATEN.div.Tensor, _ATEN.relu.default),
        *(
            _ATEN.sigmoid.default,
            _ATEN.tanh.default,
            _ATEN.silu.default,
            _ATEN.gelu.default,
            _ATEN.exp.default,
        ),
        *(
            _ATEN.hardtanh.default,
            _ATEN.hardswish.default,
            _ATEN.hardsigmoid.default,
            _ATEN.leaky_relu.default,
        ),
        _ATEN._softmax.default,
    }
)


def _unchanged(x: Tensor) -> Tensor:
    return x


def _normalised(module: nn.Module, dimension: int, sizes: Sequence[int]) -> Callable[[Tensor], Tensor]:
    """The input as it is where its sizes from a dimension on are these; else torch's own, which raises."""
    own: Callable[..., Tensor] = type(module).forward

    def forward(x: Tensor) -> Tensor:
        start = dimension if dimension >= 0 else x.ndim + dimension
        if 0 <= start < x.ndim and tuple(x.shape[start : start + len(sizes)]) == tuple(sizes):
            return x
        return own(module, x)

    return forward


def _linear(module: nn.Linear, add: Add) -> Callable[[Tensor], Tensor]:
    own: Callable[..., Tensor] = type(module).forward

    def forward(x: Tensor) -> Tensor:
        weight = module.weight
        if x.shape[-1:] != weight.shape[-1:] or x.dtype != weight.dtype:
            return own(module, x)
        output = _empty((*x.shape[:-1], weight.shape[0]), x)
        add(module, output.numel() * weight.shape[1])
        return output

    return forward


def _convolution(module: nn.Module, add: Add) -> Callable[[Tensor], Tensor] | None:
    assert isinstance(module, _CONVOLUTIONS)
    if module.padding_mode != "zeros" or isinstance(module.padding, str):
        return None
    own: Callable[..., Tensor] = type(module).forward
    num, padding = len(module.kernel_size), module.padding

    def forward(x: Tensor) -> Tensor:
        weight = module.weight
        fits = x.ndim == num + 2 and x.shape[1] == weight.shape[1] * module.groups and x.dtype == weight.dtype
        places = [
            (size + 2 * pad - dilation * (kernel - 1) - 1) // stride + 1
            for size, pad, dilation, kernel, stride in zip(
                x.shape[2:], padding, module.dilation, weight.shape[2:], module.stride, strict=False
            )
        ]
        if not fits or min(places) < 1:
            return own(module, x)
        output = _empty((x.shape[0], weight.shape[0], *places), x)
        add(module, convolution_macs(weight, output))
        return output

    return forward


def _recurrent(module: nn.Module, add: Add) -> Callable[..., Any]:
    assert isinstance(module, nn.RNNBase)
    # (gates * H, I) and (gates * H, H) of every layer and direction, and (P, H) where the state is projected
    per_step = sum(weight.numel() for weights in module.all_weights for weight in weights if weight.ndim == 2)
    directions = 2 if module.bidirectional else 1
    own = type(module).forward

    def forward(x: Any, hx: Any = None) -> Any:
        if not isinstance(x, Tensor) or x.ndim != 3 or x.shape[2] != module.input_size:
            return own(module, x, hx)  # packed, without a batch, or wrong
        first, second, _ = x.shape
        add(module, first * second * per_step)
        size = module.proj_size or module.hidden_size
        num, batch = directions * module.num_layers, first if module.batch_first else second
        output, state = _empty((first, second, directions * size), x), _empty((num, batch, size), x)
        cell = _empty((num, batch, module.hidden_size), x)
        return output, (state, cell) if isinstance(module, nn.LSTM) else state

    return forward


def _empty(shape: Sequence[int], like: Tensor) -> Tensor:
    return torch.empty(shape, dtype=like.dtype, device="meta")
