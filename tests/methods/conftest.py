"""A small network trained on the digits, of which half could be left out."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import onepath as op


class Branches(nn.Module):
    """Two branches of equal size, of which only one reaches the output."""

    def __init__(self) -> None:
        super().__init__()
        self.used = nn.Sequential(nn.Conv2d(1, 32, 3, 2), nn.ReLU(), nn.Conv2d(32, 8, 1))
        self.idle = nn.Sequential(nn.Conv2d(1, 32, 3, 2), nn.ReLU(), nn.Conv2d(32, 8, 1))
        self.head, self.nothing = nn.Linear(72, 10), nn.Linear(72, 10)
        nn.init.zeros_(self.nothing.weight)
        self.nothing.weight.requires_grad_(False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.head(self.used(x).relu().flatten(1))
        return y + self.nothing(self.idle(x).relu().flatten(1))


@pytest.fixture(scope="session")
def digits() -> op.Task:
    return op.load_data("digits")


@pytest.fixture(scope="session")
def branches(digits: op.Task) -> nn.Module:
    torch.manual_seed(0)
    model = Branches()
    op.train_model(model, digits, recipe=op.Recipe(3, 32, 0.1))
    return model.eval()
