"""Small supernets whose structure differs, and a device whose times are known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor, nn

from onepath import Choice, ChoiceBlock, ElasticConv2d, ElasticDepth, ElasticLinear, Supernet
from onepath.cost import module_cost
from onepath.latency import Device, Schedule

SHAPE = (1, 8, 8)
EMPTY_MS = 0.05
MS_PER_MAC = 1e-5


class Shared(nn.Module):
    """A width that three layers share, and a block with a skip."""

    def __init__(self) -> None:
        super().__init__()
        width = Choice("width", [8, 12, 16])
        self.stem = ElasticConv2d(1, width, 3, padding=1)
        self.block = ChoiceBlock(
            {
                "k3": ElasticConv2d(width, width, 3, padding=1),
                "k5": ElasticConv2d(width, width, 5, padding=2),
                "skip": nn.Identity(),
            }
        )
        self.head = ElasticLinear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.block(self.stem(x)).relu().mean(dim=(2, 3)))
        return logits


def convolutions(channels: int) -> ChoiceBlock:
    return ChoiceBlock(
        {f"k{size}": nn.Conv2d(channels, channels, size, padding=size // 2) for size in (1, 3, 5)}
    )


class Deep(nn.Module):
    """A fixed stem, elastic depth over blocks, a block within a block, and a fixed head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 6, 3, padding=1), nn.ReLU())
        self.stage = ElasticDepth([convolutions(6) for _ in range(3)], Choice("depth", [1, 2, 3]))
        self.nested = ChoiceBlock({"plain": nn.Conv2d(6, 6, 3, padding=1), "chosen": convolutions(6)})
        self.head = nn.Linear(6, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.nested(self.stage(self.stem(x))).mean(dim=(2, 3))
        logits: Tensor = self.head(x)
        return logits


class Blocks(nn.Module):
    """Six blocks of equal shapes: 729 architectures."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 3, padding=1)
        self.blocks = nn.Sequential(*[convolutions(4) for _ in range(6)])

    def forward(self, x: Tensor) -> Tensor:
        means: Tensor = self.blocks(self.stem(x)).mean(dim=(2, 3))
        return means


def blocks() -> Supernet:
    return Supernet(Blocks())


class Counting(Device):
    """A network takes 0.05 ms and 10 ns for each multiply-accumulate, times the speed of the moment.

    Args:
        speeds: standard deviation of the logarithm of the machine's speed, which changes every few runs.
        fail_after: runs after which it is interrupted.
        noise: standard deviation of the logarithm of a single run.
    """

    name = "counting"
    schedule = Schedule(num_warm_up=1)

    def __init__(
        self, *, speeds: float = 0.0, fail_after: int | None = None, noise: float = 0.0, **settings: Any
    ):
        super().__init__(**{"threads": 1, **settings})
        self.speeds, self.fail_after, self.noise = speeds, fail_after, noise
        self.rng = np.random.default_rng(0)
        self.speed, self.num_runs, self.num_prepared, self.num_closed = 1.0, 0, 0, 0

    def processor(self) -> str:
        return "none"

    def version(self) -> str:
        return "1"

    def prepare(self, model: Any, input_shape: Sequence[int]) -> CountingRun:
        self.num_prepared += 1
        return CountingRun(self, EMPTY_MS + MS_PER_MAC * module_cost(model, tuple(input_shape)).macs)

    def time(self, own_ms: float) -> float:
        self.num_runs += 1
        if self.fail_after is not None and self.num_runs > self.fail_after:
            raise KeyboardInterrupt
        if self.num_runs % 40 == 0:
            self.speed = float(np.exp(self.speeds * self.rng.standard_normal()))
        return own_ms * self.speed * float(np.exp(self.noise * self.rng.standard_normal()))


class CountingRun:
    def __init__(self, device: Counting, own_ms: float) -> None:
        self.device, self.own_ms = device, own_ms

    def run(self) -> float:
        return self.device.time(self.own_ms)

    def close(self) -> None:
        self.device.num_closed += 1
