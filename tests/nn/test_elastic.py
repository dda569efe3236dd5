from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from onepath.errors import BindingError, ShapeError
from onepath.nn import ElasticBatchNorm2d, ElasticConv2d, ElasticDepth, ElasticLinear
from onepath.space import Choice, round_to


def activate(module: nn.Module, options: dict) -> None:
    module.selection.options = options


@pytest.mark.parametrize("size", [4, 6, 8])
def test_dense_convolution_uses_the_leading_slice(size: int) -> None:
    width = Choice("width", [4, 6, 8])
    layer = ElasticConv2d(3, width, 3, padding=1)
    activate(layer, {width: size})
    x = torch.randn(2, 3, 5, 5)
    expected = functional.conv2d(x, layer.weight[:size], layer.bias[:size], padding=1)
    assert torch.equal(layer(x), expected)
    assert torch.equal(layer.extracted(inherit=True)(x), expected)


def test_widest_slice_equals_the_plain_layer_exactly() -> None:
    width = Choice("width", [4, 8])
    layer = ElasticConv2d(width, width, 3, padding=1)
    plain = nn.Conv2d(8, 8, 3, padding=1)
    plain.load_state_dict(layer.state_dict())
    activate(layer, {width: 8})
    x = torch.randn(2, 8, 5, 5)
    assert torch.equal(layer(x), plain(x))


@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (5, 1), (7, 1), (3, 2), (7, 2)])
def test_smaller_kernel_is_the_centre_and_keeps_the_output_size(kernel: int, stride: int) -> None:
    width, kernels = Choice("width", [4, 8]), Choice("kernel", [3, 5, 7])
    layer = ElasticConv2d(width, width, kernels, stride, padding=3, groups=width)
    activate(layer, {width: 4, kernels: kernel})
    margin = (7 - kernel) // 2
    weight = layer.weight[:4, :, margin : 7 - margin, margin : 7 - margin]
    x = torch.randn(2, 4, 9, 9)
    expected = functional.conv2d(x, weight, layer.bias[:4], stride, kernel // 2, groups=4)
    assert torch.equal(layer(x), expected)
    assert expected.shape[2] == -(-9 // stride)
    plain = layer.extracted(inherit=True)
    assert (plain.kernel_size, plain.groups, plain.padding) == (
        (kernel, kernel),
        4,
        (kernel // 2, kernel // 2),
    )
    assert torch.equal(plain(x), expected)


def test_gradient_reaches_only_the_active_slice() -> None:
    width = Choice("width", [4, 8])
    layer = ElasticConv2d(3, width, 1)
    activate(layer, {width: 4})
    layer(torch.randn(2, 3, 2, 2)).sum().backward()
    assert layer.weight.grad[:4].abs().min() > 0
    assert layer.weight.grad[4:].abs().max() == 0


def test_linear_uses_leading_rows_and_columns() -> None:
    width = Choice("width", [4, 8])
    layer = ElasticLinear(width, round_to(width * 0.5, 2))
    activate(layer, {width: 4})
    x = torch.randn(3, 4)
    expected = functional.linear(x, layer.weight[:2, :4], layer.bias[:2])
    assert torch.equal(layer(x), expected)
    assert torch.equal(layer.extracted(inherit=True)(x), expected)


def test_normalisation_equals_a_plain_one_of_the_active_width() -> None:
    width = Choice("width", [4, 8])
    layer = ElasticBatchNorm2d(width)
    plain = nn.BatchNorm2d(4)
    activate(layer, {width: 4})
    for _ in range(3):
        x = torch.randn(6, 4, 3, 3) * 2 + 1
        assert torch.equal(layer(x), plain(x))
    assert torch.equal(layer.running_mean[:4], plain.running_mean)
    assert torch.equal(layer.running_var[:4], plain.running_var)
    assert torch.equal(layer.running_var[4:], torch.ones(4))
    layer.eval()
    plain.eval()
    assert torch.equal(layer(x), plain(x))


def test_normalisation_averages_cumulatively_without_momentum() -> None:
    width = Choice("width", [2, 4])
    layer, plain = ElasticBatchNorm2d(width, momentum=None), nn.BatchNorm2d(2, momentum=None)
    activate(layer, {width: 2})
    for _ in range(4):
        x = torch.randn(6, 2, 3, 3)
        layer(x), plain(x)
    assert torch.allclose(layer.running_mean[:2], plain.running_mean)
    assert torch.allclose(layer.running_var[:2], plain.running_var)


def test_affine_of_the_stand_alone_network() -> None:
    layer = ElasticBatchNorm2d(4, affine=False, standalone_affine=True)
    assert layer.extracted(inherit=True).weight is None
    assert layer.extracted(inherit=False).weight.shape == (4,)


def test_depth_keeps_the_first_blocks() -> None:
    depth = Choice("depth", [1, 3])
    layer = ElasticDepth([nn.Linear(2, 2) for _ in range(3)], depth)
    x = torch.randn(1, 2)
    activate(layer, {depth: 1})
    assert torch.equal(layer(x), layer.blocks[0](x))
    activate(layer, {depth: 3})
    assert torch.equal(layer(x), layer.blocks[2](layer.blocks[1](layer.blocks[0](x))))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ElasticConv2d(3, Choice("w", [4, 2.5]), 3), "whole number of 1 or more"),
        (lambda: ElasticConv2d(3, Choice("w", [4, 0]), 3), "whole number of 1 or more"),
        (lambda: ElasticConv2d(3, 4, Choice("k", [3, 4]), padding=2), "all odd or all even"),
        (lambda: ElasticConv2d(3, 4, Choice("k", [1, 7]), padding=1), "padding at least"),
        (lambda: ElasticConv2d(Choice("w", [4, 8]), 8, 3, groups=2), "groups"),
        (lambda: ElasticDepth([nn.Identity()], Choice("d", [1, 2])), "number of blocks"),
        (lambda: ElasticLinear(Choice("w", ["a", "b"]), 2), "whole number"),
    ],
)
def test_inconsistent_layers_are_rejected(make, message: str) -> None:
    with pytest.raises(BindingError, match=message):
        make()


def test_wrong_number_of_channels_is_named() -> None:
    width = Choice("width", [4, 8])
    for layer, x in (
        (ElasticConv2d(width, 3, 1), torch.randn(1, 8, 2, 2)),
        (ElasticBatchNorm2d(width), torch.randn(1, 8, 2, 2)),
        (ElasticLinear(width, 3), torch.randn(1, 8)),
    ):
        activate(layer, {width: 4})
        layer.path = "body.layer"
        with pytest.raises(ShapeError, match=r"body\.layer: the input must have 4 channels"):
            layer(x)
