from __future__ import annotations

import pytest
import torch
from torch import nn

from onepath.cost import module_cost
from onepath.errors import ShapeError


@pytest.mark.parametrize(
    ("layer", "shape", "macs", "params"),
    [
        (nn.Conv2d(3, 8, 3, padding=1), (3, 10, 10), 100 * 8 * 27, 8 * 27 + 8),
        (nn.Conv2d(8, 8, 5, stride=2, padding=2, groups=8, bias=False), (8, 9, 9), 25 * 8 * 25, 200),
        (nn.Conv2d(8, 12, 1, groups=4), (8, 4, 4), 16 * 12 * 2, 24 + 12),
        (nn.Conv1d(4, 6, 3), (4, 10), 8 * 6 * 12, 72 + 6),
        (nn.ConvTranspose2d(4, 6, 2, stride=2), (4, 5, 5), 25 * 4 * 6 * 4, 96 + 6),
        (nn.Linear(7, 5), (7,), 35, 40),
        (nn.Sequential(nn.BatchNorm2d(4), nn.ReLU(), nn.AvgPool2d(2)), (4, 4, 4), 0, 8),
    ],
)
def test_closed_forms(layer: nn.Module, shape: tuple[int, ...], macs: int, params: int) -> None:
    cost = module_cost(layer, shape)
    assert (cost.macs, cost.params) == (macs, params)


def test_a_layer_used_twice_counts_its_work_twice_and_its_weights_once() -> None:
    shared = nn.Linear(3, 3, bias=False)
    cost = module_cost(nn.Sequential(shared, nn.ReLU(), shared), (3,))
    assert (cost.macs, cost.params) == (18, 9)


def test_the_model_is_not_changed() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    module_cost(model, (3, 8, 8))
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not model[0]._forward_hooks
    assert model(torch.randn(2, 3, 8, 8)).shape == (2, 4, 6, 6)


def test_wrong_shape_is_one_line() -> None:
    with pytest.raises(ShapeError, match=r"inputs of shape \(4, 8, 8\)") as error:
        module_cost(nn.Conv2d(3, 4, 3), (4, 8, 8))
    assert "\n" not in str(error.value)
