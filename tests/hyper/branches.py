"""A small network with a choice between three branches, and hypernetworks for it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

import onepath as op
from onepath.nn import Supernet

SHAPE = (1, 8, 8)
KINDS = ("smash", "tiled", "ghn")


class Residual(nn.Module):
    """Two convolutions beside a shortcut."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first, self.second = (nn.Conv2d(channels, channels, 1) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(torch.relu(self.first(x)))


class Branches(nn.Module):
    """A stem, a block of three branches, perhaps one more block, and a classifier: images (1, 8, 8) to 3 classes."""

    def __init__(self, channels: int = 6, *, is_longer: bool = False) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, channels, 3, 2, 1, bias=False), nn.BatchNorm2d(channels))
        wide = nn.Conv2d(channels, channels, 5, padding=2, groups=channels, bias=False)
        self.block = op.ChoiceBlock(
            {
                "plain": nn.Sequential(nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU()),
                "depthwise": nn.Sequential(wide, nn.BatchNorm2d(channels), nn.ReLU()),
                "residual": Residual(channels),
            }
        )
        candidates = {"skip": nn.Identity(), "conv": nn.Conv2d(channels, channels, 1)}
        self.more = op.ChoiceBlock(candidates) if is_longer else nn.Identity()
        self.head = nn.Linear(channels, 3)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.head(self.more(self.block(torch.relu(self.stem(x)))).mean((2, 3)))
        return found


def supernet_of(*, is_longer: bool = False, seed: int = 0) -> Supernet:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Supernet(Branches(is_longer=is_longer))


def source_of(supernet: Supernet, kind: str, seed: int = 0) -> op.HyperNetwork:
    if kind == "ghn":
        return op.HyperNetwork.ghn(supernet, SHAPE, width=12, tile=4, seed=seed)
    kernels = "tiled" if kind == "tiled" else "low-rank"
    return op.HyperNetwork.smash(supernet, kernels=kernels, width=12, rank=4, tile=4, seed=seed)


def made(kind: str, *, is_longer: bool = False, seed: int = 0) -> Supernet:
    """A supernet whose weights are made."""
    supernet = supernet_of(is_longer=is_longer)
    supernet.take_weights_from(source_of(supernet, kind, seed))
    return supernet


def batch(seed: int = 0, num: int = 48) -> tuple[Tensor, Tensor]:
    """Images whose class is seen in their left half's brightness."""
    generator = torch.Generator().manual_seed(seed)
    targets = torch.arange(num) % 3
    images = 0.3 * torch.randn(num, *SHAPE, generator=generator)
    images[..., :4] += targets[:, None, None, None].float()
    return images, targets
