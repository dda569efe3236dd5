"""SMASH's memory banks at a small setting: operations that read some banks of channels and add to some of them.

Source: Brock et al., "SMASH: One-Shot Model Architecture Search through HyperNetworks", ICLR 2018 (arXiv 1708.05344),
and the released code: a block is a set of banks of N channels; an operation concatenates the banks that it
reads, and its 1x1 convolution, whose weight depends on them, leads to convolutions whose result is added to the banks
that it writes. Differs from them: every block has four banks and three operations; an operation's result has the
channels of one bank and is added to each bank that it writes; its convolutions are one of four; two of the three blocks
halve their input by a pooling; initial weights are PyTorch's.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from onepath.nn import ChoiceBlock
from onepath.nn.selection import Selection
from onepath.space import Choice
from onepath.spaces.chosen_concat import ChosenConcat, active_options
from onepath.spaces.small_inputs import check_width, kept_strides, scaled

NUM_BANKS, NUM_OPERATIONS = 4, 3
BANK_CHANNELS = (8, 16, 32)
BODIES = ("conv_3x3", "conv_5x5", "dilated_3x3", "gated_3x3")
# How many strides an input allows -> which of the two later blocks halve their input.
_KEPT_STRIDES: Mapping[int, Sequence[int]] = {2: (0, 1), 1: (1,), 0: ()}

SETS = tuple(
    ",".join(map(str, banks))
    for num in range(1, NUM_BANKS + 1)
    for banks in itertools.combinations(range(NUM_BANKS), num)
)
"""The sets of banks that an operation can read or write, as rising numbers such as "0,2"."""


class BankRead(ChosenConcat):
    """The banks that an operation reads, joined by ReLU, a 1x1 convolution and normalisation; see `ChosenConcat`.

    Args:
        channels: channels of a bank.
        choice: choice between `SETS`.

    Shapes: `NUM_BANKS` banks (B, channels, H, W) to (B, channels, H, W).
    """

    def __init__(self, channels: int, choice: Choice) -> None:
        super().__init__(NUM_BANKS, channels, [choice])

    def chosen(self) -> tuple[int, ...]:
        """Return the numbers of the banks that are read, rising."""
        return banks_of(self.choices[0], self.selection)


class BankWrite(nn.Module):
    """Adds a result to the banks that an operation writes.

    Args:
        choice: choice between `SETS`.

    Shapes: a result (B, C, H, W) and `NUM_BANKS` banks of its shape to the banks.
    """

    def __init__(self, choice: Choice) -> None:
        super().__init__()
        choice.take_role("operation")
        self.choice = choice
        self.path = ""
        self.selection = Selection()

    def own_choices(self) -> tuple[Choice, ...]:
        """Return the choice of the banks."""
        return (self.choice,)

    def forward(self, result: Tensor, *banks: Tensor) -> list[Tensor]:
        """Return the banks, with the result added to those that are written."""
        return _written(banks_of(self.choice, self.selection), result, banks)

    def extracted(self, *, inherit: bool) -> nn.Module:
        """Return a `FixedWrite` of the banks that are written."""
        del inherit
        return FixedWrite(banks_of(self.choice, self.selection))


class FixedWrite(nn.Module):
    """Adds a result to fixed banks.

    Args:
        written: numbers of the banks.
    """

    def __init__(self, written: tuple[int, ...]) -> None:
        super().__init__()
        self.written = written

    def forward(self, result: Tensor, *banks: Tensor) -> list[Tensor]:
        """Return the banks, with the result added to those in `written`."""
        return _written(self.written, result, banks)


class BankOperation(nn.Module):
    """An operation: it reads banks, computes, and adds its result to banks.

    Args:
        name: begin of the names of its three choices.
        channels: channels of a bank.

    Shapes: `NUM_BANKS` banks (B, channels, H, W) to as many of the same shape.
    """

    def __init__(self, name: str, channels: int) -> None:
        super().__init__()
        self.read = BankRead(channels, Choice(f"{name}.read", SETS, role="operation"))
        self.body = ChoiceBlock(bodies(channels), Choice(f"{name}.body", BODIES))
        self.write = BankWrite(Choice(f"{name}.write", SETS, role="operation"))

    def forward(self, *banks: Tensor) -> list[Tensor]:
        """Return the banks after the operation."""
        found: list[Tensor] = self.write(self.body(self.read(*banks)), *banks)
        return found


class MemoryBanks(nn.Module):
    """The supernet module: a stem, three blocks of memory banks with transitions between them, and a classifier.

    Args:
        num_classes: classes that the classifier tells apart.
        input_size: height and width of the input in pixels; from 13 pixels on, both transitions halve the maps.
        in_channels: channels of the input.
        width: factor on the channels of a bank (8, 16 and 32), whose products are rounded to multiples of 4.

    Shapes: (B, in_channels, input_size, input_size) to (B, num_classes).

    Raises:
        ConfigurationError: an input below 4 pixels, or a width out of range.
    """

    def __init__(
        self, num_classes: int = 10, input_size: int = 32, in_channels: int = 3, width: float = 1.0
    ) -> None:
        super().__init__()
        check_width(width)
        widths = [scaled(channels, width) for channels in BANK_CHANNELS]
        strides = kept_strides(input_size, _KEPT_STRIDES)
        self.entries = nn.ModuleList([_entry(in_channels, widths[0], 3, 1)])
        for (before, after), stride in zip(itertools.pairwise(widths), strides, strict=True):
            self.entries.append(_entry(NUM_BANKS * before, after, 1, stride))
        self.blocks = nn.ModuleList(
            nn.ModuleList(
                BankOperation(f"blocks.{block}.{number}", channels) for number in range(NUM_OPERATIONS)
            )
            for block, channels in enumerate(widths)
        )
        last = NUM_BANKS * widths[-1]
        self.pool = nn.Sequential(nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.classifier = nn.Linear(last, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits (B, num_classes) of images (B, in_channels, H, W)."""
        for entry, operations in zip(self.entries, self.blocks, strict=True):
            banks: Sequence[Tensor] = torch.chunk(entry(x), NUM_BANKS, 1)
            for operation in operations:  # type: ignore[attr-defined]
                banks = operation(*banks)
            x = torch.cat(list(banks), 1)
        logits: Tensor = self.classifier(self.pool(x))
        return logits


