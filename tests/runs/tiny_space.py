"""A search space of 27 small networks for 8x8 images."""

from __future__ import annotations

from torch import Tensor, nn

from onepath.nn import ChoiceBlock


class Tiny(nn.Module):
    """A stem, three choice blocks, a head."""

    def __init__(self, num_classes: int, in_channels: int, channels: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(in_channels, channels, 3, 2, 1, bias=False), nn.BatchNorm2d(channels)
        )
        self.blocks = nn.Sequential(*(self._block(channels) for _ in range(3)))
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.1))
        self.classifier = nn.Linear(channels, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, 8, 8) to (B, num_classes)."""
        return self.classifier(self.head(self.blocks(self.stem(x))))

    @staticmethod
    def _block(channels: int) -> ChoiceBlock:
        candidates: dict[str, nn.Module] = {"skip": nn.Identity()}
        for kernel in (1, 3):
            candidates[f"k{kernel}"] = nn.Sequential(
                nn.Conv2d(channels, channels, kernel, padding=kernel // 2, bias=False),
                nn.BatchNorm2d(channels),
                nn.ReLU(),
            )
        return ChoiceBlock(candidates)


def build(num_classes: int, in_channels: int = 1, channels: int = 8) -> nn.Module:
    """The supernet's module."""
    return Tiny(num_classes, in_channels, channels)
