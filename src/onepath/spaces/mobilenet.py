"""FairNAS's search space: 19 blocks of inverted bottlenecks with three kernel sizes and two expansions.

Source: Chu et al., "FairNAS: Rethinking Evaluation Fairness of Weight Sharing Neural Architecture Search", ICCV 2021
(arXiv 1907.01845), and the released networks. Differs from it: smaller inputs keep fewer strides, so that the last
stage sees at least 4x4 pixels; `width` scales every number of channels, but the stem and the stages keep at least
16, 16, 24, 32, 32, 48 and 64 channels. Initial weights, which the paper does not state, are those of MobileNetV2.
"""

from __future__ import annotations

from torch import Tensor, nn

from onepath.errors import ConfigurationError
from onepath.nn import ChoiceBlock
from onepath.spaces.bottleneck import InvertedBottleneck, pooled_head, reset_as_mobilenet, separable_stem
from onepath.spaces.small_inputs import check_width, scaled, stage_strides

STAGE_DEPTHS = (2, 4, 4, 4, 4, 1)
STAGE_CHANNELS = (32, 40, 80, 96, 192, 320)
STRIDED_STAGES = (0, 1, 2, 4)
STEM_CHANNELS = 32
FIRST_CHANNELS = 16
HEAD_CHANNELS = 1280
# Narrower first layers cannot carry an image to the later ones, and hardly cost less.
LEAST_FIRST_CHANNELS = 16
LEAST_STAGE_CHANNELS = (16, 24, 32, 32, 48, 64)
CANDIDATES = {f"k{kernel}_e{expansion}": (kernel, expansion) for expansion in (3, 6) for kernel in (3, 5, 7)}
"""Name -> kernel size and expansion, in the paper's order."""


class MobileNet(nn.Module):
    """The supernet module: a stem, a separable convolution, 19 choice blocks in six stages, a head.

    Args:
        num_classes: classes that the classifier tells apart.
        input_size: height and width of the input in pixels; decides the strides, see `stage_strides`.
        in_channels: channels of the input.
        width: factor on every number of channels, rounded to multiples of 4; 1 is the paper's network.
        squeeze_ratio: inner channels of the squeeze-and-excitation in every candidate, as a multiple of the block's
            input channels; the released networks have 1 and 0.5. None: the candidates have no squeeze-and-excitation.
        dropout: probability of the dropout before the classifier; the default is that of the released networks.

    Attributes:
        hand_made: the network without a search, k3_e6 everywhere, as in MobileNetV2.

    Shapes: (B, in_channels, input_size, input_size) to (B, num_classes).

    Raises:
        ConfigurationError: an input below 4 pixels, a width or a ratio out of range.
    """

    def __init__(
        self,
        num_classes: int,
        input_size: int = 224,
        in_channels: int = 3,
        width: float = 1.0,
        squeeze_ratio: float | None = None,
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        check_width(width)
        if squeeze_ratio is not None and not 0 < squeeze_ratio <= 6:
            raise ConfigurationError(
                f"0 < squeeze_ratio <= 6 must hold, but got squeeze_ratio={squeeze_ratio}; the paper's are 1 and 0.5"
            )
        stem_stride, kept = stage_strides(input_size)
        strides = dict(zip(STRIDED_STAGES, kept, strict=True))
        stem, channels = (
            scaled(base, width, LEAST_FIRST_CHANNELS) for base in (STEM_CHANNELS, FIRST_CHANNELS)
        )
        self.stem = separable_stem(in_channels, stem, channels, stem_stride)
        self.hand_made = ",".join(["3"] * sum(STAGE_DEPTHS))
        self.stages = nn.ModuleList()
        for stage, (depth, base, least) in enumerate(
            zip(STAGE_DEPTHS, STAGE_CHANNELS, LEAST_STAGE_CHANNELS, strict=True)
        ):
            out_channels = scaled(base, width, least)
            blocks = nn.ModuleList()
            for block in range(depth):
                stride = strides.get(stage, 1) if block == 0 else 1
                blocks.append(_choice_block(channels, out_channels, stride, squeeze_ratio))
                channels = out_channels
            self.stages.append(blocks)
        head = scaled(HEAD_CHANNELS, width)
        self.head = pooled_head(channels, head)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(head, num_classes)
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
        """Draw the initial weights of MobileNetV2, see `reset_as_mobilenet`; in place."""
        reset_as_mobilenet(self)


def _choice_block(
    in_channels: int, out_channels: int, stride: int, squeeze_ratio: float | None
) -> ChoiceBlock:
    """Return a block with the paper's six candidates in its order."""
    squeeze_channels = 0 if squeeze_ratio is None else max(1, int(in_channels * squeeze_ratio))
    return ChoiceBlock(
        {
            name: InvertedBottleneck(
                in_channels,
                out_channels,
                kernel_size=kernel_size,
                expansion=expansion,
                stride=stride,
                squeeze_channels=squeeze_channels,
            )
            for name, (kernel_size, expansion) in CANDIDATES.items()
        }
    )


def mobilenet(
    num_classes: int,
    input_size: int = 224,
    in_channels: int = 3,
    width: float = 1.0,
    squeeze_ratio: float | None = None,
) -> MobileNet:
    """Build FairNAS's space: 19 choice blocks of 6 inverted bottlenecks, 6^19 architectures; see `MobileNet`."""
    return MobileNet(num_classes, input_size, in_channels, width, squeeze_ratio)
