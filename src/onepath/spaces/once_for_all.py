"""Once-for-All's spaces of inverted bottlenecks: elastic kernels, expansions and depths on shared weights.

Source: Cai et al., "Once-for-All: Train One Network and Specialize it for Efficient Deployment", ICLR 2020 (arXiv
1908.09791), section 3.2, and the released code. Kernels of 3, 5 and 7, expansions of 3, 4 and 6, two to four blocks per
stage. Differs from it: smaller inputs keep fewer strides, so that the last map is at least 4x4 pixels; the resolution
is a choice only if `resolutions` are given.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from onepath.nn import ElasticBatchNorm2d, ElasticConv2d, ElasticDepth
from onepath.nn.kernel_transform import TransformedConv2d
from onepath.nn.resolution import ElasticResolution
from onepath.space import Choice, Size, round_to
from onepath.spaces.bottleneck import reset_as_mobilenet
from onepath.spaces.small_inputs import check_width, stage_strides

KERNELS, EXPANSIONS, DEPTHS = (3, 5, 7), (3, 4, 6), (2, 3, 4)
DIVISOR = 8
STRIDED_STAGES = (0, 1, 2, 4)


@dataclass(frozen=True)
class Family:
    """What Once-for-All's two spaces of bottlenecks differ in.

    Attributes:
        stem: output channels of the first convolution.
        first: output channels of the separable convolution after it.
        stages: output channels of the elastic stages.
        last: output channels of the layers after the last stage, in order. Of several layers, the last follows the
            pooling.
        activations: class of the activation in the stem and the first layers, then in each stage.
        squeezes: for each stage, whether its blocks have squeeze-and-excitation.
        single: whether the last stage always has one block.
    """

    stem: int
    first: int
    stages: tuple[int, ...]
    last: tuple[int, ...]
    activations: tuple[type[nn.Module], ...]
    squeezes: tuple[bool, ...]
    single: bool


MOBILENET_V3 = Family(
    16,
    16,
    (24, 40, 80, 112, 160),
    (960, 1280),
    (nn.Hardswish, nn.ReLU, nn.ReLU, nn.Hardswish, nn.Hardswish, nn.Hardswish),
    (False, True, False, True, True),
    single=False,
)
PROXYLESS = Family(32, 16, (24, 40, 80, 96, 192, 320), (1280,), (nn.ReLU6,) * 7, (False,) * 6, single=True)


class OfaBottleneck(nn.Module):
    """An inverted bottleneck with an elastic middle and an elastic depthwise kernel.

    Args:
        in_channels: number of input channels.
        out_channels: number of output channels.
        name: prefix of the names of its choices, `name.kernel` and `name.expand`.
        stride: stride of the depthwise convolution.
        activation: class of the two activations; the projection has none.
        squeezes: whether squeeze-and-excitation follows the depthwise convolution.

    Shapes: (B, in_channels, H, W) to (B, out_channels, H / stride, W / stride).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        name: str,
        stride: int,
        activation: type[nn.Module],
        squeezes: bool,
    ) -> None:
        super().__init__()
        kernel = Choice(f"{name}.kernel", KERNELS, role="size")
        expand = Choice(f"{name}.expand", EXPANSIONS, role="size")
        middle: Any = round_to(in_channels * expand, DIVISOR)
        self.is_residual = stride == 1 and in_channels == out_channels
        self.expand = nn.Sequential(
            ElasticConv2d(in_channels, middle, 1, bias=False), ElasticBatchNorm2d(middle), activation()
        )
        self.depthwise = nn.Sequential(
            TransformedConv2d(middle, middle, kernel, stride, padding=3, groups=middle, bias=False),
            ElasticBatchNorm2d(middle),
            activation(),
        )
        self.excite = OfaExcitation(middle) if squeezes else nn.Identity()
        self.project = nn.Sequential(
            ElasticConv2d(middle, out_channels, 1, bias=False), ElasticBatchNorm2d(out_channels)
        )
        self.expansion = expand
        self.in_channels = in_channels

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output; the input is added if it has the same shape."""
        y: Tensor = self.project(self.excite(self.depthwise(self.expand(x))))
        return x + y if self.is_residual else y

    @torch.no_grad()
    def sort_middle(self, opened: Sequence[int] = ()) -> None:
        """Sort the middle channels, in place, by their absolute weights in the projection, the largest first.

        The largest architecture of the block still computes the same function.

        Args:
            opened: expansions that are already trained. The channels of each of them stay before the channels that only
                larger expansions use.
        """
        layers: Any = self
        kept = [int(round_to(self.in_channels * expansion, DIVISOR)) for expansion in opened]
        order = order_of(layers.project[0].weight.abs().sum((0, 2, 3)), kept)
        rows: list[Tensor] = [layers.expand[0].weight, layers.depthwise[0].weight]
        for norm in (layers.expand[1], layers.depthwise[1]):
            rows += [norm.weight, norm.bias, norm.running_mean, norm.running_var]
        columns: list[Tensor] = [layers.project[0].weight]
        if isinstance(self.excite, OfaExcitation):
            rows += [layers.excite.expand.weight, layers.excite.expand.bias]
            columns.append(layers.excite.reduce.weight)
            self.excite.sort_middle()
        for tensor in rows:
            tensor.copy_(tensor[order])
        for tensor in columns:
            tensor.copy_(tensor[:, order])


def order_of(importance: Tensor, kept: Sequence[int]) -> Tensor:
    """Return channels from the most important to the least, (N,).

    Args:
        importance: importance of each channel, (N,); changed in place if `kept` holds any number.
        kept: numbers of leading channels; the first `num` channels stay before all others, for each `num`.
    """
    for num in kept:
        importance[num:] -= importance.max() - importance.min() + 1
    return importance.argsort(descending=True, stable=True)


class OfaExcitation(nn.Module):
    """Squeeze-and-excitation of an elastic number of channels, with a quarter of them in its middle.

    Args:
        channels: number of input channels.

    Shapes: (B, channels, H, W) to (B, channels, H, W).

    Source: Hu et al., "Squeeze-and-Excitation Networks" (arXiv 1709.01507); the hard sigmoid of MobileNetV3.
    """

    def __init__(self, channels: Size) -> None:
        super().__init__()
        squeezed: Any = round_to(channels // 4, DIVISOR)
        self.reduce = ElasticConv2d(channels, squeezed, 1)
        self.activation = nn.ReLU()
        self.expand = ElasticConv2d(squeezed, channels, 1)
        self.gate = nn.Hardsigmoid()

    def forward(self, x: Tensor) -> Tensor:
        """Return x (B, channels, H, W) with each channel multiplied by its gate."""
        means = x.mean((2, 3), keepdim=True)
        gates: Tensor = self.gate(self.expand(self.activation(self.reduce(means))))
        return x * gates

    @torch.no_grad()
    def sort_middle(self) -> None:
        """Sort the squeezed channels, in place, by their absolute weights in the expansion, the largest first."""
        order = self.expand.weight.abs().sum((0, 2, 3)).argsort(descending=True, stable=True)
        for tensor in (self.reduce.weight, self.reduce.bias):
            if tensor is not None:
                tensor.copy_(tensor[order])
        self.expand.weight.copy_(self.expand.weight[:, order])


class OnceForAll(nn.Module):
    """The supernet module of a Once-for-All space: a stem, a separable convolution, elastic stages and a head.

    Args:
        family: the layers of the space.
        num_classes: number of outputs of the classifier.
        input_size: height and width of the input in pixels; they decide the strides, see `stage_strides`.
        in_channels: number of input channels.
        width: factor on every number of channels; the products are rounded to multiples of 8.
        resolutions: sides in pixels to which images are resized, as a choice; if empty, images are not resized.
        dropout: probability of the dropout before the classifier.

    Shapes: (B, in_channels, input_size, input_size) to (B, num_classes).

    Raises:
        ConfigurationError: the input is smaller than 4 pixels, or the width is out of range.
    """

    def __init__(
        self,
        family: Family,
        num_classes: int,
        input_size: int = 224,
        in_channels: int = 3,
        width: float = 1.0,
        resolutions: Sequence[int] = (),
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        check_width(width)
        stem_stride, kept = stage_strides(input_size)
        strides = dict(zip(STRIDED_STAGES, kept, strict=True))
        stem, first = _scaled(family.stem, width), _scaled(family.first, width)
        act = family.activations[0]
        early = family.activations[1] if family is MOBILENET_V3 else act
        self.resolution = resized(resolutions)
        self.stem = nn.Sequential(
            nn.Conv2d(in_channels, stem, 3, stem_stride, 1, bias=False), nn.BatchNorm2d(stem), act()
        )
        self.first = _Separable(stem, first, early)
        self.stages = nn.ModuleList()
        channels = first
        for stage, (base, squeezes) in enumerate(zip(family.stages, family.squeezes, strict=True)):
            out_channels = _scaled(base, width)
            is_single = family.single and stage == len(family.stages) - 1
            blocks = []
            for block in range(1 if is_single else max(DEPTHS)):
                stride = strides.get(stage, 1) if block == 0 else 1
                name = f"stages.{stage}.{block}"
                activation = family.activations[stage + 1]
                blocks.append(OfaBottleneck(channels, out_channels, name, stride, activation, squeezes))
                channels = out_channels
            depth = 1 if is_single else Choice(f"stages.{stage}.depth", DEPTHS, role="depth")
            self.stages.append(ElasticDepth(blocks, depth))
        self.head, self.mix = nn.Sequential(), nn.Sequential()
        for place, base in enumerate(family.last):
            last = _scaled(base, width)
            is_pooled = len(family.last) > 1 and place == len(family.last) - 1
            layers: list[nn.Module] = [nn.Conv2d(channels, last, 1, bias=False)]
            layers += [] if is_pooled else [nn.BatchNorm2d(last)]
            (self.mix if is_pooled else self.head).extend([*layers, act()])
            channels = last
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(channels, num_classes)
        self.reset_parameters()

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits (B, num_classes) of images (B, in_channels, H, W)."""
        x = self.first(self.stem(self.resolution(x)))
        for stage in self.stages:
            x = stage(x)
        x = self.mix(self.pool(self.head(x))).flatten(1)
        logits: Tensor = self.classifier(self.dropout(x))
        return logits

    def reset_parameters(self) -> None:
        """Draw the initial weights of MobileNetV2, see `reset_as_mobilenet`; residual blocks start as identities.

        The scale of their last normalisation is 0.

        Source of the zeros: Goyal et al., "Accurate, Large Minibatch SGD" (arXiv 1706.02677), section 5.1.
        """
        reset_as_mobilenet(self)
        for module in self.modules():
            if isinstance(module, OfaBottleneck) and module.is_residual:
                nn.init.zeros_(cast(nn.BatchNorm2d, module.project[1]).weight)
            if isinstance(module, TransformedConv2d):
                for matrix in module.transforms.values():
                    nn.init.eye_(matrix)

    def sort_channels(self, opened: Mapping[str, Sequence[Any]]) -> None:
        """Sort the middle channels of every block by importance, in place.

        Args:
            opened: name of a choice -> its options that are already trained; see `OfaBottleneck.sort_middle`.
        """
        for module in self.modules():
            if isinstance(module, OfaBottleneck):
                module.sort_middle(opened.get(module.expansion.name, ()))


