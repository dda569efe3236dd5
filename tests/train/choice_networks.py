"""Small supernets with choice blocks, for the samplers."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from onepath.nn import ChoiceBlock, Supernet


class Blocks(nn.Module):
    """Stem, blocks of 1x1 convolutions with normalisation, head: images (3, 8, 8) to 4 classes."""

    def __init__(self, nums_candidates: tuple[int, ...], channels: int = 4) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, channels, 3, stride=4, padding=1)
        self.blocks = nn.Sequential(
            *(
                ChoiceBlock(
                    {
                        f"c{index}": nn.Sequential(
                            nn.Conv2d(channels, channels, 1), nn.BatchNorm2d(channels), nn.Tanh()
                        )
                        for index in range(num)
                    }
                )
                for num in nums_candidates
            )
        )
        self.head = nn.Linear(channels, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.blocks(self.stem(x)).mean((2, 3)))


def blocks_supernet(nums_candidates: tuple[int, ...] = (3, 3, 3), seed: int = 0) -> Supernet:
    """The same weights for the same seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Supernet(Blocks(nums_candidates))
