"""The side of the images as a choice."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from onepath.nn.selection import Selection
from onepath.space import Choice


class ElasticResolution(nn.Module):
    """Resizes images to the side that a choice decides; costs and latencies are then those of the resized images.

    Args:
        side: choice of the height and width in pixels.

    Shapes: (B, C, H, W) to (B, C, side, side).

    Raises:
        BindingError: the choice has the role of an operation.

    Source: elastic resolution of Once-for-All (arXiv 1908.09791), where images are resized as they are read.
    """

    def __init__(self, side: Choice) -> None:
        super().__init__()
        side.take_role("resolution")
        self.side = side
        self.path = ""
        self.selection = Selection()

    def own_choices(self) -> tuple[Choice, ...]:
        """Return the choice of the side."""
        return (self.side,)

    def _active(self) -> int:
        return int(self.selection.options.get(self.side, max(map(int, self.side.options))))

    def forward(self, x: Tensor) -> Tensor:
        """Resize images bilinearly; images that already have the active side are returned as they are."""
        side = self._active()
        if x.shape[-2:] == (side, side):
            return x
        return functional.interpolate(x, (side, side), mode="bilinear", antialias=False)

    def extracted(self, *, inherit: bool) -> nn.Module:
        """Return an `nn.Upsample` to the active side, which also makes images smaller."""
        del inherit
        return nn.Upsample((self._active(),) * 2, mode="bilinear")
