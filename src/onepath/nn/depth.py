"""A sequence of blocks whose length may be a choice."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from onepath.errors import BindingError
from onepath.nn.selection import Selection
from onepath.space import Choice


class ElasticDepth(nn.Module):
    """Runs the first `depth` of its blocks; choices that only the other blocks read are inactive.

    Args:
        blocks: the blocks of the longest sequence. A block after the smallest depth must keep the shape of its input.
        depth: a whole number, or a `Choice` of whole numbers from 0 to `len(blocks)`.

    Shapes: those of the blocks.

    Raises:
        BindingError: a depth is not a whole number from 0 to `len(blocks)`, or the choice has the role of an operation.

    Source: Once-for-All, section 3.2 (arXiv 1908.09791): depth d keeps the first d blocks.
    """

    def __init__(self, blocks: Sequence[nn.Module], depth: int | Choice) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        depths = list(depth.options) if isinstance(depth, Choice) else [depth]
        wrong = [
            option
            for option in depths
            if not isinstance(option, int) or isinstance(option, bool) or not 0 <= option <= len(blocks)
        ]
        if wrong:
            raise BindingError(
                f"ElasticDepth: every depth must be a whole number from 0 to the number of blocks, {len(blocks)}, but "
                f"one is {wrong[0]!r}; change the options or add blocks"
            )
        if isinstance(depth, Choice):
            depth.take_role("depth")
        self.path = ""
        self.selection = Selection()
        self.depth = depth

    def own_choices(self) -> tuple[Choice, ...]:
        """Return the choice of the depth; empty for a fixed depth."""
        return (self.depth,) if isinstance(self.depth, Choice) else ()

    def active_depth(self) -> int:
        """Return the number of blocks that run; the largest depth if no architecture is active."""
        if isinstance(self.depth, int):
            return self.depth
        return int(self.selection.options.get(self.depth, max(map(int, self.depth.options))))

    def forward(self, x: Tensor) -> Tensor:
        """Apply the first `active_depth()` blocks."""
        for index in range(self.active_depth()):
            x = self.blocks[index](x)
        return x

    def extracted(self, *, inherit: bool) -> nn.Sequential:
        """Return the kept blocks themselves, not copies, as an `nn.Sequential`."""
        del inherit
        return nn.Sequential(*list(self.blocks)[: self.active_depth()])
