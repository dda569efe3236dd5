"""What was cut out of a model, by module."""

from __future__ import annotations

import timm
import torch
from torch import nn

import onepath as op
from onepath.conversion.cuts import Cut, cuts
from onepath.space.ends import end_of


class Block(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.expand = nn.Conv2d(channels, 64, 1)
        self.depthwise = nn.Conv2d(64, 64, 5, padding=2, groups=64)
        self.project = nn.Conv2d(64, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.project(self.depthwise(self.expand(x)).relu())


def test_widths_kernels_and_blocks_that_are_left_out() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 16, 3), Block(16), Block(16), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10)
    )
    supernet = op.convert(model, torch.zeros(1, 3, 8, 8), widths=(0.5, 1.0))
    whole = supernet.extract(end_of(supernet.space, max))
    assert all(row.kept_width == row.width and row.kept_kernel == row.kernel for row in cuts(whole, whole))
    found = cuts(whole, supernet.extract(end_of(supernet.space, min)))
    assert found == [
        Cut("0", "Conv2d", 16, 8, (3, 3), (3, 3)),
        Cut("1.expand", "Conv2d", 64, 32),
        Cut("1.depthwise", "Conv2d", 64, 32, (5, 5), (3, 3)),
        Cut("1.project", "Conv2d", 16, 8),
        *(
            Cut(f"2.{name}", "Conv2d", width, None, kernel)
            for name, width, kernel in (("expand", 64, ()), ("depthwise", 64, (5, 5)), ("project", 16, ()))
        ),
        Cut("5", "Linear", 10, 10),
    ]


def test_heads() -> None:
    model = timm.create_model("vit_tiny_patch16_224", img_size=32, num_classes=10, depth=2).eval()
    supernet = op.convert(model, torch.zeros(1, 3, 32, 32), depth=False)
    found = cuts(supernet.extract(end_of(supernet.space, max)), supernet.extract(end_of(supernet.space, min)))
    heads = [row for row in found if row.kind == "heads"]
    assert [(row.path, row.width) for row in heads] == [("blocks.0.attn", 3), ("blocks.1.attn", 3)]
    assert all(row.kept_width is not None and row.kept_width < 3 for row in heads)
