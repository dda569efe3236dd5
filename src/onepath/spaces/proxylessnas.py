"""ProxylessNAS's search space: 21 blocks of inverted bottlenecks, some of which may be left out.

Source: Cai, Zhu and Han, "ProxylessNAS: Direct Neural Architecture Search on Target Task and Hardware", ICLR 2019
(arXiv 1812.00332), section 4.2: stages of 4, 4, 4, 4, 4 and 1 blocks with 24, 40, 80, 96, 192 and 320 channels, after a
stem of 32 channels and a separable convolution to 16. The bottlenecks have three kernel sizes and two expansions. A
block that keeps the shape can also be left out: it then passes its input on. Differs from it: smaller inputs keep fewer
strides, so that the last map is at least 4x4 pixels; `width` scales every number of channels.
"""

from __future__ import annotations

from torch import Tensor, nn

from onepath.nn import ChoiceBlock
from onepath.spaces.bottleneck import InvertedBottleneck, pooled_head, reset_as_mobilenet, separable_stem
from onepath.spaces.small_inputs import check_width, scaled, stage_strides

STAGE_DEPTHS = (4, 4, 4, 4, 4, 1)
STAGE_CHANNELS = (24, 40, 80, 96, 192, 320)
STRIDED_STAGES = (0, 1, 2, 4)
STEM_CHANNELS = 32
FIRST_CHANNELS = 16
HEAD_CHANNELS = 1280
LEAST_CHANNELS = 8
CANDIDATES = {f"k{kernel}_e{expansion}": (kernel, expansion) for expansion in (3, 6) for kernel in (3, 5, 7)}
"""Name of a candidate -> its kernel size and expansion."""
ZERO = "zero"


class ProxylessNas(nn.Module):
    """The supernet module: a stem, a separable convolution, 21 choice blocks in six stages, and a head.

    Args:
        num_classes: classes that the classifier tells apart.
        input_size: height and width of the input in pixels; decides the strides, see `stage_strides`.
        in_channels: channels of the input.
        width: factor on every number of channels, rounded to multiples of 4, at least 8; 1 is the paper's network.
        dropout: probability of the dropout before the classifier.

    Attributes:
        hand_made: the network without a search, k3_e6 everywhere, as in MobileNetV2.

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
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        check_width(width)
        stem_stride, kept = stage_strides(input_size)
        strides = dict(zip(STRIDED_STAGES, kept, strict=True))
        stem, channels = (scaled(base, width, LEAST_CHANNELS) for base in (STEM_CHANNELS, FIRST_CHANNELS))
        self.stem = separable_stem(in_channels, stem, channels, stem_stride)
        self.hand_made = ",".join(["3"] * sum(STAGE_DEPTHS))
        self.stages = nn.ModuleList()
        for stage, (depth, base) in enumerate(zip(STAGE_DEPTHS, STAGE_CHANNELS, strict=True)):
            out_channels = scaled(base, width, LEAST_CHANNELS)
            blocks = nn.Sequential()
            for block in range(depth):
                stride = strides.get(stage, 1) if block == 0 else 1
                blocks.append(_choice_block(channels, out_channels, stride, can_be_left_out=block > 0))
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
            x = blocks(x)
        logits: Tensor = self.classifier(self.dropout(self.head(x)))
        return logits

    def reset_parameters(self) -> None:
        """Draw the initial weights of MobileNetV2, see `reset_as_mobilenet`; in place."""
        reset_as_mobilenet(self)


def _choice_block(in_channels: int, out_channels: int, stride: int, *, can_be_left_out: bool) -> ChoiceBlock:
    """Return a block of the six bottlenecks and, if it can be left out, the zero operation (an identity here)."""
    candidates: dict[str, nn.Module] = {
        name: InvertedBottleneck(
            in_channels, out_channels, kernel_size=kernel_size, expansion=expansion, stride=stride
        )
        for name, (kernel_size, expansion) in CANDIDATES.items()
    }
    if can_be_left_out:
        candidates[ZERO] = nn.Identity()  # the bottlenecks add their input themselves
    return ChoiceBlock(candidates)


def proxylessnas(
    num_classes: int, input_size: int = 224, in_channels: int = 3, width: float = 1.0
) -> ProxylessNas:
    """Build ProxylessNAS's space: 6 blocks of 6 candidates and 15 blocks of 7, 6^6 * 7^15 architectures.

    See `ProxylessNas` for the arguments.
    """
    return ProxylessNas(num_classes, input_size, in_channels, width)
