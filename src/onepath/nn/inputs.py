"""Make inputs of the right shape and type for a network whose values do not matter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn


def input_dtype(model: nn.Module) -> torch.dtype:
    """Return the type of a network's inputs.

    It is the attribute `input_dtype` of the network, or of the module in a supernet, and float32 without such an
    attribute. An `nn.Embedding` takes indices, int64.
    """
    if isinstance(model, nn.Embedding):
        return torch.int64
    own = getattr(model, "input_dtype", None) or getattr(getattr(model, "module", None), "input_dtype", None)
    return own if isinstance(own, torch.dtype) else torch.float32


def blank_inputs(
    model: nn.Module, input_shape: Sequence[Any], batch: int = 1, device: str | torch.device = "cpu"
) -> Any:
    """Return zeros (batch, *input_shape) of the type that a network takes: floats, or indices such as words.

    Args:
        model: the network.
        input_shape: shape of one example; for several inputs, a sequence of shapes.
        batch: number of examples.
        device: device of the zeros.

    Returns:
        A tensor, or a tuple of tensors for several inputs.
    """
    if not all(isinstance(size, int) for size in input_shape):
        return tuple(blank_inputs(model, shape, batch, device) for shape in input_shape)
    return torch.zeros((batch, *input_shape), dtype=input_dtype(model), device=device)
