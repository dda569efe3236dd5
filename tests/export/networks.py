"""Networks for the export tests, made of what the search spaces are made of."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ShuffleBlock(nn.Module):
    """Splits the channels into even and odd ones, works on one half, and joins them again."""

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()
        half = channels // 2
        self.branch = nn.Sequential(
            nn.Conv2d(half, half, 1, bias=False),
            nn.BatchNorm2d(half),
            nn.ReLU(inplace=True),
            nn.Conv2d(half, half, kernel, padding=kernel // 2, groups=half, bias=False),
            nn.BatchNorm2d(half),
            nn.Conv2d(half, half, 1, bias=False),
            nn.BatchNorm2d(half),
            nn.ReLU(inplace=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        pairs = x.reshape(batch, channels // 2, 2, height, width)
        return torch.cat((pairs[:, :, 0], self.branch(pairs[:, :, 1])), 1)


class ShuffleNet(nn.Module):
    def __init__(
        self, num_blocks: int = 2, in_channels: int = 3, width: int = 8, num_classes: int = 5
    ) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(in_channels, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
        )
        self.blocks = nn.Sequential(*(ShuffleBlock(width, 3 + 2 * (i % 3)) for i in range(num_blocks)))
        self.dropout = nn.Dropout(0.5)
        self.head = nn.Linear(width, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(self.stem(x))
        return self.head(self.dropout(x.mean((2, 3))))


class InvertedBottleneck(nn.Module):
    """Depthwise network with pooling, a residual, and a flatten before the classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.expand = nn.Sequential(nn.Conv2d(1, 12, 1), nn.BatchNorm2d(12), nn.ReLU6())
        self.depthwise = nn.Sequential(
            nn.Conv2d(12, 12, 5, padding=2, groups=12), nn.BatchNorm2d(12), nn.ReLU6()
        )
        self.project = nn.Conv2d(12, 12, 1)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(12, 3))

    def forward(self, x: Tensor) -> Tensor:
        x = self.expand(x)
        x = x + self.project(self.depthwise(x))
        return self.classifier(self.pool(x).flatten(1))


class ViewOfInput(nn.Module):
    """Takes a view of its input that channels_last strides do not allow."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3 * 4 * 4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x.contiguous().view(x.shape[0], -1))


class Branching(nn.Module):
    """Cannot be traced: what it computes depends on the values."""

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1) if float(x.sum()) > 0 else -x.flatten(1)


class TwoOutputs(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x.flatten(1), x


def with_statistics(network: nn.Module, seed: int = 0) -> nn.Module:
    """Gives normalisation layers means, variances, scales and shifts that are not 0 and 1."""
    rng = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.running_mean, module.bias):
                tensor.data = 0.3 * torch.randn(tensor.shape, generator=rng)
            for tensor in (module.running_var, module.weight):
                tensor.data = 0.5 + torch.rand(tensor.shape, generator=rng)
    return network