def bodies(channels: int) -> dict[str, nn.Module]:
    """Return what an operation can do after its 1x1 convolution, name -> module; all keep the shape."""
    modules = (
        _convolution(channels, 3, 1),
        _convolution(channels, 5, 1),
        _convolution(channels, 3, 2),
        Gated(channels),
    )
    return dict(zip(BODIES, modules, strict=True))


class Gated(nn.Module):
    """Two convolutions of the same input: the hyperbolic tangent of one times the sigmoid of the other.

    Args:
        channels: channels of input and output.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.value, self.gate = (nn.Conv2d(channels, channels, 3, padding=1) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, channels, H, W) of the same shape as `x`."""
        return torch.tanh(self.value(x)) * torch.sigmoid(self.gate(x))


def banks_of(choice: Choice, selection: Selection) -> tuple[int, ...]:
    """Return the numbers of the banks in the active sets of a choice, rising."""
    options = active_options(choice, selection)
    return tuple(sorted({int(bank) for option in options for bank in str(option).split(",")}))


def _entry(inputs: int, channels: int, kernel: int, stride: int) -> nn.Sequential:
    """Return what fills the banks of a block."""
    convolution = nn.Conv2d(inputs, NUM_BANKS * channels, kernel, padding=kernel // 2, bias=False)
    pool = nn.AvgPool2d(2, ceil_mode=True, count_include_pad=False) if stride == 2 else nn.Identity()
    return nn.Sequential(convolution, nn.BatchNorm2d(NUM_BANKS * channels), pool)


def _convolution(channels: int, kernel: int, dilation: int) -> nn.Sequential:
    padding = dilation * (kernel // 2)
    convolution = nn.Conv2d(channels, channels, kernel, padding=padding, dilation=dilation, bias=False)
    return nn.Sequential(nn.ReLU(), convolution, nn.BatchNorm2d(channels))


def _written(written: Sequence[int], result: Tensor, banks: Sequence[Tensor]) -> list[Tensor]:
    return [bank + result if number in written else bank for number, bank in enumerate(banks)]
