"""The layers that depend on a choice, in spaces of several kinds."""

from __future__ import annotations

import pytest
import torch
from hyper.branches import supernet_of
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

import onepath as op
from onepath.errors import ConfigurationError
from onepath.hyper import chosen_layers


def test_candidates_alone() -> None:
    assert [layer.path for layer in chosen_layers(supernet_of(is_longer=True))] == [
        "block.candidates.0.0",
        "block.candidates.1.0",
        "block.candidates.2.first",
        "block.candidates.2.second",
        "more.candidates.1",
    ]


class Sizes(nn.Module):
    """Layers whose sizes are choices, a layer that two blocks share, and weights that are not to be made."""

    def __init__(self) -> None:
        super().__init__()
        width = op.Choice("width", [2, 4])
        self.first = op.ElasticConv2d(1, width, 3, padding=1)
        self.fixed = op.ElasticConv2d(4, 4, 1)
        shared, tied = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1)
        other = nn.Conv2d(4, 4, 1)
        other.weight = tied.weight
        frozen = nn.Conv2d(4, 4, 1).requires_grad_(False)
        normed = weight_norm(nn.Conv2d(4, 4, 1))
        self.one = op.ChoiceBlock({"a": shared, "b": tied, "c": other})
        self.two = op.ChoiceBlock({"a": shared, "b": frozen, "c": normed})
        self.last = op.ElasticLinear(width, 3)

    def forward(self, x: Tensor) -> Tensor:
        return x


def test_sizes_count_and_shared_weights_do_not() -> None:
    supernet = op.Supernet(Sizes())
    layers = {layer.path: layer for layer in chosen_layers(supernet)}
    assert list(layers) == ["first", "one.candidates.0", "last"]
    assert layers["first"].shape == (4, 1, 3, 3)
    shared = layers["one.candidates.0"]
    present = {
        text: shared.is_in(supernet.space.parse(text).options)
        for text in ("0,0,1", "0,1,0", "0,1,1", "1,2,0")
    }
    assert present == {"0,0,1": True, "0,1,0": True, "0,1,1": False, "1,2,0": True}


def test_a_space_without_such_layers_is_refused() -> None:
    supernet = op.Supernet(nn.Sequential(op.ChoiceBlock([nn.ReLU(), nn.Tanh()]), nn.Linear(2, 2)))
    with pytest.raises(ConfigurationError, match="Sequential has none; use another space"):
        chosen_layers(supernet)


def test_a_model_that_came_in_keeps_its_weights() -> None:
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 3)
    )
    supernet = op.convert(model, torch.zeros(1, 1, 8, 8))
    with pytest.raises(ConfigurationError, match="those of a model that was given would be lost"):
        chosen_layers(supernet)
