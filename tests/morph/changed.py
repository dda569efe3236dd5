"""Networks to change, and comparison of what they compute before and after."""

from __future__ import annotations

import copy
from typing import Any

import torch
from conversion.zoo import randomise
from torch import Tensor, nn


def made(model: nn.Module, dtype: torch.dtype = torch.float32) -> nn.Module:
    """The network with random parameters and statistics, scales and shifts of normalisations included."""
    randomise(model)
    return model.to(dtype)


def images(num: int = 4, channels: int = 3, side: int = 8, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(num, channels, side, side, generator=torch.Generator().manual_seed(5)).to(dtype)


def change(before: nn.Module, after: nn.Module, x: Any, *, training: bool) -> float:
    """Largest absolute difference of two networks' outputs in a mode; the networks are not changed."""
    pair = [copy.deepcopy(model).train(training) for model in (before, after)]
    with torch.no_grad():
        one, other = (model(x) for model in pair)
    assert one.shape == other.shape
    assert float(one.std()) > 0.01, "the outputs tell nothing"
    return float((one - other).abs().max())


def assert_same(before: nn.Module, after: nn.Module, x: Any, most: float) -> None:
    for training in (False, True):
        assert change(before, after, x, training=training) < most, f"{training=}"


def num_params(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())
