from __future__ import annotations

import copy
import itertools

import pytest
import torch
from torch import nn

import onepath as op
from onepath.nn.kernel_transform import TransformedConv2d
from onepath.train import depthwise
from onepath.train.depthwise import depthwise_conv2d, fast_depthwise


@pytest.mark.parametrize("kernel_size", [(3, 3), (5, 5), (7, 7), (9, 9), (3, 7), (7, 3), (1, 5)])
@pytest.mark.parametrize("size", [(8, 8), (9, 7), (4, 4), (2, 5), (1, 1)])
@pytest.mark.parametrize(("stride", "dilation"), [(1, 1), (2, 1), (1, 2), (2, 2), (1, 3)])
def test_equals_the_plain_convolution_and_its_gradients(
    kernel_size: tuple[int, int], size: tuple[int, int], stride: int, dilation: int
) -> None:
    """Against torch in float64, so that neither kernel's rounding hides an error."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(3, 16, *size, generator=generator).to(memory_format=torch.channels_last)
    weight, bias = torch.randn(16, 1, *kernel_size, generator=generator), torch.randn(16, generator=generator)
    ours = [t.clone().requires_grad_() for t in (x, weight, bias)]
    theirs = [t.double().requires_grad_() for t in (x, weight, bias)]
    y = depthwise_conv2d(*ours, stride=stride, dilation=dilation)
    padding = (dilation * (kernel_size[0] // 2), dilation * (kernel_size[1] // 2))
    expected = nn.functional.conv2d(*theirs, stride=stride, padding=padding, dilation=dilation, groups=16)
    gradient = torch.randn(y.shape, generator=generator)
    y.backward(gradient)
    expected.backward(gradient.double())
    torch.testing.assert_close(y.double(), expected, rtol=1e-5, atol=1e-5)
    for own, their in zip(ours, theirs, strict=True):
        assert own.grad is not None
        torch.testing.assert_close(own.grad.double(), their.grad, rtol=1e-5, atol=1e-5)


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 5, padding=2),
        nn.Conv2d(8, 8, 5, padding=2, groups=8),
        nn.Conv2d(8, 8, 7, padding=3, groups=8, stride=2, bias=False),
        nn.Conv2d(8, 8, 3, padding=1, groups=8),
        nn.Conv2d(8, 8, 3, padding=2, groups=8, dilation=2),
        nn.Conv2d(8, 8, 5, padding=1, groups=8),
        nn.Conv2d(8, 8, 5, padding=2, groups=8, padding_mode="circular"),
    ).to(memory_format=torch.channels_last)


@pytest.fixture(autouse=True)
def on_x86(monkeypatch: pytest.MonkeyPatch) -> None:
    """The values do not depend on the processor."""
    monkeypatch.setattr(depthwise, "_IS_ONEDNN_ON_X86", True)


@pytest.mark.parametrize(("precision", "expected"), [("float32", [1, 2, 4]), ("bfloat16", [1, 2, 3, 4])])
def test_replaces_the_convolutions_that_gain_and_puts_them_back(precision: str, expected: list[int]) -> None:
    model = network()
    with fast_depthwise(model, precision):  # type: ignore[arg-type]
        assert [i for i, m in enumerate(model) if "_conv_forward" in m.__dict__] == expected
    assert not any("_conv_forward" in m.__dict__ for m in model)


def test_compiled_models_and_other_processors_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    model = network()
    model[1]._compiled_call_impl = object()
    with fast_depthwise(model):
        assert not any("_conv_forward" in m.__dict__ for m in model)
    model = network()
    monkeypatch.setattr(depthwise, "_IS_ONEDNN_ON_X86", False)
    with fast_depthwise(model):
        assert not any("_conv_forward" in m.__dict__ for m in model)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_network_gets_the_same_gradients(precision: str) -> None:
    model = network()
    reference = copy.deepcopy(model)
    x = torch.randn(4, 3, 12, 12)
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
        with fast_depthwise(model, precision):  # type: ignore[arg-type]
            y = model(x)
        y_reference = reference(x)
    assert y.dtype == y_reference.dtype
    y.float().square().sum().backward()
    y_reference.float().square().sum().backward()
    tolerance = 1e-5 if precision == "float32" else 0.05
    for p, q in zip(model.parameters(), reference.parameters(), strict=True):
        assert p.grad is not None
        assert q.grad is not None
        assert (p.grad - q.grad).norm() <= tolerance * q.grad.norm() + 1e-6


def test_frozen_weights_and_inputs_without_gradient() -> None:
    weight = torch.randn(4, 1, 5, 5)
    x = torch.randn(2, 4, 6, 6, requires_grad=True)
    depthwise_conv2d(x, weight).sum().backward()
    assert x.grad is not None
    weight.requires_grad_()
    depthwise_conv2d(x.detach(), weight).sum().backward()
    assert weight.grad is not None


@pytest.mark.parametrize("kind", [op.ElasticConv2d, TransformedConv2d])
def test_elastic_convolutions_get_the_same_gradients_under_every_width_and_kernel(
    kind: type[op.ElasticConv2d], monkeypatch: pytest.MonkeyPatch
) -> None:
    width, side = op.Choice("width", [8, 16]), op.Choice("side", [3, 5, 7])
    torch.manual_seed(0)
    layers = [op.ElasticConv2d(3, width, 1), kind(width, width, side, 2, padding=3, groups=width, bias=False)]
    supernet = op.Supernet(nn.Sequential(*layers))
    for parameter in supernet.parameters():
        nn.init.normal_(parameter)
    reference = copy.deepcopy(supernet)
    x = torch.randn(4, 3, 12, 12)
    seen: list[int] = []
    fast = depthwise.depthwise_conv2d
    monkeypatch.setattr(
        depthwise, "depthwise_conv2d", lambda x, w, *a, **k: seen.append(w.shape[3]) or fast(x, w, *a, **k)
    )
    for channels, kernel in itertools.product((8, 16), (3, 5, 7)):
        architecture = supernet.space.parse({"width": channels, "side": kernel})
        with fast_depthwise(supernet):
            ours = supernet(x, architecture)
        theirs = reference(x, architecture)
        for model, y in ((supernet, ours), (reference, theirs)):
            model.zero_grad()
            y.square().sum().backward()
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
        for own, their in zip(supernet.parameters(), reference.parameters(), strict=True):
            assert (own.grad is None) == (their.grad is None)
            if own.grad is not None and their.grad is not None:
                assert (own.grad - their.grad).norm() <= 1e-5 * their.grad.norm()
    assert seen == [5, 7, 5, 7]  # torch's own way is as fast for a kernel of 3
    assert not any("convolve" in module.__dict__ for module in supernet.modules())
