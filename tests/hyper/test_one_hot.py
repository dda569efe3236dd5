"""Codes from one-hot vectors of the architecture and the layer."""

from __future__ import annotations

import torch
from hyper.branches import supernet_of

from onepath.hyper import OneHotEncoder

PATHS = [
    "block.candidates.0.0",
    "block.candidates.1.0",
    "block.candidates.2.first",
    "more.candidates.1",
    "more",
]


def test_the_candidates_of_a_block_begin_with_similar_codes() -> None:
    space = supernet_of(is_longer=True).space
    encoder = OneHotEncoder(space, PATHS, 64)
    assert encoder.place_of == (0, 0, 1, 2, 3)
    codes = encoder(space.parse("0,1"), range(5)).detach()
    correlations = torch.corrcoef(codes)
    assert correlations[0, 1] > 0.9
    assert correlations[0, 2:].abs().max() < 0.7


def test_codes_depend_on_the_architecture_and_on_the_layer() -> None:
    space = supernet_of(is_longer=True).space
    encoder = OneHotEncoder(space, PATHS, 12)
    codes = encoder(space.parse("0,1"), [0, 3])
    assert codes.shape == (2, 12)
    assert torch.equal(encoder(space.parse("0,1"), [0, 3]), codes)
    assert not torch.allclose(codes[0], codes[1])
    assert not torch.allclose(encoder(space.parse("0,0"), [0, 3]), codes)
    assert torch.allclose(encoder(space.parse("0,1"), [3]), codes[1:], atol=1e-6)


def test_the_noise_is_fixed_and_stored() -> None:
    space = supernet_of().space
    encoder = OneHotEncoder(space, PATHS, 12)
    assert "noise" in encoder.state_dict()
    assert all(name != "noise" for name, _ in encoder.named_parameters())
