"""Networks that find nothing in the example."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

import onepath as op


class Finds(nn.Module):
    """Scales what it finds by a tensor of fixed size; zeros hold nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Linear(8, 32)
        self.more = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 4))
        self.register_buffer("scale", torch.arange(1.0, 33.0))

    def forward(self, x: Tensor) -> Any:
        found = self.hidden(x)[x.sum(1) > 0]
        return self.more(x), found * self.scale


def test_a_network_may_find_nothing() -> None:
    supernet = op.convert(Finds(), torch.zeros(3, 8), widths=[0.5, 1])
    assert [choice.name for choice in supernet.space.choices] == ["more.0.width"]
