"""A space of multi-layer perceptrons for tables; the width, the depth and the activations are choices.

The space is not from a paper: a first and a last linear layer with residual blocks between them, for rows of numbers.
"""

from __future__ import annotations

from torch import Tensor, nn

from onepath.nn import ChoiceBlock, ElasticDepth, ElasticLinear
from onepath.space import Choice

WIDTHS = (0.25, 0.5, 0.75, 1.0)
NUM_BLOCKS = 4


class Mlp(nn.Module):
    """The supernet module: a linear layer, up to four residual blocks, and a linear layer.

    Args:
        num_classes: number of outputs per example.
        in_channels: number of inputs per example.
        width: factor on the 256 hidden features of the widest architecture.

    Shapes: (B, in_channels) to (B, num_classes).
    """

    reads_tables = True

    def __init__(self, num_classes: int, in_channels: int = 16, width: float = 1.0) -> None:
        super().__init__()
        hidden = Choice("hidden", [max(4, round(256 * width * share)) for share in WIDTHS])
        self.stem = ElasticLinear(in_channels, hidden)
        blocks = [_Block(hidden) for _ in range(NUM_BLOCKS)]
        self.blocks = ElasticDepth(blocks, Choice("depth", range(NUM_BLOCKS + 1)))
        self.head = ElasticLinear(hidden, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs (B, num_classes) of examples (B, in_channels)."""
        outputs: Tensor = self.head(self.blocks(self.stem(x)))
        return outputs


class _Block(nn.Module):
    """A residual block: x plus linear(activation(linear(x)))."""

    def __init__(self, hidden: Choice) -> None:
        super().__init__()
        self.first = ElasticLinear(hidden, hidden)
        self.act = ChoiceBlock({"relu": nn.ReLU(), "gelu": nn.GELU(), "tanh": nn.Tanh()})
        self.second = ElasticLinear(hidden, hidden)

    def forward(self, x: Tensor) -> Tensor:
        outputs: Tensor = x + self.second(self.act(self.first(x)))
        return outputs