class _Separable(nn.Module):
    """A depthwise convolution and a projection; the input is added if it has the same shape."""

    def __init__(self, in_channels: int, out_channels: int, activation: type[nn.Module]) -> None:
        super().__init__()
        self.is_residual = in_channels == out_channels
        self.layers = nn.Sequential(
            nn.Conv2d(in_channels, in_channels, 3, 1, 1, groups=in_channels, bias=False),
            nn.BatchNorm2d(in_channels),
            activation(),
            nn.Conv2d(in_channels, out_channels, 1, bias=False),
            nn.BatchNorm2d(out_channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layers(x)
        return x + y if self.is_residual else y


def resized(resolutions: Sequence[int]) -> nn.Module:
    """Return a layer that resizes images to one of these sides, as a choice; an identity if there are none.

    Args:
        resolutions: sides in pixels.
    """
    if not resolutions:
        return nn.Identity()
    return ElasticResolution(Choice("resolution", sorted(resolutions), role="resolution"))


def _scaled(channels: int, width: float) -> int:
    return int(round_to(channels * width, DIVISOR))


def ofa_mobilenetv3(
    num_classes: int,
    input_size: int = 224,
    in_channels: int = 3,
    width: float = 1.0,
    resolutions: Sequence[int] = (),
) -> OnceForAll:
    """Return Once-for-All's space of MobileNetV3: five stages of 2 to 4 blocks; the paper also has it at width 1.2.

    See `OnceForAll` for the arguments.
    """
    return OnceForAll(MOBILENET_V3, num_classes, input_size, in_channels, width, resolutions)


def ofa_proxyless(
    num_classes: int,
    input_size: int = 224,
    in_channels: int = 3,
    width: float = 1.3,
    resolutions: Sequence[int] = (),
) -> OnceForAll:
    """Return Once-for-All's space of ProxylessNAS's layers, by default at the width 1.3 of its release.

    See `OnceForAll` for the arguments.
    """
    return OnceForAll(PROXYLESS, num_classes, input_size, in_channels, width, resolutions)
