from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from onepath.errors import BindingError, ShapeError
from onepath.nn import ElasticBatchNorm2d, ElasticConv2d, ElasticDepth, ElasticLinear, Supernet
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


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("mode", ["zeros", "reflect", "replicate", "circular"])
@pytest.mark.parametrize(
    ("kernel", "padding", "stride", "dilation"),
    [
        (3, 1, 1, 1),
        (3, (0, 1), 1, 1),
        (3, (1, 0), (2, 1), 1),
        (3, "valid", (1, 2), 1),
        (3, "same", 1, (1, 2)),
        (4, "same", 1, 1),
        ((3, 1), (1, 0), 2, 1),
        ((1, 5), "same", 1, 2),
        (Choice("k", [3, 5]), "same", 1, 1),
        (Choice("k", [2, 4]), "same", 1, 1),
        (Choice("k", [3, 5]), (2, 4), 1, (1, 2)),
        ((Choice("k", [3, 5]), 1), (2, 0), (2, 1), 1),
        ((3, Choice("k", [1, 3])), (0, 1), 1, 1),
        ((Choice("k", [3, 5]), Choice("k2", [1, 7])), (2, 3), 1, 1),
    ],
)
def test_convolution_takes_what_a_plain_one_takes(
    kernel: Any, padding: Any, stride: Any, dilation: Any, mode: Any
) -> None:
    width = Choice("w", [2, 4])
    options = {"stride": stride, "padding": padding, "dilation": dilation, "padding_mode": mode}
    layer = ElasticConv2d(3, width, kernel, **options)
    supernet = Supernet(nn.Sequential(layer))
    x = torch.randn(2, 3, 12, 13)
    for architecture in supernet.space.enumerate():
        y = supernet(x, architecture)
        plain: Any = supernet.extract(architecture)[0]  # type: ignore[index]
        assert type(plain) is nn.Conv2d
        assert torch.equal(plain(x), y)
        chosen = architecture.options
        sides = kernel if isinstance(kernel, tuple) else (kernel, kernel)
        height, right = (side if isinstance(side, int) else int(chosen[side.name]) for side in sides)
        margin = [(most - side) // 2 for most, side in zip(layer.kernel_size, (height, right), strict=True)]
        twin = nn.Conv2d(3, int(chosen["w"]), (height, right), **options)
        pads = twin.padding
        if not isinstance(pads, str):
            steps = dilation if isinstance(dilation, tuple) else (dilation, dilation)
            pads = tuple(p - m * d for p, m, d in zip(pads, margin, steps, strict=True))
            twin = nn.Conv2d(3, int(chosen["w"]), (height, right), **{**options, "padding": pads})
        rows, columns = slice(margin[0], margin[0] + height), slice(margin[1], margin[1] + right)
        with torch.no_grad():
            twin.weight.copy_(layer.weight[: int(chosen["w"]), :, rows, columns])
            twin.bias.copy_(layer.bias[: int(chosen["w"])])  # type: ignore[union-attr, index]
        torch.testing.assert_close(y, twin(x))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"kernel_size": (3,)}, "kernel_size must be one value or a pair"),
        ({"kernel_size": (3, 3, 3)}, "kernel_size must be one value or a pair"),
        ({"kernel_size": "3"}, "every value of kernel_height must be a whole number"),
        ({"kernel_size": 3.0}, "every value of kernel_height must be a whole number"),
        ({"kernel_size": (3, 0)}, "every value of kernel_width must be a whole number"),
        ({"kernel_size": Choice("k", ["a", "b"])}, "every value of kernel_height must be a whole number"),
        ({"kernel_size": (Choice("k", [3, 4]), 1), "padding": 3}, r"all odd or all even.*\[3, 4\] of height"),
        ({"kernel_size": Choice("k", [3, 5]), "padding": "valid"}, "padding at least .* padding=0"),
        ({"kernel_size": (1, Choice("k", [3, 5])), "padding": (9, 0)}, r"of width and padding=\(9, 0\)"),
        ({"kernel_size": 3, "padding": "sane"}, "Invalid padding string"),
        ({"kernel_size": 3, "padding": -1}, "padding must be a whole number of 0 or more"),
        ({"kernel_size": 3, "padding": (1, 1, 1)}, "padding must be one value or a pair"),
        ({"kernel_size": 3, "padding": None}, "padding must be a whole number of 0 or more"),
        ({"kernel_size": 3, "padding": "same", "stride": 2}, "not supported for strided"),
        ({"kernel_size": 3, "padding_mode": "x"}, "padding_mode must be one of"),
        ({"kernel_size": 3, "stride": Choice("s", [1, 2])}, "stride must be a whole number"),
        ({"kernel_size": 3, "stride": 0}, "stride must be a whole number of 1 or more"),
        ({"kernel_size": 3, "dilation": (1, True)}, "dilation must be a whole number"),
        ({"kernel_size": 3, "groups": 3}, "divisible by groups"),
        ({"kernel_size": 3, "groups": Choice("g", [2, 4])}, "elastic widths need groups=1"),
    ],
)
def test_convolution_says_what_it_does_not_take(options: Any, words: str) -> None:
    with pytest.raises(BindingError, match=f"^ElasticConv2d: .*{words}") as caught:
        ElasticConv2d(8, 8, **options)
    assert "\n" not in str(caught.value)
