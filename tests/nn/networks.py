"""Small modules with every kind of choice, used by the tests of this folder."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from onepath.nn import ChoiceBlock, ElasticBatchNorm2d, ElasticConv2d, ElasticDepth, ElasticLinear
from onepath.space import Choice, Size, round_to


class Bottleneck(nn.Module):
    """1x1, depthwise with an elastic kernel, 1x1; residual."""

    def __init__(self, width: Size, middle: Size, kernel: Size) -> None:
        super().__init__()
        self.body = nn.Sequential(
            ElasticConv2d(width, middle, 1, bias=False),
            ElasticBatchNorm2d(middle),
            nn.ReLU(),
            ElasticConv2d(middle, middle, kernel, padding=3, groups=middle),
            ElasticBatchNorm2d(middle, affine=False, standalone_affine=True),
            ElasticConv2d(middle, width, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class EveryChoice(nn.Module):
    """Shared width, ratios as expressions, elastic kernels, elastic depth, a choice block with a nested one."""

    def __init__(self, num_classes: int = 5) -> None:
        super().__init__()
        self.width = Choice("width", [8, 12, 16])
        ratio = Choice("ratio", [1, 1.5, 2])
        depth = Choice("depth", [1, 2, 3])
        self.stem = ElasticConv2d(3, self.width, 3, padding=1)
        self.norm = ElasticBatchNorm2d(self.width)
        middle = round_to(self.width * ratio, 4)
        self.blocks = ElasticDepth(
            [Bottleneck(self.width, middle, Choice(f"kernel{i}", [3, 5, 7])) for i in range(3)], depth
        )
        inner = ChoiceBlock({"relu": nn.ReLU(), "tanh": nn.Tanh()})
        self.mixed = ChoiceBlock(
            {
                "conv": nn.Sequential(ElasticConv2d(self.width, self.width, 3, padding=1), inner),
                "skip": nn.Identity(),
            }
        )
        self.head = ElasticLinear(self.width, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.stem(x))
        x = self.mixed(self.blocks(x))
        return self.head(x.mean(dim=(2, 3)))


def warmed(module: nn.Module, *shape: int) -> nn.Module:
    """Give all normalisation statistics values that are not their defaults."""
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm2d):
            generator = torch.Generator().manual_seed(norm.num_features)
            norm.running_mean.normal_(0, 0.3, generator=generator)
            norm.running_var.uniform_(0.5, 2.0, generator=generator)
            if norm.affine:
                nn.init.uniform_(norm.weight, 0.5, 1.5)
                nn.init.uniform_(norm.bias, -0.5, 0.5)
    del shape
    return module
