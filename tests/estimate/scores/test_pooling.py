"""Average pooling by matrices."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from onepath.estimate.scores.pooling import averaging_matrices, matrix_pooling

SETTINGS: list[dict[str, Any]] = [
    {"kernel_size": 3, "stride": 1, "padding": 1, "count_include_pad": False},
    {"kernel_size": 3, "stride": 1, "padding": 1},
    {"kernel_size": 2, "stride": 2, "ceil_mode": True},
    {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True, "count_include_pad": False},
    {"kernel_size": (3, 2), "stride": (1, 2), "padding": (0, 1)},
]


def with_gradient(layer: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    x = x.clone().requires_grad_(True)
    output = layer(x)
    (gradient,) = torch.autograd.grad(output.square().sum(), x)
    return output.detach(), gradient


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("size", [(8, 8), (7, 10)])
def test_equal_to_the_pooling(setting: dict[str, Any], size: tuple[int, int]) -> None:
    x = torch.randn(2, 3, *size, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    layer = nn.AvgPool2d(**setting)
    expected = with_gradient(layer, x)
    with matrix_pooling(nn.Sequential(layer)):
        assert layer.__dict__["forward"] is not None
        found = with_gradient(layer, x)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)
    assert "forward" not in layer.__dict__


def test_windows_at_the_border_average_what_they_hold() -> None:
    layer = nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False)
    rows, columns = averaging_matrices(layer, torch.zeros(1, 1, 2, 4))
    assert torch.equal(rows, torch.full((2, 2), 0.5))
    third = 1 / 3
    expected = [[0.5, third, 0, 0], [0.5, third, third, 0], [0, third, third, 0.5], [0, 0, third, 0.5]]
    torch.testing.assert_close(columns, torch.tensor(expected))


def test_what_is_not_an_average_over_a_window_stays() -> None:
    class Own(nn.AvgPool2d):
        def forward(self, x: Tensor) -> Tensor:
            return -super().forward(x)

    x = torch.randn(1, 1, 4, 4)
    layers = (Own(2), nn.AvgPool2d(2, divisor_override=3))
    expected = [layer(x) for layer in layers]
    with matrix_pooling(nn.ModuleList(layers)):
        assert all(torch.equal(layer(x), before) for layer, before in zip(layers, expected, strict=True))
