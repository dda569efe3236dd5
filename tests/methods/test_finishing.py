"""The model that teaches networks while they are finished."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import onepath as op
from onepath.errors import ConfigurationError
from onepath.methods.finishing import check_teacher


class Pair(nn.Module):
    """A network with a second output."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 16, 3), nn.Linear(16, 10)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        scores = self.second(self.first(images).relu().mean((2, 3)))
        return scores, 2 * scores


def test_a_model_of_several_outputs_cannot_teach() -> None:
    supernet = op.convert(Pair(), torch.zeros(1, 1, 8, 8), widths=(0.5, 1.0))
    with pytest.raises(
        ConfigurationError, match="needs a model that returns one tensor, but it returns tuple"
    ):
        check_teacher(supernet, op.load_data("digits"))


def test_a_supernet_that_was_not_converted_has_no_model() -> None:
    with pytest.raises(ConfigurationError, match="means the model that was given, but none was"):
        check_teacher(
            op.spaces.build("nasbench-macro", num_classes=10, in_channels=1), op.load_data("digits")
        )
