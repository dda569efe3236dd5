"""The side of the images as a choice."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from onepath.nn.selection import Selection
from onepath.space import Choice


class ElasticResolution(nn.Module):
    """Brings images to a side that a choice decides; what costs and latencies see is the smaller image.

    Args:
        side: a choice of sides in pixels.

    Shapes: (B, C, H, W) to (B, C, side, side).

    Source: elastic resolution of Once-for-All (arXiv 1908.09791), where images are resized as they are read.
    """

    def __init__(self, side: Choice) -> None:
        super().__init__()
        side.take_role("resolution")
        self.side = side
        self.path = ""
        self.selection = Selection()

    def own_choices(self) -> tuple[Choice, ...]:
        """The choice of the side."""
        return (self.side,)

    def _active(self) -> int:
        return int(self.selection.options.get(self.side, max(map(int, self.side.options))))

    def forward(self, x: Tensor) -> Tensor:
        """Resize; images of the side are left as they are."""
        side = self._active()
        if x.shape[-2:] == (side, side):
            return x
        return functional.interpolate(x, (side, side), mode="bilinear", antialias=False)

    def extracted(self, *, inherit: bool) -> nn.Module:
        """An `nn.Upsample`, which also makes images smaller."""
        del inherit
        return nn.Upsample((self._active(),) * 2, mode="bilinear")
