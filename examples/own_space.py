"""Your own space: `onepath run --space examples/own_space.py:build` searches it."""

from __future__ import annotations

from torch import Tensor, nn

import onepath as op


class Network(nn.Module):
    def __init__(self, num_classes: int, in_channels: int) -> None:
        super().__init__()
        width = op.Choice("width", [16, 24, 32])
        self.stem = op.ElasticConv2d(in_channels, width, 3, stride=2, padding=1)
        self.first = op.ChoiceBlock({"conv3": self.conv(width, 3), "conv5": self.conv(width, 5)})
        self.second = op.ChoiceBlock({"conv3": self.conv(width, 3), "skip": nn.Identity()})
        self.head = op.ElasticLinear(width, num_classes)

    @staticmethod
    def conv(width: op.Choice, size: int) -> nn.Module:
        layer = op.ElasticConv2d(width, width, size, padding=size // 2, bias=False)
        return nn.Sequential(layer, op.ElasticBatchNorm2d(width), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.second(self.first(self.stem(x))).mean(dim=(2, 3)))


def build(num_classes: int, in_channels: int) -> nn.Module:
    return Network(num_classes, in_channels)
