"""Depthwise kernels that are learned from larger ones."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

import onepath as op
from onepath.nn.kernel_transform import TransformedConv2d

SIDES = (3, 5, 7)


class Net(nn.Module):
    def __init__(self, kind: type[op.ElasticConv2d]) -> None:
        super().__init__()
        width, kernel = op.Choice("width", [4, 8]), op.Choice("kernel", SIDES)
        self.point = op.ElasticConv2d(3, width, 1)
        self.depthwise = kind(width, width, kernel, padding=3, groups=width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.depthwise(self.point(x))


def pair() -> tuple[op.Supernet, op.Supernet]:
    """With matrices and with plain centres, of equal weights."""
    torch.manual_seed(0)
    plain, transformed = op.Supernet(Net(op.ElasticConv2d)), op.Supernet(Net(TransformedConv2d))
    transformed.load_state_dict(plain.state_dict(), strict=False)
    return plain, transformed


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("width", [4, 8])
def test_it_begins_as_the_plain_centre(side: int, width: int) -> None:
    plain, transformed = pair()
    x, options = torch.randn(2, 3, 9, 9), {"kernel": side, "width": width}
    own, other = plain.space.parse(options), transformed.space.parse(options)
    assert torch.equal(transformed(x, other), plain(x, own))


def test_each_matrix_works_on_the_centre_of_the_transformed_larger_kernel() -> None:
    _, transformed = pair()
    layer: Any = transformed.module.depthwise
    for matrix in layer.transforms.values():
        nn.init.normal_(matrix)
    x = torch.randn(2, 8, 9, 9)
    seven = layer.weight
    five = (seven[..., 1:6, 1:6].reshape(8, 1, 25) @ layer.transforms["5"].t()).reshape(8, 1, 5, 5)
    three = (five[..., 1:4, 1:4].reshape(8, 1, 9) @ layer.transforms["3"].t()).reshape(8, 1, 3, 3)
    for side, weight in ((7, seven), (5, five), (3, three)):
        transformed.activate(transformed.space.parse({"kernel": side, "width": 8}))
        expected = functional.conv2d(x, weight, layer.bias, padding=side // 2, groups=8)
        assert torch.allclose(layer(x), expected, atol=1e-6)


def test_an_extracted_convolution_holds_the_product_alone() -> None:
    _, transformed = pair()
    layer: Any = transformed.module.depthwise
    for matrix in layer.transforms.values():
        nn.init.normal_(matrix)
    for side in SIDES:
        chosen = transformed.space.parse({"kernel": side, "width": 4})
        found: Any = transformed.extract(chosen)
        assert set(found.depthwise.state_dict()) == {"weight", "bias"}
        assert (found.depthwise.kernel_size, found.depthwise.padding) == ((side, side), (side // 2,) * 2)
        x = torch.randn(1, 3, 9, 9)
        assert torch.allclose(found(x), transformed(x, chosen), atol=1e-6)


def test_only_the_matrices_that_are_used_get_a_gradient() -> None:
    _, transformed = pair()
    layer: Any = transformed.module.depthwise
    used = {7: set(), 5: {"5"}, 3: {"5", "3"}}
    for side, expected in used.items():
        transformed.zero_grad(set_to_none=True)
        transformed(
            torch.randn(1, 3, 9, 9), transformed.space.parse({"kernel": side, "width": 8})
        ).sum().backward()
        assert {name for name, matrix in layer.transforms.items() if matrix.grad is not None} == expected


def test_matrices_add_what_the_paper_says() -> None:
    """25 * 25 + 9 * 9 = 706 numbers a layer, whatever its width."""
    layer = TransformedConv2d(64, 64, op.Choice("kernel", SIDES), padding=3, groups=64)
    assert sum(matrix.numel() for matrix in layer.transforms.values()) == 706
    nn.init.normal_(layer.transforms["3"])
    layer.reset_parameters()
    assert torch.equal(layer.transforms["3"], torch.eye(9))
