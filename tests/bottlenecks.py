"""A network of bottlenecks, whose blocks, stage and stem have choices once it is converted."""

from __future__ import annotations

from torch import Tensor, nn


class Bottleneck(nn.Module):
    """A depthwise convolution between two pointwise ones, with a gate that has most of the parameters."""

    def __init__(self, stride: int = 1) -> None:
        super().__init__()
        self.expand, self.depthwise = nn.Conv2d(16, 32, 1), nn.Conv2d(32, 32, 5, stride, 2, groups=32)
        self.gate = nn.Sequential(nn.Conv2d(32, 32, 1), nn.ReLU(), nn.Conv2d(32, 32, 1), nn.Sigmoid())
        self.project = nn.Conv2d(32, 16, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.depthwise(self.expand(x).relu()).relu()
        return self.project(y * self.gate(y.mean((2, 3), keepdim=True)))


class Residual(Bottleneck):
    def forward(self, x: Tensor) -> Tensor:
        return x + super().forward(x)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 16, 3, padding=1)
        self.stage = nn.Sequential(Bottleneck(2), Residual(), Residual())
        self.head = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.stage(self.stem(x).relu()).relu().mean((2, 3)))
