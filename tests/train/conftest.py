"""A task of noise and a two-block supernet whose paths are tuples, to test the loop by itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional


class NoiseTask:
    """Images (3, 8, 8) whose mean gives their class away; batch t depends on (seed, t) alone."""

    input_shape = (3, 8, 8)
    num_classes = 4
    fingerprint = "noise"
    recipe_settings: ClassVar[dict[str, object]] = {}

    def __init__(self, num_train: int = 96) -> None:
        rng = np.random.default_rng(0)
        self.num_train = num_train
        self.targets = torch.from_numpy(rng.integers(0, 4, num_train))
        noise = torch.from_numpy(rng.normal(size=(num_train, 3, 8, 8)).astype(np.float32))
        self.inputs = noise + self.targets[:, None, None, None]

    def num_examples(self, split: str) -> int:
        return self.num_train

    def updates_per_epoch(self, batch_size: int) -> int:
        return max(self.num_train // batch_size, 1)

    def train_batches(
        self, batch_size: int, *, seed: int, first_update: int = 0, num_updates: int
    ) -> Iterator[tuple[Tensor, Tensor]]:
        for update in range(first_update, first_update + num_updates):
            rows = torch.from_numpy(
                np.random.default_rng([seed, update]).permutation(self.num_train)[:batch_size]
            )
            yield self.inputs[rows], self.targets[rows]

    def batches(
        self, split: str, batch_size: int, *, num_examples: int | None = None, seed: int = 0
    ) -> Iterator[tuple[Tensor, Tensor]]:
        num = self.num_train if num_examples is None else num_examples
        for start in range(0, num, batch_size):
            rows = slice(start, min(start + batch_size, num))
            yield self.inputs[rows], self.targets[rows]

    def loss(self, outputs: Tensor, targets: Tensor, label_smoothing: float = 0.0) -> Tensor:
        return functional.cross_entropy(outputs, targets, label_smoothing=label_smoothing)

    def tally(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return torch.tensor([float((outputs.argmax(1) == targets).sum()), len(targets)])

    def metric(self, tally: Tensor) -> float:
        return float(tally[0] / tally[1])


def _candidate(channels: int, kernel_size: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, channels, kernel_size, padding=kernel_size // 2),
        nn.BatchNorm2d(channels),
        nn.ReLU(),
        nn.Dropout(0.2),
    )


class TwoBlocks(nn.Module):
    """Stem, two blocks of candidates, head; a path is a tuple of two candidate numbers."""

    def __init__(self, num_candidates: int = 3, channels: int = 8) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, channels, 3, padding=1)
        self.blocks = nn.ModuleList(
            nn.ModuleList(_candidate(channels, 2 * (i % 2) + 1) for i in range(num_candidates))
            for _ in range(2)
        )
        self.head = nn.Linear(channels, 4)

    def forward(self, x: Tensor, path: tuple[int, ...]) -> Tensor:
        x = self.stem(x)
        for block, choice in zip(self.blocks, path, strict=True):
            x = block[choice](x)
        return self.head(x.mean((2, 3)))


class ListSampler:
    """Answers the same paths for every update, or `paths[update]` of a mapping."""

    def __init__(self, paths: Any) -> None:
        self._paths = paths

    def paths(self, update: int, rng: np.random.Generator) -> Any:
        return self._paths[update] if isinstance(self._paths, dict) else self._paths


class RandomSampler:
    """One or two random paths of `TwoBlocks` for every update."""

    def paths(self, update: int, rng: np.random.Generator) -> Any:
        return [tuple(map(int, rng.integers(0, 3, 2))) for _ in range(1 + update % 2)]


class MemoryCheckpoint:
    """Keeps a deep copy of the state; due every update if asked."""

    def __init__(self, *, always: bool = False) -> None:
        self.state: dict[str, Any] | None = None
        self.num_saved = 0
        self._always = always

    def due(self) -> bool:
        return self._always

    def save(self, state: dict[str, Any]) -> None:
        import copy

        self.state = copy.deepcopy(state)
        self.num_saved += 1

    def load(self) -> dict[str, Any] | None:
        return self.state


class Toys:
    """The classes above, for tests that cannot import this file."""

    NoiseTask = NoiseTask
    TwoBlocks = TwoBlocks
    ListSampler = ListSampler
    RandomSampler = RandomSampler
    MemoryCheckpoint = MemoryCheckpoint

    @staticmethod
    def supernet(seed: int = 0) -> TwoBlocks:
        """The same weights for the same seed."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return TwoBlocks()


@pytest.fixture
def toys() -> type[Toys]:
    return Toys
