"""The space of Zen-NAS: four stages of plain or residual convolution blocks.

Source: Lin et al., "Zen-NAS: A Zero-Shot NAS for High-Performance Image Recognition", ICCV 2021 (arXiv 2102.01063), and
its released code. Differs from it: four stages, each with blocks of one kind, in place of a list of blocks that changes
its length; widths take eleven steps from 16 to 512; smaller inputs keep fewer strides. The initial weights of the
network that a search finds are those of MobileNetV2.

The networks share no weights: each network is scored with weights of its own, and nothing is inherited.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from onepath.counting import CostTable, CostTerm
from onepath.errors import BindingError
from onepath.nn import ChoiceBlock, ElasticBatchNorm2d, ElasticConv2d, ElasticLinear
from onepath.nn.copying import unfilled_copy
from onepath.nn.selection import Selection
from onepath.space import Choice, Option
from onepath.spaces.bottleneck import reset_as_mobilenet
from onepath.spaces.small_inputs import check_width, kept_strides
from onepath.spaces.zen_blocks import (
    DIVISOR,
    KINDS,
    BlockLayers,
    ConvolutionBlock,
    Kind,
    Layer,
    block_cost,
    block_layers,
    layer_cost,
    strided,
)

WIDTHS = (16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)
STEM_WIDTHS = WIDTHS[:5]
HEAD_WIDTHS = (64, 128, 256, 512, 1024)
KERNELS = (3, 5, 7)
RATIOS = (0.25, 0.5, 1.0)
DEPTHS = (1, 2, 3, 4, 5, 6)
NUM_STAGES = 4
# How many strides an input allows -> which positions of (stem, four stages) keep theirs: the last ones, so that with
# inputs of 32 pixels the first stage works on 32x32 pixels and the last stage on 4x4.
KEPT_STRIDES: Mapping[int, Sequence[int]] = {num: tuple(range(5 - num, 5)) for num in range(6)}


class ZenNas(nn.Module):
    """The module of the space: a stem, four stages that each repeat one block, a 1x1 convolution and a classifier.

    Its choices are `stem.width` and `head.width`, and for each stage `type` (plain, basic, bottleneck), `kernel`,
    `width`, `depth` and, for the residual types basic and bottleneck, `ratio`. The module itself does not run: extract
    an architecture to get a network.

    Args:
        num_classes: classes that the classifier tells apart.
        input_size: height and width of the input in pixels; decides the strides.
        in_channels: channels of the input.
        width: factor on every number of channels, rounded to multiples of 8; options that become equal are merged.

    Attributes:
        shares_weights: False, which tells the supernet that the networks share no weights.

    Shapes: extracted networks take (B, in_channels, input_size, input_size) to (B, num_classes).

    Raises:
        ConfigurationError: an input below 4 pixels, or a width out of range.
    """

    shares_weights = False

    def __init__(
        self, num_classes: int = 10, input_size: int = 32, in_channels: int = 3, width: float = 1.0
    ) -> None:
        super().__init__()
        check_width(width)
        stem_stride, *strides = kept_strides(input_size, KEPT_STRIDES)
        channels = Choice("stem.width", _scaled(STEM_WIDTHS, width))
        self.stem = nn.Sequential(
            ElasticConv2d(in_channels, channels, 3, stem_stride, padding=1, bias=False),
            ElasticBatchNorm2d(channels),
            nn.ReLU(inplace=True),
        )
        self.stages = nn.ModuleList()
        for number, stride in enumerate(strides):
            stage = _stage(f"stages.{number}", channels, _scaled(WIDTHS, width), stride)
            self.stages.append(stage)
            channels = _chains(stage)[0].sizes["width"]
        head = Choice("head.width", _scaled(HEAD_WIDTHS, width))
        self.head = nn.Sequential(
            ElasticConv2d(channels, head, 1, bias=False),
            ElasticBatchNorm2d(head),
            nn.ReLU(inplace=True),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        )
        self.classifier = ElasticLinear(head, num_classes)
        self.stem_stride = stem_stride
        self.in_channels = in_channels
        self.num_classes = num_classes
        self.reset_parameters()

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits (B, num_classes) of images (B, in_channels, H, W); works in extracted networks only."""
        x = self.stem(x)
        for stage in self.stages:
            x = stage(x)
        logits: Tensor = self.classifier(self.head(x))
        return logits

    def reset_parameters(self) -> None:
        """Draw the initial weights of MobileNetV2, see `reset_as_mobilenet`; in place."""
        reset_as_mobilenet(self)

    def cost_table(self, input_shape: tuple[int, ...], kind: str) -> CostTable:
        """Return the exact additive cost of every architecture, in closed form.

        Measuring each joint option instead would take minutes.

        Args:
            input_shape: shape of one example, (in_channels, H, W).
            kind: "macs", "params" or "layers"; also the unit of the table.
        """
        _, height, width = input_shape
        pixels = strided((height, width), self.stem_stride)
        stem, head = (cast(ElasticConv2d, part[0]).own_choices()[-1] for part in (self.stem, self.head))
        terms = [
            CostTerm(
                [stem.name],
                [layer_cost(Layer(self.in_channels, int(o), 3, 1), pixels, kind) for o in stem.options],
            )
        ]
        for stage in self.stages:
            assert isinstance(stage, ChoiceBlock)
            assert stage.choice is not None
            for chain in _chains(stage):
                terms += chain.cost_terms(stage.choice, pixels, kind)
            pixels = strided(pixels, chain.stride)
            last = chain.sizes["width"]
        head_costs = [
            [layer_cost(Layer(int(i), int(o), 1, 1), pixels, kind) for o in head.options]
            for i in last.options
        ]
        bias = self.num_classes if kind == "params" else 0
        classifier = [1 if kind == "layers" else int(o) * self.num_classes + bias for o in head.options]
        terms += [CostTerm([last.name, head.name], head_costs), CostTerm([head.name], classifier)]
        return CostTable(0, terms, unit=kind)


