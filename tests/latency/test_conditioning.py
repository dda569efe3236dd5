"""No layer of a network that is timed vanishes, overflows or holds NaN."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator

import pytest
import torch
from torch import nn

from onepath.errors import ShapeError, UserError
from onepath.latency.conditioning import conditioned, example


@pytest.fixture(autouse=True)
def _seeded() -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


SHAPE = (3, 6, 6)
TINY = torch.finfo(torch.float32).tiny


def deep(factor: float) -> nn.Module:
    """Forty layers, each of which scales its input by about `factor`."""
    layers: list[nn.Module] = []
    for index in range(40):
        layer = nn.Conv2d(8 if index else 3, 8, 1, bias=index % 2 == 0)
        nn.init.normal_(layer.weight, std=factor)
        layers += [layer, nn.ReLU() if index % 5 == 4 else nn.BatchNorm2d(8)]
    return nn.Sequential(*layers).eval()


def activations(model: nn.Module) -> list[torch.Tensor]:
    x, found = example(SHAPE, 1), []
    with torch.no_grad():
        for layer in model:
            x = layer(x)
            found.append(x)
    return found


@pytest.mark.parametrize("factor", [1e-4, 1e4])
def test_activations_stay_ordinary_numbers(factor: float) -> None:
    model = deep(factor)
    last = activations(model)[-1].abs()
    assert (last < TINY).any() or not last.isfinite().all()
    for layer, x in zip(model, activations(conditioned(model, SHAPE)), strict=True):
        assert x.isfinite().all()
        if not isinstance(layer, nn.ReLU):
            assert 1e-4 < x.abs().max() < 1e5


def test_layers_are_only_scaled() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(64, 5)).eval()
    shrunk = copy.deepcopy(model)
    with torch.no_grad():
        shrunk[0].weight *= 1e-6
        shrunk[0].bias *= 1e-6
    inputs = torch.rand(2, *SHAPE)
    with torch.no_grad():
        expected = model[0](inputs)
        actual = conditioned(shrunk, SHAPE)[0](inputs)
    ratio = actual / expected
    assert torch.allclose(ratio, ratio.mean().expand_as(ratio), rtol=1e-4)


def test_an_ordinary_network_is_copied_as_it_is() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 5)
    ).train()
    copied = conditioned(model, SHAPE)
    assert model.training
    assert not copied.training
    for key, value in model.state_dict().items():
        assert torch.equal(value, copied.state_dict()[key])
        assert value.data_ptr() != copied.state_dict()[key].data_ptr()


def test_weights_that_are_not_finite_are_drawn_afresh_and_the_same_every_time() -> None:
    model = deep(0.5)
    with torch.no_grad():
        model[0].weight[0] = math.nan
        model[4].bias[1] = math.inf
        model[1].running_var[2] = math.nan
    first, second = conditioned(model, SHAPE), conditioned(model, SHAPE)
    assert all(x.isfinite().all() for x in activations(first))
    assert all(
        torch.equal(a, b)
        for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    )
    assert torch.isnan(model[0].weight).any()


def test_a_wrong_shape() -> None:
    with pytest.raises(ShapeError, match=r"inputs of shape \(5, 6, 6\)"):
        conditioned(deep(1.0), (5, 6, 6))


def test_the_example_is_the_same_every_time_and_standard_normal() -> None:
    values = example((3, 32, 32), 4)
    assert values.shape == (4, 3, 32, 32)
    assert values.dtype == torch.float32
    assert torch.equal(values, example((3, 32, 32), 4))
    assert abs(float(values.mean())) < 0.05
    assert abs(float(values.std()) - 1) < 0.05


@pytest.mark.parametrize("shape", [(3, 20_000, 20_000), (10**12,)])
def test_a_batch_of_many_gigabytes_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(UserError, match="a batch must have at most"):
        example(shape, 65_536)
