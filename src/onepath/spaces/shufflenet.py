"""The search spaces of Single Path One-Shot: ShuffleNetV2-style blocks, with or without a choice of widths.

Source: Guo et al., "Single Path One-Shot Neural Architecture Search with Uniform Sampling", ECCV 2020
(arXiv 1904.00420), section 4 and the released code. Differs from it: smaller inputs keep fewer strides, so
that the last stage sees at least 4x4 pixels; `width` scales every number of channels, but the stem
and the stages keep at least 16, 32, 48, 64 and 96 channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from onepath.nn import ChoiceBlock, ElasticBatchNorm2d, ElasticConv2d
from onepath.nn.alignment import copy_matching
from onepath.space import Choice, Size
from onepath.spaces.small_inputs import check_width, scaled, stage_strides

STAGE_DEPTHS = (4, 4, 8, 4)
STAGE_CHANNELS = (64, 160, 320, 640)
STEM_CHANNELS = 16
HEAD_CHANNELS = 1024
CHANNEL_SCALES = (0.2, 0.4, 0.6, 0.8, 1.0, 1.2, 1.4, 1.6)
# Narrower first layers cannot carry an image to the later ones, and hardly cost less.
LEAST_STEM_CHANNELS = 16
LEAST_STAGE_CHANNELS = (32, 48, 64, 96)


class ShuffleUnit(nn.Module):
    """One candidate: a main branch, joined with half of the input or with a projection of the input.

    With `keeps_shape`, the channels of the input are dealt alternately into two halves: one half is passed through, the
    other half goes through the main branch. Without it, in the first block of a stage, both the main branch and the
    projection read the whole input, and the projection keeps the number of channels.

    Args:
        in_channels, out_channels: channels of the input and of the output; equal and even with `keeps_shape`.
        middle_channels: channels inside the main branch; may be elastic.
        kernel_size: height and width of the depthwise kernels; odd.
        stride: 1 or 2; 2 only without `keeps_shape`.
        num_depthwise: depthwise convolutions in the main branch: 1 for the shuffle candidates, 3 for the Xception
            candidate.
        keeps_shape: whether half of the input is passed through.

    Shapes: (B, in_channels, H, W) to (B, out_channels, H / stride, W / stride).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        middle_channels: Size,
        *,
        kernel_size: int,
        stride: int,
        num_depthwise: int,
        keeps_shape: bool,
    ) -> None:
        super().__init__()
        self.keeps_shape = keeps_shape
        self.num_depthwise = num_depthwise
        passed = in_channels // 2 if keeps_shape else in_channels
        emitted = out_channels - passed
        if num_depthwise == 1:
            self.main = nn.Sequential(
                *pointwise(passed, middle_channels),
                *depthwise(middle_channels, kernel_size, stride),
                *pointwise(middle_channels, emitted),
            )
        else:
            self.main = nn.Sequential(
                *depthwise(passed, kernel_size, stride),
                *pointwise(passed, middle_channels),
                *depthwise(middle_channels, kernel_size, 1),
                *pointwise(middle_channels, middle_channels),
                *depthwise(middle_channels, kernel_size, 1),
                *pointwise(middle_channels, emitted),
            )
        self.projection = (
            None
            if keeps_shape
            else nn.Sequential(*depthwise(passed, kernel_size, stride), *pointwise(passed, passed))
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the passed or projected channels, followed by the channels of the main branch."""
        if self.projection is None:
            passed, taken = deal(x)
        else:
            passed, taken = self.projection(x), x
        return torch.cat((passed, self.main(taken)), dim=1)

    def inherit_from(self, other: nn.Module) -> None:
        """Take over weights so that this candidate computes nearly what `other` computes; in place.

        If the kernels differ in size, their centres are aligned. The Xception branch has three depthwise and three
        pointwise convolutions, and the shuffle branch has one depthwise convolution between two pointwise ones. So an
        Xception candidate takes over these three convolutions, and its other ones pass their channels through. A
        shuffle candidate takes nothing for its main branch from an Xception candidate.

        Args:
            other: another candidate of the same block; not changed.
        """
        assert isinstance(other, ShuffleUnit)
        if self.projection is not None and other.projection is not None:
            copy_matching(self.projection, other.projection)
        if self.num_depthwise == other.num_depthwise:
            copy_matching(self.main, other.main)
        elif self.num_depthwise > other.num_depthwise:
            ours = [module for module in self.main if isinstance(module, nn.Conv2d)]
            theirs = [module for module in other.main if isinstance(module, nn.Conv2d)]
            for convolution, source in zip((ours[1], ours[2], ours[5]), theirs, strict=True):
                copy_matching(convolution, source)
            for convolution in (ours[0], ours[3], ours[4]):
                nn.init.dirac_(convolution.weight, groups=convolution.groups)


def deal(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the even and the odd channels of (B, C, H, W), each (B, C / 2, H, W)."""
    if torch.is_grad_enabled() and x.requires_grad and not torch.compiler.is_compiling():
        even, odd = _Deal.apply(x)
        return even, odd
    even, odd = torch.unflatten(x, 1, (x.shape[1] // 2, 2)).unbind(2)
    return even, odd


class _Deal(torch.autograd.Function):
    """`deal` with a gradient in the memory format of the input.

    The gradient of plain indexing is laid out channel by channel. On a CPU in channels_last, this makes the ReLU and
    the normalisation before it ten times as slow.
    """

    @staticmethod
    def forward(context: Any, x: Tensor) -> tuple[Tensor, Tensor]:
        context.memory_format = (
            torch.channels_last
            if x.is_contiguous(memory_format=torch.channels_last)
            else torch.contiguous_format
        )
        layout = context.memory_format
        return x[:, 0::2].contiguous(memory_format=layout), x[:, 1::2].contiguous(memory_format=layout)

    @staticmethod
    def backward(context: Any, even: Tensor, odd: Tensor) -> Tensor:
        shape = (even.shape[0], 2 * even.shape[1], *even.shape[2:])
        gradient = torch.empty(
            shape, dtype=even.dtype, device=even.device, memory_format=context.memory_format
        )
        gradient[:, 0::2] = even
        gradient[:, 1::2] = odd
        return gradient


def depthwise(channels: Size, kernel_size: int, stride: int) -> tuple[nn.Module, nn.Module]:
    """Return a depthwise convolution and its normalisation."""
    return (
        ElasticConv2d(
            channels, channels, kernel_size, stride, padding=kernel_size // 2, groups=channels, bias=False
        ),
        ElasticBatchNorm2d(channels, affine=False, standalone_affine=True),
    )


def pointwise(in_channels: Size, out_channels: Size) -> tuple[nn.Module, nn.Module, nn.Module]:
    """Return a 1x1 convolution, its normalisation and a ReLU."""
    return (
        ElasticConv2d(in_channels, out_channels, 1, bias=False),
        ElasticBatchNorm2d(out_channels, affine=False, standalone_affine=True),
        nn.ReLU(inplace=True),
    )


class ShuffleNet(nn.Module):
    """The supernet module: a stem, 20 choice blocks in four stages, and a head.

    Args:
        num_classes: classes that the classifier tells apart.
        input_size: height and width of the input in pixels; decides the strides, see `stage_strides`.
        in_channels: channels of the input.
        width: factor on every number of channels, rounded to multiples of 4; 1 is the paper's network. The stem and
            the stages keep at least 16, 32, 48, 64 and 96 channels.
        channel_scales: factors among which every block chooses the width of its main branch: a factor times half of the
            block's output channels, rounded down as in the released template. None: there is no choice of widths.
        dropout: probability of the dropout before the classifier; the default is that of the released code.

    Attributes:
        hand_made: the network without a search, shuffle_3x3 everywhere as in ShuffleNetV2; None with a choice of
            widths.

    Shapes: (B, in_channels, input_size, input_size) to (B, num_classes).

    Raises:
        ConfigurationError: an input below 4 pixels, or a width out of range.
    """

    def __init__(
        self,
        num_classes: int,
        input_size: int = 224,
        in_channels: int = 3,
        width: float = 1.0,
        channel_scales: Sequence[float] | None = None,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        check_width(width)
        stem_stride, strides = stage_strides(input_size)
        stem, head = scaled(STEM_CHANNELS, width, LEAST_STEM_CHANNELS), scaled(HEAD_CHANNELS, width)
        self.stem = nn.Sequential(
            ElasticConv2d(in_channels, stem, 3, stem_stride, padding=1, bias=False),
            ElasticBatchNorm2d(stem, affine=False, standalone_affine=True),
            nn.ReLU(inplace=True),
        )
        self.hand_made = ",".join(["0"] * sum(STAGE_DEPTHS)) if channel_scales is None else None
        self.stages = nn.ModuleList()
        channels = stem
        for stage, (depth, base, least, stride) in enumerate(
            zip(STAGE_DEPTHS, STAGE_CHANNELS, LEAST_STAGE_CHANNELS, strides, strict=True)
        ):
            out_channels = scaled(base, width, least)
            blocks = nn.ModuleList()
            for block in range(depth):
                middle: Size = out_channels // 2
                if channel_scales is not None:
                    scale = Choice(f"stages.{stage}.{block}.scale", channel_scales)
                    middle = scale * (out_channels // 2) // 1  # the released template's int(...)
                blocks.append(
                    _choice_block(channels, out_channels, middle, stride if block == 0 else 1, block > 0)
                )
                channels = out_channels
            self.stages.append(blocks)
        self.head = nn.Sequential(*pointwise(channels, head), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(head, num_classes, bias=False)
        self.reset_parameters()

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits (B, num_classes) of images (B, in_channels, H, W)."""
        x = self.stem(x)
        for blocks in self.stages:
            for block in blocks:  # type: ignore[attr-defined]
                x = block(x)
        logits: Tensor = self.classifier(self.dropout(self.head(x)))
        return logits

    def reset_parameters(self) -> None:
        """Draw the released code's initial weights, in place.

        Weights are normal with standard deviation 0.01 for the first convolution and the classifier, and 1 / (input
        channels of a group) for other convolutions; normalisation starts at scale 1 and shift 1e-4.
        """
        for name, module in self.named_modules():
            if isinstance(module, nn.Conv2d):
                deviation = 0.01 if name.startswith("stem") else 1.0 / module.weight.shape[1]
                nn.init.normal_(module.weight, 0.0, deviation)
            elif isinstance(module, nn.BatchNorm2d) and module.affine:
                nn.init.ones_(module.weight)
                nn.init.constant_(module.bias, 1e-4)
            elif isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, 0.0, 0.01)


def _choice_block(
    in_channels: int, out_channels: int, middle: Size, stride: int, keeps_shape: bool
) -> ChoiceBlock:
    """Return a block with the paper's four candidates in its order."""
    candidates = {
        "shuffle_3x3": (3, 1),
        "shuffle_5x5": (5, 1),
        "shuffle_7x7": (7, 1),
        "xception": (3, 3),
    }
    return ChoiceBlock(
        {
            name: ShuffleUnit(
                in_channels,
                out_channels,
                middle,
                kernel_size=kernel_size,
                stride=stride,
                num_depthwise=num_depthwise,
                keeps_shape=keeps_shape,
            )
            for name, (kernel_size, num_depthwise) in candidates.items()
        }
    )


def shufflenet(
    num_classes: int, input_size: int = 224, in_channels: int = 3, width: float = 1.0
) -> ShuffleNet:
    """Build SPOS's space of blocks: 20 choice blocks of 4 candidates, 4^20 architectures; see `ShuffleNet`."""
    return ShuffleNet(num_classes, input_size, in_channels, width)


def shufflenet_channels(
    num_classes: int,
    input_size: int = 224,
    in_channels: int = 3,
    width: float = 1.0,
    scales: Sequence[float] = CHANNEL_SCALES,
) -> ShuffleNet:
    """Build SPOS's space of blocks and channels: 4 candidates and 8 widths of the main branch in each of 20 blocks.

    See `ShuffleNet` for the arguments; `scales` is its `channel_scales`.
    """
    return ShuffleNet(num_classes, input_size, in_channels, width, channel_scales=scales)
