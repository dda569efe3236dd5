from __future__ import annotations

import pytest
import torch
from morph.changed import images
from torch import Tensor, nn
from torch.nn import functional

from onepath.morph.draft import Draft
from onepath.morph.following import what_follows


def followed(*modules: nn.Module) -> tuple[str, str]:
    found = what_follows(Draft(nn.Sequential(nn.Conv2d(3, 8, 3), *modules), "0", images(2)))
    return found.point, str(found.activation)


@pytest.mark.parametrize(
    ("modules", "point", "activation"),
    [
        ((nn.ReLU(),), "0", "ReLU()"),
        ((nn.BatchNorm2d(8), nn.ReLU(inplace=True)), "1", "ReLU()"),
        ((nn.Dropout(), nn.BatchNorm2d(8), nn.Dropout(), nn.ReLU6()), "2", "ReLU6()"),
        ((nn.GroupNorm(2, 8), nn.Hardtanh()), "1", "Hardtanh(min_val=-1.0, max_val=1.0)"),
        ((nn.Identity(), nn.ReLU()), "0", "ReLU()"),
        ((nn.MaxPool2d(2), nn.ReLU()), "0", "None"),
        ((nn.BatchNorm2d(8), nn.AvgPool2d(2)), "1", "None"),
        ((nn.Conv2d(8, 2, 1), nn.Sigmoid()), "0", "None"),
        ((), "0", "None"),
    ],
)
def test_what_follows_in_a_row(modules: tuple[nn.Module, ...], point: str, activation: str) -> None:
    assert followed(*modules) == (point, activation)


class Branching(nn.Module):
    """The output of `conv` goes through a normalisation and around it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 8, 1), nn.BatchNorm2d(8)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return self.norm(x).relu() + x


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.second = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        y = self.second(functional.relu(x)) * 2
        y += x
        return y.clamp_min_(0)


class Clamped(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x).clamp_min_(0)


@pytest.mark.parametrize(
    ("model", "layer", "activation"),
    [
        (Branching(), "conv", "None"),
        (Residual(), "conv", "None"),
        (Residual(), "second", "None"),
        (Clamped(), "conv", "ReLU()"),
    ],
)
def test_what_follows_in_code(model: nn.Module, layer: str, activation: str) -> None:
    found = what_follows(Draft(model, layer, images(2)))
    assert (found.point, str(found.activation)) == (layer, activation)


@pytest.mark.parametrize("low", [-2.0, 0.0])
def test_the_activation_has_the_bounds_of_the_code(low: float) -> None:
    class Bounded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 4)

        def forward(self, x: Tensor) -> Tensor:
            return torch.clamp(self.layer(x), low, 0.5)

    found = what_follows(Draft(Bounded(), "layer", torch.randn(2, 3)))
    x = torch.randn(9)
    assert found.activation is not None
    assert torch.equal(found.activation(x), x.clamp(low, 0.5))
