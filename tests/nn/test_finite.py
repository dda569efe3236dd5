"""Weights that are no finite numbers are named before anything is computed with them."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from onepath.errors import ConfigurationError
from onepath.nn.finite import check_finite, not_finite


@pytest.mark.parametrize(
    ("tensor", "expected"),
    [
        (torch.tensor([1.0, 2.0]), None),
        (torch.tensor([1.0, math.nan]), "NaN"),
        (torch.tensor([-math.inf, 1.0]), "infinity"),
        (torch.tensor([math.inf, math.nan]), "NaN"),
        (torch.tensor([math.inf], dtype=torch.bfloat16), "infinity"),
        (torch.tensor([math.nan]).to(torch.float8_e4m3fn), "NaN"),
        (torch.tensor([complex(0, math.inf)]), "infinity"),
        (torch.tensor([3, 4]), None),
        (torch.empty(2, device="meta"), None),
        (nn.UninitializedParameter(), None),
        (torch.empty(0), None),
    ],
)
def test_what_a_tensor_holds(tensor: torch.Tensor, expected: str | None) -> None:
    assert not_finite(tensor) == expected


def test_the_first_tensor_is_named() -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Linear(2, 2))
    check_finite(network)
    with torch.no_grad():
        network[2].bias[1] = math.inf
    with pytest.raises(
        ConfigurationError, match=r"must be finite, but '2\.bias' holds infinity; give a"
    ) as caught:
        check_finite(network)
    assert "\n" not in str(caught.value)
    with torch.no_grad():
        network[1].weight[0] = math.nan
    with pytest.raises(ConfigurationError, match=r"'1\.weight' holds NaN"):
        check_finite(network)


def test_a_mask_may_be_infinite_but_not_nan() -> None:
    network = nn.Linear(2, 2)
    network.register_buffer("mask", torch.tensor([0.0, -math.inf]))
    network.bias.requires_grad_(False).fill_(-math.inf)
    check_finite(network)
    network.get_buffer("mask")[0] = math.nan
    with pytest.raises(ConfigurationError, match="'mask' holds NaN"):
        check_finite(network)
