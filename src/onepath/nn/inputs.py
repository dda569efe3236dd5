"""Inputs of the right shape and type for a network, where values do not matter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn


def input_dtype(model: nn.Module) -> torch.dtype:
    """The type of a network's inputs: its attribute `input_dtype`, or of the module in a supernet; else float32.

    An embedding alone takes indices, int64.
    """
    if isinstance(model, nn.Embedding):
        return torch.int64
    own = getattr(model, "input_dtype", None) or getattr(getattr(model, "module", None), "input_dtype", None)
    return own if isinstance(own, torch.dtype) else torch.float32


def blank_inputs(
    model: nn.Module, input_shape: Sequence[Any], batch: int = 1, device: str | torch.device = "cpu"
) -> Any:
    """Zeros (batch, *input_shape) as a network takes them: floats, or indices such as words.

    Several inputs, whose shape is a tuple of shapes, are a tuple.
    """
    if not all(isinstance(size, int) for size in input_shape):
        return tuple(blank_inputs(model, shape, batch, device) for shape in input_shape)
    return torch.zeros((batch, *input_shape), dtype=input_dtype(model), device=device)
