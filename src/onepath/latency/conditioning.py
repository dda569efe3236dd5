"""Copies of networks whose values do not disturb a timing: no subnormal numbers, nothing infinite, no NaN.

An untrained deep network in eval mode can shrink its activations to subnormal numbers, layer by layer. Thirty
convolutions on subnormal numbers took 10 times as long in PyTorch and 30 times in onnxruntime.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from onepath.errors import ShapeError, UserError, shown
from onepath.export.files import standalone_copy
from onepath.nn.inputs import input_dtype
from onepath.randomness import generator

# A layer whose outputs have a root mean square outside this range is scaled to a root mean square of 1.
_SPREAD = (1e-3, 1e3)
_MOST_NUMBERS = 2**28


def conditioned(model: nn.Module, input_shape: Sequence[int]) -> nn.Module:
    """Return a copy of the network, in eval mode on the CPU, whose layers' outputs neither vanish nor overflow.

    Weights that are not finite are drawn afresh. Then one random example runs through the network. Each layer with
    weights whose outputs have a root mean square outside 0.001 to 1000 has its weights and biases divided by this root
    mean square, in the order of the forward pass. The network's shape, types and operations stay the same; its outputs
    do not. A network with ordinary values is copied as it is.

    Args:
        model: the network; not changed.
        input_shape: shape of one example, (C, H, W), without the batch.

    Raises:
        ShapeError: the network rejects `input_shape`.
    """
    network = standalone_copy(model)
    draws = generator(0, "conditioning")
    for name, tensor in (*network.named_parameters(), *network.named_buffers()):
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            tensor.data = _fresh(name, tensor, draws)
    layers = [layer for layer in network.modules() if _is_scalable(layer)]
    handles = [layer.register_forward_hook(_scale) for layer in layers]
    try:
        with torch.no_grad():
            network(example(input_shape, 1, input_dtype(network)))
    except RuntimeError as error:
        line = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ShapeError(
            f"the network must accept inputs of shape {tuple(input_shape)}, but {line}; "
            "give the shape of one example without the batch"
        ) from error
    finally:
        for handle in handles:
            handle.remove()
    return network


def example(input_shape: Sequence[int], batch: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return a batch of inputs, (batch, *input_shape), always the same: standard normal float32 numbers or zeros.

    Args:
        input_shape: shape of one example.
        batch: number of examples.
        dtype: type of the network's inputs; a whole-number type stands for indices, such as words, and gives zeros.

    Raises:
        UserError: there would be more than 2^28 numbers, which is a gigabyte in float32.
    """
    if batch * math.prod(input_shape) > _MOST_NUMBERS:
        raise UserError(
            f"a batch must have at most {_MOST_NUMBERS:,} numbers, but {batch:,} inputs of shape "
            f"{shown(tuple(input_shape))} have {batch * math.prod(input_shape):,}; give a smaller batch"
        )
    if not dtype.is_floating_point:
        return torch.zeros((batch, *input_shape), dtype=dtype)
    draws = generator(0, "latency").standard_normal((batch, *input_shape), dtype=np.float32)
    return torch.from_numpy(draws)


def _is_scalable(layer: nn.Module) -> bool:
    """Whether the outputs are proportional to the layer's own weight and bias together."""
    own = dict(layer.named_parameters(recurse=False))
    return not list(layer.children()) and "weight" in own and set(own) <= {"weight", "bias"}


def _scale(layer: nn.Module, _inputs: Any, output: Any) -> Any:
    if not isinstance(output, Tensor) or isinstance(layer, nn.PReLU):
        return output
    # In double precision, because the square of a small number is a subnormal one.
    spread = float(output.double().square().mean().sqrt())
    low, high = _SPREAD
    if low <= spread <= high or spread == 0 or not np.isfinite(spread):
        return output
    for tensor in layer.parameters(recurse=False):
        tensor.data /= spread
    return output / spread


def _fresh(name: str, tensor: Tensor, draws: np.random.Generator) -> Tensor:
    if name.endswith("running_var"):
        return torch.ones_like(tensor)
    fan_in = max(1, tensor[0].numel()) if tensor.ndim > 1 else 1
    values = torch.from_numpy(draws.standard_normal(tuple(tensor.shape), dtype=np.float32))
    scaled: Tensor = values / fan_in**0.5
    return scaled.to(tensor.dtype)
