from __future__ import annotations

import warnings

import pytest
import torch
from morph.changed import images, made
from torch import Tensor, nn

from onepath.errors import ConfigurationError
from onepath.morph.draft import Draft, check_groups


def test_a_draft_computes_in_double_precision_and_ends_in_the_types_and_modes_that_it_had() -> None:
    model = made(nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1))).train()
    model[1].eval()
    model[2].weight.requires_grad_(False)
    model[2].half()
    types = {name: tensor.dtype for name, tensor in model.state_dict().items()}
    draft = Draft(model, "0", images(2))
    assert {tensor.dtype for tensor in draft.model.parameters()} == {torch.float64}
    assert draft.inputs[0].dtype == torch.float64
    assert not draft.model.training
    finished = draft.finished()
    assert {name: tensor.dtype for name, tensor in finished.state_dict().items()} == types
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in finished.state_dict().items())
    assert [module.training for module in finished.modules()] == [True, True, False, True]
    assert not finished[2].weight.requires_grad


def test_a_network_that_needs_its_own_type_keeps_it() -> None:
    class Typed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(x.float())

    draft = Draft(Typed(), "layer", torch.randn(2, 3))
    assert draft.inputs[0].dtype == torch.float32
    assert {tensor.dtype for tensor in draft.model.parameters()} == {torch.float32}


def test_shared_weights_stay_shared() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model[1].weight = model[0].weight
    finished = Draft(model, "0", torch.randn(2, 3)).finished()
    assert finished[1].weight is finished[0].weight
    assert finished[0].weight is not model[0].weight


def test_a_new_module_gets_the_mode_of_an_old_one_and_the_type_of_the_layer() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.ReLU()).train()
    draft = Draft(model, "0", torch.randn(2, 3))
    draft.model[1] = nn.BatchNorm1d(3).double().eval()
    draft.accept(draft.model[1], like=draft.layer)
    finished = draft.finished()
    assert finished[1].training
    assert finished[1].running_var.dtype == torch.float32


def test_groups_of_one_channel_are_depthwise() -> None:
    check_groups("a", nn.Conv2d(8, 16, 1, groups=8))
    check_groups("a", nn.Conv2d(8, 16, 1))
    with pytest.raises(ConfigurationError, match="'a' has 4 groups of 8 channels"):
        check_groups("a", nn.Conv2d(8, 16, 1, groups=4))


def test_a_script_module_is_refused() -> None:
    class Held(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # torch calls it deprecated
                self.inner = torch.jit.script(nn.Linear(3, 2))

        def forward(self, x: Tensor) -> Tensor:
            return self.inner(x)

    with pytest.raises(ConfigurationError, match="Held has a script module"):
        Draft(Held(), "inner", torch.randn(2, 3))
