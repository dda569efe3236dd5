"""The inverted bottleneck of MobileNetV2, which is the candidate block of several search spaces."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from onepath.nn.alignment import copy_centre, copy_matching


class InvertedBottleneck(nn.Module):
    """1x1 expansion, depthwise convolution and 1x1 projection; the input is added if the block keeps its shape.

    Args:
        in_channels, out_channels: channels of the input and of the output.
        kernel_size: height and width of the depthwise kernel; odd.
        expansion: channels in the middle, as a multiple of `in_channels`.
        stride: stride of the depthwise convolution.
        activation: class of the activations after the first two convolutions; the projection has none.
        squeeze_channels: inner channels of the squeeze-and-excitation after the depthwise convolution; 0 for none.

    Shapes: (B, in_channels, H, W) to (B, out_channels, H / stride, W / stride).

    Source: Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks", CVPR 2018 (arXiv 1801.04381).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        kernel_size: int,
        expansion: int,
        stride: int,
        activation: type[nn.ReLU | nn.ReLU6] = nn.ReLU6,
        squeeze_channels: int = 0,
    ) -> None:
        super().__init__()
        middle = in_channels * expansion
        self.is_residual = stride == 1 and in_channels == out_channels
        self.expand = nn.Sequential(
            nn.Conv2d(in_channels, middle, 1, bias=False), nn.BatchNorm2d(middle), activation(inplace=True)
        )
        self.depthwise = nn.Sequential(
            nn.Conv2d(middle, middle, kernel_size, stride, kernel_size // 2, groups=middle, bias=False),
            nn.BatchNorm2d(middle),
            activation(inplace=True),
        )
        self.excite = SqueezeExcitation(middle, squeeze_channels) if squeeze_channels else None
        self.project = nn.Sequential(
            nn.Conv2d(middle, out_channels, 1, bias=False), nn.BatchNorm2d(out_channels)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the projected features, plus the input if the block keeps its shape."""
        y: Tensor = self.depthwise(self.expand(x))
        if self.excite is not None:
            y = self.excite(y)
        y = self.project(y)
        return x + y if self.is_residual else y

    def inherit_from(self, other: nn.Module) -> None:
        """Take over weights so that this bottleneck computes exactly or nearly what `other` computes; in place.

        If the kernels differ in size, their centres are aligned. If this bottleneck has more middle channels, the first
        ones take the weights of `other`. The rest keep their own weights, but their columns of the projection become 0,
        so the block computes the same and these channels learn from their own weights. If this bottleneck has fewer
        middle channels, it takes those channels of `other` that weigh most in its projection (sum of absolute weights).

        Args:
            other: another candidate of the same block; not changed. If it is no `InvertedBottleneck`, nothing is taken.
        """
        if not isinstance(other, InvertedBottleneck):
            return
        projection, source = _layers(self.project)[0], _layers(other.project)[0]
        if projection.in_channels == source.in_channels:
            copy_matching(self, other)
            return
        with torch.no_grad():
            weights = source.weight.abs().sum(dim=(0, 2, 3))
            num = min(projection.in_channels, source.in_channels)
            self._take_channels(other, weights.topk(num).indices.sort().values)

    def _take_channels(self, other: InvertedBottleneck, kept: Tensor) -> None:
        """Copy the middle channels `kept` of `other` into the leading ones, and cut the rest off the projection."""
        num = len(kept)
        expand, expand_norm = _layers(self.expand)
        depthwise, depthwise_norm = _layers(self.depthwise)
        from_expand, from_expand_norm = _layers(other.expand)
        from_depthwise, from_depthwise_norm = _layers(other.depthwise)
        expand.weight[:num] = from_expand.weight[kept]
        copy_centre(depthwise.weight[:num], from_depthwise.weight[kept])
        for norm, source in ((expand_norm, from_expand_norm), (depthwise_norm, from_depthwise_norm)):
            for name in ("weight", "bias", "running_mean", "running_var"):
                getattr(norm, name)[:num] = getattr(source, name)[kept]
        columns = [(_layers(self.project)[0], _layers(other.project)[0])]
        if self.excite is not None and other.excite is not None:
            copy_matching(self.excite, other.excite)
            columns.append((self.excite.reduce, other.excite.reduce))
            for ours, theirs in zip(
                self.excite.expand.parameters(), other.excite.expand.parameters(), strict=True
            ):
                ours[:num] = theirs[kept]
        for convolution, wide in columns:
            convolution.weight.zero_()
            convolution.weight[:, :num] = wide.weight[:, kept]
        copy_matching(self.project[1], other.project[1])


def _layers(part: nn.Sequential) -> tuple[nn.Conv2d, nn.BatchNorm2d]:
    """Return the convolution and the normalisation of one part of a bottleneck."""
    return cast(nn.Conv2d, part[0]), cast(nn.BatchNorm2d, part[1])


class SqueezeExcitation(nn.Module):
    """Multiply each channel by a number between 0 and 1 that is computed from the means of all channels.

    Args:
        channels: channels of the input.
        squeeze_channels: channels of the hidden layer between the means and the numbers.

    Shapes: (B, channels, H, W) to the same.

    Source: Hu et al., "Squeeze-and-Excitation Networks", CVPR 2018 (arXiv 1709.01507).
    """

    def __init__(self, channels: int, squeeze_channels: int) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.reduce = nn.Conv2d(channels, squeeze_channels, 1)
        self.activation = nn.ReLU(inplace=True)
        self.expand = nn.Conv2d(squeeze_channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Scale the channels of (B, channels, H, W)."""
        scale: Tensor = self.expand(self.activation(self.reduce(self.pool(x)))).sigmoid()
        return x * scale


def separable_stem(in_channels: int, channels: int, out_channels: int, stride: int) -> nn.Sequential:
    """Return a 3x3 convolution to `channels`, a depthwise 3x3 convolution and a projection to `out_channels`.

    Args:
        in_channels: channels of the input images.
        channels: channels after the first convolution.
        out_channels: channels of the output.
        stride: stride of the first convolution.
    """
    return nn.Sequential(
        nn.Conv2d(in_channels, channels, 3, stride, padding=1, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU6(inplace=True),
        nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU6(inplace=True),
        nn.Conv2d(channels, out_channels, 1, bias=False),
        nn.BatchNorm2d(out_channels),
    )


def pooled_head(
    in_channels: int, channels: int, activation: type[nn.ReLU | nn.ReLU6] = nn.ReLU6
) -> nn.Sequential:
    """Return a 1x1 convolution and the mean over its map: (B, in_channels, H, W) to (B, channels)."""
    return nn.Sequential(
        nn.Conv2d(in_channels, channels, 1, bias=False),
        nn.BatchNorm2d(channels),
        activation(inplace=True),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )


def reset_as_mobilenet(module: nn.Module) -> None:
    """Draw the initial weights of MobileNetV2's released networks, in place.

    Weights of convolutions are normal with variance 2 / (output channels * kernel area), weights of linear layers
    normal with standard deviation 0.01, and biases 0; normalisation starts at scale 1 and shift 0.
    """
    for child in module.modules():
        if isinstance(child, nn.Conv2d):
            nn.init.kaiming_normal_(child.weight, mode="fan_out")
        elif isinstance(child, nn.BatchNorm2d) and child.affine:
            nn.init.ones_(child.weight)
        elif isinstance(child, nn.Linear):
            nn.init.normal_(child.weight, 0.0, 0.01)
        bias = getattr(child, "bias", None)
        if isinstance(bias, nn.Parameter):
            nn.init.zeros_(bias)
