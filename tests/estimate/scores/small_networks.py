"""Small networks with known properties, and a batch for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional


def batch(num: int = 8, size: int = 8, channels: int = 3) -> tuple[Tensor, Tensor]:
    """Random images and labels of four classes."""
    draws = torch.Generator().manual_seed(7)
    return torch.randn(num, channels, size, size, generator=draws), torch.randint(
        0, 4, (num,), generator=draws
    )


def seeded(build: Callable[[], nn.Module], seed: int = 0) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build()


def chain(widths: Sequence[int], *, in_channels: int = 3, num_classes: int = 4) -> nn.Module:
    """Convolution, normalisation and ReLU for each width, then pooling and a classifier."""
    layers: list[nn.Module] = []
    before = in_channels
    for width in widths:
        layers += [
            nn.Conv2d(before, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
        ]
        before = width
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, num_classes)]
    return seeded(lambda: nn.Sequential(*_fresh(layers)))


def _fresh(layers: list[nn.Module]) -> list[nn.Module]:
    for layer in layers:
        if hasattr(layer, "reset_parameters"):
            layer.reset_parameters()
    return layers


class Block(nn.Module):
    """Two convolutions, with what the name of `link` says beside or after them."""

    def __init__(self, channels: int, link: str) -> None:
        super().__init__()
        self.one, self.two = (nn.Conv2d(channels, channels, 3, padding=1, bias=False) for _ in range(2))
        self.norm_one, self.norm_two = nn.BatchNorm2d(channels), nn.BatchNorm2d(channels)
        self.projection = nn.Conv2d(channels, channels, 1, bias=False)
        self.projection_norm = nn.BatchNorm2d(channels)
        self.gate = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, channels, 1), nn.Sigmoid())
        self.link = link

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.norm_two(self.two(self.norm_one(self.one(x)).relu()))
        if self.link == "identity":
            y = x + y
        elif self.link == "in place":
            y += x
        elif self.link == "projection":
            y = y.add(self.projection_norm(self.projection(x)))
        elif self.link == "gate":
            y = y * self.gate(y)
        return functional.relu(y)


def blocks(*links: str, channels: int = 6) -> nn.Module:
    """The same weights whatever the links are."""

    def build() -> nn.Module:
        stem = nn.Sequential(nn.Conv2d(3, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels))
        head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 4))
        return nn.Sequential(stem, *(Block(channels, link) for link in links), head)

    return seeded(build)


class Everything(nn.Module):
    """Grouped, strided, dilated and transposed convolutions with biases, a layer used twice, dropout, functions."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.depthwise = nn.Conv2d(8, 8, 3, padding=2, dilation=2, groups=8)
        self.twice = nn.Conv2d(8, 8, 1)
        self.wider = nn.ConvTranspose2d(8, 4, 2, stride=2)
        self.unused = nn.Conv2d(4, 4, 1)
        self.dropout = nn.Dropout(0.5)
        self.classifier = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.norm(self.stem(x)), inplace=True)
        x = self.twice(self.twice(self.depthwise(x)).relu())
        x = functional.relu(self.wider(x))
        logits: Tensor = self.classifier(self.dropout(x.mean(dim=(2, 3))))
        return logits


class Dead(nn.Module):
    """A network whose output does not depend on its input, as of a cell without a path; what follows has biases."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6), nn.ReLU())
        self.after = nn.Sequential(nn.Conv2d(6, 6, 1), nn.BatchNorm2d(6), nn.ReLU())
        self.classifier = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.after(torch.zeros_like(self.stem(x)))
        logits: Tensor = self.classifier(x.mean(dim=(2, 3)))
        return logits
