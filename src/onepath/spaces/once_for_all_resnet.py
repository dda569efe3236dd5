"""Once-for-All's space of ResNet-50D: elastic widths of the stages, bottleneck ratios and depths.

Source: Cai et al., "Once-for-All" (arXiv 1908.09791) and its released code for ResNet-50: stages of 2, 2, 4 and 2
blocks and up to two more, bottlenecks of 0.2, 0.25 or 0.35 of the stage's width, widths of 0.65, 0.8 or 1, a stem of
which one layer may be left out, and average pooling in shortcuts with a stride. Differs from it: smaller inputs keep
fewer strides, so that the last map is at least 4x4 pixels; the resolution is a choice only if `resolutions` are given.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from onepath.nn import ElasticBatchNorm2d, ElasticConv2d, ElasticDepth, ElasticLinear
from onepath.space import Choice, Size, round_to
from onepath.spaces.once_for_all import DIVISOR, order_of, resized
from onepath.spaces.small_inputs import check_width, stage_strides

STAGE_CHANNELS, STAGE_DEPTHS = (256, 512, 1024, 2048), (2, 2, 4, 2)
STEM_CHANNELS = 64
WIDTHS, RATIOS, MORE_BLOCKS = (0.65, 0.8, 1.0), (0.2, 0.25, 0.35), 2


def _convolution(
    in_channels: Size, out_channels: Size, side: int, stride: int = 1, *, acts: bool = True
) -> nn.Sequential:
    layers: list[nn.Module] = [
        ElasticConv2d(in_channels, out_channels, side, stride, side // 2, bias=False),
        ElasticBatchNorm2d(out_channels),
    ]
    return nn.Sequential(*layers, *([nn.ReLU(inplace=True)] if acts else []))


class OfaResidual(nn.Module):
    """A bottleneck of three convolutions between elastic widths, and a shortcut.

    Args:
        in_channels: number of input channels.
        out_channels: number of output channels, an expression of choices.
        name: prefix of the name of its choice, `name.ratio`: middle channels over output channels.
        stride: stride of the 3x3 convolution.

    Shapes: (B, in_channels, H, W) to (B, out_channels, H / stride, W / stride).
    """

    def __init__(self, in_channels: Size, out_channels: Any, name: str, stride: int) -> None:
        super().__init__()
        self.ratio = Choice(f"{name}.ratio", RATIOS, role="size")
        self.widest = max(out_channels.values())
        middle: Any = round_to(out_channels * self.ratio, DIVISOR)
        self.layers: Any = nn.Sequential(
            _convolution(in_channels, middle, 1),
            _convolution(middle, middle, 3, stride),
            _convolution(middle, out_channels, 1, acts=False),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or in_channels is not out_channels:
            pool = nn.AvgPool2d(stride, stride, ceil_mode=True) if stride > 1 else nn.Identity()
            self.shortcut = nn.Sequential(pool, _convolution(in_channels, out_channels, 1, acts=False))
        self.activation = nn.ReLU(inplace=True)

    @torch.no_grad()
    def sort_middle(self, opened: Sequence[float] = ()) -> None:
        """Sort the inputs and the outputs of the 3x3 convolution, in place, by the absolute weights that read them.

        The largest come first. The largest architecture of the block still computes the same function.

        Args:
            opened: ratios that are already trained. The channels of each of them stay before the channels that only
                larger ratios use.
        """
        first, second, third = self.layers
        for before, after in ((first, second), (second, third)):
            convolution, norm = before[0], before[1]
            kept = [int(round_to(self.widest * ratio, DIVISOR)) for ratio in opened]
            order = order_of(after[0].weight.abs().sum((0, 2, 3)), kept)
            for tensor in (convolution.weight, norm.weight, norm.bias, norm.running_mean, norm.running_var):
                tensor.copy_(tensor[order])
            after[0].weight.copy_(after[0].weight[:, order])

    def forward(self, x: Tensor) -> Tensor:
        """Return the activation of the bottleneck's output plus the shortcut's."""
        result: Tensor = self.activation(self.layers(x) + self.shortcut(x))
        return result


class _Added(nn.Module):
    """A convolution whose input is added to its output."""

    def __init__(self, channels: Size) -> None:
        super().__init__()
        self.layer = _convolution(channels, channels, 3)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layer(x)
        return x + y


class OnceForAllResNet(nn.Module):
    """The supernet module: a stem of two or three convolutions, four elastic stages and a classifier.

    Args:
        num_classes: number of outputs of the classifier.
        input_size: height and width of the input in pixels; they decide the strides, see `stage_strides`.
        in_channels: number of input channels.
        width: factor on every number of channels; 1 is the paper's network.
        resolutions: sides in pixels to which images are resized, as a choice; if empty, images are not resized.

    Shapes: (B, in_channels, input_size, input_size) to (B, num_classes).

    Raises:
        ConfigurationError: the input is smaller than 4 pixels, or the width is out of range.
    """

    def __init__(
        self,
        num_classes: int,
        input_size: int = 224,
        in_channels: int = 3,
        width: float = 1.0,
        resolutions: Sequence[int] = (),
    ) -> None:
        super().__init__()
        check_width(width)
        stem_stride, strides = stage_strides(input_size)
        self.resolution = resized(resolutions)
        out = _elastic("stem.width", STEM_CHANNELS * width)
        inner: Any = round_to(_elastic("stem.inner", STEM_CHANNELS * width) // 2, DIVISOR)
        self.stem = nn.Sequential(
            _convolution(in_channels, inner, 3, stem_stride),
            ElasticDepth([_Added(inner)], Choice("stem.depth", (0, 1), role="depth")),
            _convolution(inner, out, 3),
        )
        self.pool = nn.MaxPool2d(3, strides[0], 1)
        self.stages = nn.ModuleList()
        channels = out
        for stage, (base, depth) in enumerate(zip(STAGE_CHANNELS, STAGE_DEPTHS, strict=True)):
            wide = _elastic(f"stages.{stage}.width", base * width)
            blocks = []
            for block in range(depth + MORE_BLOCKS):
                stride = strides[stage] if block == 0 and stage > 0 else 1
                blocks.append(OfaResidual(channels, wide, f"stages.{stage}.{block}", stride))
                channels = wide
            depths = tuple(range(depth, depth + MORE_BLOCKS + 1))
            self.stages.append(ElasticDepth(blocks, Choice(f"stages.{stage}.depth", depths, role="depth")))
        self.average = nn.AdaptiveAvgPool2d(1)
        self.classifier = ElasticLinear(channels, num_classes)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Let every block start as its shortcut: set the scale of its last normalisation to 0, and nothing else.

        Source: Goyal et al., "Accurate, Large Minibatch SGD" (arXiv 1706.02677), section 5.1.
        """
        for module in self.modules():
            if isinstance(module, OfaResidual):
                nn.init.zeros_(module.layers[2][1].weight)

    def sort_channels(self, opened: Mapping[str, Sequence[Any]]) -> None:
        """Sort the middle channels of every block by importance, in place; channels between blocks keep their order.

        Args:
            opened: name of a choice -> its options that are already trained; see `OfaResidual.sort_middle`.
        """
        for module in self.modules():
            if isinstance(module, OfaResidual):
                module.sort_middle(opened.get(module.ratio.name, ()))

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits (B, num_classes) of images (B, in_channels, H, W)."""
        x = self.pool(self.stem(self.resolution(x)))
        for stage in self.stages:
            x = stage(x)
        logits: Tensor = self.classifier(self.average(x).flatten(1))
        return logits


def _elastic(name: str, channels: float) -> Any:
    """Return a number of channels with a choice of three widths, rounded to a multiple of 8."""
    return round_to(Choice(name, WIDTHS, role="size") * channels, DIVISOR)
