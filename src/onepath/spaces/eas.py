"""A space of plain convolutional networks that grow: a width and a depth for each of three stages.

Source: Cai et al., "Efficient Architecture Search by Network Transformation", AAAI 2018 (arXiv 1707.04873), whose first
space has plain chains of convolutions with pooling between them. Differs from it: the layers of a stage have one width,
kernels are 3x3, and no linear layer comes before the classifier, so that six choices describe a network.
"""

from __future__ import annotations

from torch import Tensor, nn

from onepath.nn import ElasticBatchNorm2d, ElasticConv2d, ElasticDepth, ElasticLinear
from onepath.space import Choice, Size
from onepath.spaces.small_inputs import check_width, kept_strides

WIDTHS = (8, 12, 16, 24, 32, 48, 64, 96, 128)
NUM_STAGES, MOST_LAYERS = 3, 6
KEPT_STRIDES = {2: (0, 1), 1: (1,), 0: ()}


class Eas(nn.Module):
    """The supernet module: three stages of convolutions with pooling between them, and a classifier.

    Inputs too small for both poolings keep one or none of them.

    Args:
        num_classes: classes that the classifier tells apart.
        input_size: height and width of the input in pixels, 4 or more.
        in_channels: channels of the input.
        width: factor on the widths of the stages.

    Shapes: (B, in_channels, input_size, input_size) to (B, num_classes).

    Raises:
        ConfigurationError: the input is below 4 pixels, or the width out of range.
    """

    def __init__(
        self, num_classes: int = 10, input_size: int = 32, in_channels: int = 3, width: float = 1.0
    ) -> None:
        super().__init__()
        check_width(width)
        strides = kept_strides(input_size, KEPT_STRIDES)
        widths = sorted({max(2, round(width * channels)) for channels in WIDTHS})
        stages: list[nn.Module] = []
        before: Size = in_channels
        for number in range(NUM_STAGES):
            own = Choice(f"stages.{number}.width", widths)
            layers = [_layer(own if place else before, own) for place in range(MOST_LAYERS)]
            depth = Choice(f"stages.{number}.depth", range(1, MOST_LAYERS + 1))
            stages.append(ElasticDepth(layers, depth))
            if number < len(strides) and strides[number] == 2:
                stages.append(nn.MaxPool2d(2))
            before = own
        self.stages = nn.Sequential(*stages)
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.classifier = ElasticLinear(before, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits (B, num_classes) of images (B, in_channels, H, W)."""
        logits: Tensor = self.classifier(self.pool(self.stages(x)))
        return logits


def _layer(before: Size, own: Choice) -> nn.Sequential:
    convolution = ElasticConv2d(before, own, 3, padding=1, bias=False)
    return nn.Sequential(convolution, ElasticBatchNorm2d(own), nn.ReLU())
