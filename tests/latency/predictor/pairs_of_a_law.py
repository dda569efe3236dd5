"""Latency pairs whose law is known, a small supernet, and a device that counts instead of measuring."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor, nn

from onepath.latency import Device
from onepath.latency.predictor import EncodedFeatures, LatencyPairs
from onepath.nn import ChoiceBlock, Supernet
from onepath.space import Choice, SearchSpace


def deep_space() -> SearchSpace:
    """A depth of 1 to 3 and three blocks of 4 options, those beyond the depth inactive."""
    depth = Choice("depth", [1, 2, 3])
    blocks = [Choice(f"blocks.{index}", ["a", "b", "c", "d"]) for index in range(3)]
    return SearchSpace([depth, *blocks], {"blocks.1": [{"depth": [2, 3]}], "blocks.2": [{"depth": [3]}]})


def pairs_of(space: SearchSpace, latencies_ms: np.ndarray, matrix: np.ndarray) -> LatencyPairs:
    features = EncodedFeatures.of_space(space)
    labels = tuple(map(str, space.architectures(matrix)))
    return LatencyPairs(
        "law",
        space.fingerprint,
        {"name": "counting", "threads": 1},
        (3, 8, 8),
        features,
        features.values(space, matrix),
        latencies_ms,
        labels,
    )


def law_pairs(num: int = 120) -> tuple[SearchSpace, LatencyPairs]:
    """Without noise: 5 ms, 2 ms for each depth, and a cost of each active block's option."""
    space = deep_space()
    matrix = space.sample(num, np.random.default_rng(3))
    return space, pairs_of(space, law_ms(space, matrix), matrix)


def law_ms(space: SearchSpace, matrix: np.ndarray) -> np.ndarray:
    active = space.active(matrix)[:, 1:]
    return 5.0 + 2.0 * (matrix[:, 0] + 1) + (active * (0.25 + matrix[:, 1:] ** 2)).sum(axis=1)


class Counting(Device):
    """Takes a hundredth of a millisecond for each parameter, exactly; counts what it has prepared."""

    name = "counting"

    def __init__(self, *, noisy: bool = False, stop_after: int | None = None, **settings: Any) -> None:
        super().__init__(**settings)
        self.noisy, self.stop_after, self.num_prepared, self.slowness = noisy, stop_after, 0, 1.0

    def prepare(self, model: Any, input_shape: Sequence[int]) -> _Counted:
        if self.num_prepared == self.stop_after:
            raise KeyboardInterrupt
        self.num_prepared += 1
        num = sum(parameter.numel() for parameter in model.parameters())
        return _Counted(num, self.noisy, self.slowness)


class _Counted:
    def __init__(self, num: int, noisy: bool, slowness: float) -> None:
        self.num, self.noisy, self.slowness, self.calls = num, noisy, slowness, 0

    def run(self) -> float:
        self.calls += 1
        # Slow for half of the blocks, where an odd number of blocks is the larger convolution.
        is_slow = self.noisy and self.num // 4 % 2 == 1 and self.calls // 30 % 2 == 1
        return self.slowness * 0.01 * self.num * (3.0 if is_slow else 1.0)

    def close(self) -> None:
        pass


class _Net(nn.Module):
    def __init__(self, num_blocks: int, width: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, width, 1)
        self.blocks = nn.Sequential(
            *(
                ChoiceBlock(
                    {
                        "skip": nn.Identity(),
                        "k1": nn.Conv2d(width, width, 1, bias=False),
                        "k3": nn.Conv2d(width, width, 3, padding=1),
                    }
                )
                for _ in range(num_blocks)
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.blocks(self.stem(x))


def small_supernet(num_blocks: int = 4, width: int = 4) -> Supernet:
    """3 ** num_blocks architectures for inputs of (3, 8, 8)."""
    return Supernet(_Net(num_blocks, width))