class BlockChain(nn.Module):
    """The blocks of one type in a stage; they are built only when a network is extracted.

    Args:
        kind: type of the blocks, see `block_layers`.
        sizes: name -> choice, for "in_channels", "width", "kernel", "depth" and, for residual kinds, "ratio".
        stride: stride of the first block.
    """

    device_of: Tensor

    def __init__(self, kind: Kind, sizes: Mapping[str, Choice], stride: int) -> None:
        super().__init__()
        self.kind: Kind = kind
        self.sizes = dict(sizes)
        self.stride = stride
        self.path = ""
        self.selection = Selection()
        self.register_buffer("device_of", torch.empty(0), persistent=False)

    def own_choices(self) -> tuple[Choice, ...]:
        """Return the choices that the blocks read."""
        return tuple(self.sizes.values())

    def forward(self, x: Tensor) -> Tensor:
        """Raise, because the blocks have no weights before they are extracted.

        Raises:
            BindingError: always.
        """
        raise BindingError(
            f"{self.path}: the blocks must be extracted before they run, but got an input of shape {tuple(x.shape)}; "
            "extract the architecture with inherit=False"
        )

    def extracted(self, *, inherit: bool) -> nn.Sequential:
        """Return the blocks of the active options; their weights are allocated but not drawn yet."""
        del inherit
        options = {name: self.selection.options[choice] for name, choice in self.sizes.items()}
        device = self.device_of.device
        return nn.Sequential(*(unfilled_copy(_block(layers), device) for layers in self._blocks(options)))

    def cost_terms(self, choice: Choice, pixels: tuple[int, int], kind: str) -> list[CostTerm]:
        """Return two cost terms for the stage if it has this type of block: of the first block, and of all others.

        Args:
            choice: the stage's choice between the types of block.
            pixels: height and width of the stage's input.
            kind: "macs", "params" or "layers".
        """
        own = [self.sizes[name] for name in ("width", "kernel", "ratio") if name in self.sizes]
        inside = strided(pixels, self.stride)

        def first(in_channels: int, width: int, kernel: int, ratio: float = 1.0) -> int:
            return block_cost(
                block_layers(self.kind, in_channels, width, kernel, ratio, self.stride), pixels, kind
            )

        def others(depth: int, width: int, kernel: int, ratio: float = 1.0) -> int:
            return (depth - 1) * block_cost(
                block_layers(self.kind, width, width, kernel, ratio, 1), inside, kind
            )

        terms = []
        for leading, cost in (("in_channels", first), ("depth", others)):
            choices = [self.sizes[leading], *own]
            costs = np.zeros([choice.num_options, *(each.num_options for each in choices)], dtype=np.int64)
            for joint in np.ndindex(costs.shape[1:]):
                values = (each.options[index] for each, index in zip(choices, joint, strict=True))
                costs[(choice.index(self.kind), *joint)] = cost(*values)
            terms.append(CostTerm([choice.name, *(each.name for each in choices)], costs))
        return terms

    def _blocks(self, options: Mapping[str, Option]) -> Iterator[BlockLayers]:
        in_channels, width, kernel, depth = (
            int(options[name]) for name in ("in_channels", "width", "kernel", "depth")
        )
        ratio = float(options.get("ratio", 1.0))
        yield block_layers(self.kind, in_channels, width, kernel, ratio, self.stride)
        for _ in range(depth - 1):
            yield block_layers(self.kind, width, width, kernel, ratio, 1)


@functools.lru_cache(maxsize=4096)
def _block(layers: BlockLayers) -> ConvolutionBlock:
    """Return a block on the meta device; it has no data and serves as a template for copies."""
    with torch.device("meta"):
        return ConvolutionBlock(layers)


def _chains(stage: ChoiceBlock) -> list[BlockChain]:
    return [cast(BlockChain, candidate) for candidate in stage.candidates]


def _stage(name: str, in_channels: Choice, widths: Sequence[int], stride: int) -> ChoiceBlock:
    """Return a stage: a choice between the types of block, which share the stage's other choices."""
    shared = {
        "in_channels": in_channels,
        "width": Choice(f"{name}.width", widths),
        "kernel": Choice(f"{name}.kernel", KERNELS),
        "depth": Choice(f"{name}.depth", DEPTHS),
    }
    residual = {**shared, "ratio": Choice(f"{name}.ratio", RATIOS)}
    return ChoiceBlock(
        {kind: BlockChain(kind, shared if kind == "plain" else residual, stride) for kind in KINDS},
        Choice(f"{name}.type", KINDS),
    )


def _scaled(widths: Sequence[int], width: float) -> list[int]:
    """Return numbers of channels times a factor, as distinct multiples of 8, rising."""
    return sorted({max(DIVISOR, round(channels * width / DIVISOR) * DIVISOR) for channels in widths})
