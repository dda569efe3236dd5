"""Cosine similarity of candidates: closed forms."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from onepath.errors import ConfigurationError
from onepath.estimate import feature_similarity
from onepath.nn import ChoiceBlock, Supernet


class Scaled(nn.Module):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return self.factor * x


class Swapped(nn.Module):
    """Of two channels, the one is put into the place of the other."""

    def forward(self, x: Tensor) -> Tensor:
        return x.flip(1)


def supernet() -> Supernet:
    candidates = {"identity": nn.Identity(), "twice": Scaled(2), "minus": Scaled(-1), "zero": Scaled(0)}
    norm = nn.Sequential(nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2))
    return Supernet(
        nn.Sequential(
            ChoiceBlock({**candidates, "swapped": Swapped()}),
            ChoiceBlock({"skip": nn.Identity(), "norm": norm}),
        )
    )


def test_closed_forms() -> None:
    images = torch.zeros(3, 2, 4, 4)
    images[:, 0], images[:, 1] = 1.0, 0.5
    found = feature_similarity(supernet(), images, np.random.default_rng(0), num_paths=6)
    layer = found["0"]
    assert layer.names == ("identity", "twice", "minus", "zero", "swapped")
    cosine = 2 * 0.5 / 1.25
    expected = [
        [1, 1, -1, None, cosine],
        [1, 1, -1, None, cosine],
        [-1, -1, 1, None, -cosine],
        [None] * 5,
        [cosine, cosine, -cosine, None, 1],
    ]
    for row, known in zip(layer.matrix, expected, strict=True):
        for value, right in zip(row, known, strict=True):
            assert value == (None if right is None else pytest.approx(right, abs=1e-6))


def test_a_change_of_scale_is_no_change_of_direction_after_batch_statistics() -> None:
    """Running statistics of 0 and 1 would let the bias of the convolution through."""
    net = supernet()
    norm = net.module[1].candidates[1]
    with torch.no_grad():
        norm[0].weight.copy_(torch.eye(2)[:, :, None, None])
        norm[0].bias.fill_(100.0)
    images = torch.randn(64, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    images -= images.mean(dim=(0, 2, 3), keepdim=True)
    images /= images.std(dim=(0, 2, 3), keepdim=True)
    net.module[0].candidates[3].factor = 1  # no path of zeros
    net.module[0].candidates[1].factor = net.module[0].candidates[2].factor = 1
    found = feature_similarity(net, images, np.random.default_rng(1), num_paths=4)
    assert found["1"].matrix[0][1] == pytest.approx(1.0, abs=1e-4)


def test_the_supernet_is_not_changed() -> None:
    net = supernet().train()
    before = copy.deepcopy(net.state_dict())
    feature_similarity(net, torch.randn(4, 2, 4, 4), np.random.default_rng(0))
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert all(part.training for part in net.modules())


def test_mistakes_are_one_line() -> None:
    with pytest.raises(ConfigurationError, match="1 images"):
        feature_similarity(supernet(), torch.randn(1, 2, 4, 4), np.random.default_rng(0))


def test_an_activation_in_place_changes_no_other_candidate() -> None:
    images = torch.randn(4, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    before = images.clone()
    block = ChoiceBlock({"relu": nn.ReLU(inplace=True), "identity": nn.Identity(), "minus": Scaled(-1)})
    (layer,) = feature_similarity(
        Supernet(nn.Sequential(Scaled(1), block)), images, np.random.default_rng(0)
    ).values()
    flat = before.flatten(1)
    relu = torch.cosine_similarity(flat.relu(), flat).mean().item()
    assert layer.matrix[0][1] == pytest.approx(relu, abs=1e-6)
    assert layer.matrix[0][2] == pytest.approx(-relu, abs=1e-6)
    assert layer.matrix[1][2] == pytest.approx(-1, abs=1e-6)
