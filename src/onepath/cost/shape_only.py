"""Fast replacements for torch layers on the meta device, which compute only the shape of the result and the macs.

Torch itself takes up to some milliseconds for the shape of one result on the meta device, and a network has hundreds of
results.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from onepath.cost.operations import convolution_macs

Add = Callable[[nn.Module, int], None]
"""A function that is called with a module and the macs of one of its calls."""

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
        *(nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout),  # in evaluation mode
    }
)


def is_layer(module: nn.Module) -> bool:
    """Whether a module is a convolution or a linear layer."""
    return isinstance(module, (*_CONVOLUTIONS, *_TRANSPOSED, nn.Linear))


def shape_only(module: nn.Module, add: Add) -> Callable[..., Any] | None:
    """Return a replacement for a module's `forward`, or None if the module needs its own.

    The replacement is for evaluation mode on the meta device. It returns tensors of the right shape.

    Args:
        module: a module; one with a `forward` of its own in place of the torch layer's is not replaced.
        add: called with the module and its macs whenever the replacement of a layer that has macs runs.
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
    """Return the result of a common elementwise operation on meta tensors of one shape and type, or None.

    None means that the operation is another one, or that the tensors differ in shape or type: torch must compute it.

    Args:
        operation: the operation in the form in which torch passes it to a `TorchDispatchMode`.
        inputs: positional arguments of the operation; arguments that are not tensors do not affect the result's shape.
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
    """Return a `forward` that returns its input if the sizes fit, and else calls torch's own, which raises.

    Args:
        module: the normalisation layer.
        dimension: first dimension of the input that is compared; negative counts from the end.
        sizes: required sizes of the input from that dimension on.
    """
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
            return own(module, x, hx)  # a packed sequence, an input without a batch, or a wrong input
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
