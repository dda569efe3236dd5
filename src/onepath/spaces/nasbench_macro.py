"""NAS-Bench-Macro: eight blocks of three candidates; all 6,561 networks were trained on CIFAR-10.

Source: Su et al., "Prioritized Architecture Sampling with Monto-Carlo Tree Search", CVPR 2021 (arXiv 2103.11922),
section 4.1. Differs from it: smaller inputs keep fewer strides, so that the last map is at least 4x4 pixels; `width`
scales every number of channels. Initial weights are those of MobileNetV2.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from onepath.errors import SpaceError, shown
from onepath.nn import ChoiceBlock
from onepath.space import Option
from onepath.spaces.bottleneck import InvertedBottleneck, pooled_head, reset_as_mobilenet
from onepath.spaces.small_inputs import check_width, kept_strides, scaled

STAGE_DEPTHS = (2, 3, 3)
STAGE_CHANNELS = (64, 128, 256)
STEM_CHANNELS = 32
HEAD_CHANNELS = 1280
LEAST_CHANNELS = 8
# How many strides an input allows -> which of the three stages keep theirs.
KEPT_STRIDES: Mapping[int, Sequence[int]] = {3: (0, 1, 2), 2: (1, 2), 1: (1,), 0: ()}
CANDIDATES = ("identity", "k3_e3", "k5_e6")
BLOCKS = tuple((stage, block) for stage, depth in enumerate(STAGE_DEPTHS) for block in range(depth))


class NasBenchMacroNotation:
    """The notation with one digit per block: 0 for identity, 1 for k3_e3, 2 for k5_e6 (kernel size and expansion)."""

    def parse(self, text: str) -> Mapping[str, Option] | None:
        """Return the options (choice name -> option) of a text like "22212220", or None for another form.

        Raises:
            SpaceError: the text has digits above 2, or another number of digits than blocks.
        """
        if not re.fullmatch(r"[0-9]+", text):
            return None
        wrong = re.search("[3-9]", text)
        if wrong or len(text) != len(BLOCKS):
            came = f"{wrong[0]} at position {wrong.start()}" if wrong else f"{len(text)} digits"
            raise SpaceError(
                f"an architecture is {len(BLOCKS)} option indices, here one digit a block: 0 for identity, 1 for "
                f"k3_e3, 2 for k5_e6; got {came} of {shown(text)}; correct it"
            )
        return {_name(*block): CANDIDATES[int(digit)] for block, digit in zip(BLOCKS, text, strict=True)}

    def format(self, options: Mapping[str, Option]) -> str:
        """Return the eight digits of these options (choice name -> option)."""
        return "".join(str(CANDIDATES.index(str(options[_name(*block)]))) for block in BLOCKS)

    def standalone_form(self, options: Mapping[str, Option]) -> Mapping[str, Option]:
        """Return the options with all identities after a stage's first block moved to the end of the stage.

        All blocks after the first keep the shape, so the place of an identity among them does not change the network.
        The benchmark trained one of these equal networks and gives all of them its result.
        """
        form: dict[str, Option] = {}
        for stage, blocks in itertools.groupby(BLOCKS, key=lambda block: block[0]):
            names = [_name(stage, block) for _, block in blocks]
            first, *later = (options[name] for name in names)
            later.sort(key=lambda option: option == "identity")  # stable: the others keep their order
            form.update(zip(names, (first, *later), strict=True))
        return form


class NasBenchMacro(nn.Module):
    """The supernet module: a stem, 8 choice blocks in three stages, and a head.

    Args:
        num_classes: classes that the classifier tells apart.
        input_size: height and width of the input in pixels; from 25 pixels on, each of the three stages halves the map.
        in_channels: channels of the input.
        width: factor on every number of channels, rounded to multiples of 4, at least 8; 1 is the paper's network.

    Attributes:
        notation: the benchmark's own notation, such as `22212220`.
        start: the path for a training that begins with one path, "11111111"; all other candidates with weights can take
            over weights from its candidates.
        hand_made: the network without a search, "11111111": the same bottleneck everywhere, as in MobileNetV2.

    Shapes: (B, in_channels, input_size, input_size) to (B, num_classes).

    Raises:
        ConfigurationError: an input below 4 pixels, or a width out of range.
    """

    def __init__(
        self, num_classes: int = 10, input_size: int = 32, in_channels: int = 3, width: float = 1.0
    ) -> None:
        super().__init__()
        check_width(width)
        self.notation = NasBenchMacroNotation()
        self.start = self.hand_made = "1" * len(BLOCKS)
        channels = scaled(STEM_CHANNELS, width, LEAST_CHANNELS)
        self.stem = nn.Sequential(
            nn.Conv2d(in_channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
        )
        self.stages = nn.ModuleList()
        strides = kept_strides(input_size, KEPT_STRIDES)
        for depth, base, stride in zip(STAGE_DEPTHS, STAGE_CHANNELS, strides, strict=True):
            out_channels = scaled(base, width, LEAST_CHANNELS)
            blocks = nn.ModuleList([_choice_block(channels, out_channels, stride)])
            blocks.extend(_choice_block(out_channels, out_channels, 1) for _ in range(depth - 1))
            self.stages.append(blocks)
            channels = out_channels
        head = scaled(HEAD_CHANNELS, width)
        self.head = pooled_head(channels, head, nn.ReLU)
        self.classifier = nn.Linear(head, num_classes)
        self.reset_parameters()

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits (B, num_classes) of images (B, in_channels, H, W)."""
        x = self.stem(x)
        for blocks in self.stages:
            for block in blocks:  # type: ignore[attr-defined]
                x = block(x)
        logits: Tensor = self.classifier(self.head(x))
        return logits

    def reset_parameters(self) -> None:
        """Draw the initial weights of MobileNetV2, see `reset_as_mobilenet`; in place."""
        reset_as_mobilenet(self)


def _name(stage: int, block: int) -> str:
    return f"stages.{stage}.{block}"


def _choice_block(in_channels: int, out_channels: int, stride: int) -> ChoiceBlock:
    """Return a block of three candidates; if the shape changes, its identity is a normalised 1x1 convolution."""
    keeps_shape = stride == 1 and in_channels == out_channels
    identity = (
        nn.Identity()
        if keeps_shape
        else nn.Sequential(
            nn.Conv2d(in_channels, out_channels, 1, stride, bias=False), nn.BatchNorm2d(out_channels)
        )
    )
    bottlenecks = (
        InvertedBottleneck(
            in_channels,
            out_channels,
            kernel_size=kernel_size,
            expansion=expansion,
            stride=stride,
            activation=nn.ReLU,
        )
        for kernel_size, expansion in ((3, 3), (5, 6))
    )
    return ChoiceBlock(dict(zip(CANDIDATES, (identity, *bottlenecks), strict=True)))
