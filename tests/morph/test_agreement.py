from __future__ import annotations

import pytest
import torch
from morph.changed import images, made
from torch import Tensor, nn

from onepath.errors import ConfigurationError
from onepath.morph.agreement import check_agreement, outputs_of, trials_of


def network() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5), nn.Conv2d(4, 2, 1)
    )


def test_both_modes_are_tried_alone_and_with_random_examples() -> None:
    model, x = made(network()).train(), torch.zeros(2, 3, 8, 8)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    trials = trials_of(model, (x,))
    modes = [(trial.is_training, trial.is_varied) for trial in trials]
    assert modes == [(False, False), (False, True), (True, False), (True, True)]
    assert [len(trial.inputs[0]) for trial in trials] == [2, 4, 2, 4]
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    check_agreement(trials, model, "nothing")


@pytest.mark.parametrize(
    ("name", "index", "mode"),
    [("0.weight", 0, "evaluation"), ("1.running_var", 1, "evaluation"), ("1.bias", 2, "evaluation")],
)
def test_a_change_that_zeros_do_not_show_is_found(name: str, index: int, mode: str) -> None:
    model = made(network()).double()
    other = made(network()).double()
    trials = trials_of(model, (torch.zeros(2, 3, 8, 8, dtype=torch.float64),))
    other.state_dict()[name][index] *= 1.00001
    with pytest.raises(ConfigurationError, match=rf"testing must not change .* in {mode} mode an output"):
        check_agreement(trials, other, "testing")


def test_a_change_that_only_training_mode_shows_is_found() -> None:
    class Scaled(nn.Module):
        factor = 1.0

        def forward(self, x: Tensor) -> Tensor:
            return x * self.factor if self.training else x

    model = nn.Sequential(Scaled())
    trials = trials_of(model, (images(2),))
    model[0].factor = 1.1
    with pytest.raises(ConfigurationError, match="in training mode an output changes by 0"):
        check_agreement(trials, model, "testing")


def test_other_shapes_nan_and_errors_are_found() -> None:
    model = made(network())
    trials = trials_of(model, (images(2),))
    with pytest.raises(ConfigurationError, match="changes by inf"):
        check_agreement(trials, nn.Sequential(model, nn.Flatten()), "testing")
    with pytest.raises(ConfigurationError, match=r"testing must leave a network that runs, .*RuntimeError"):
        check_agreement(trials, nn.Linear(7, 2), "testing")
    model[4].bias.data[0] = torch.nan
    with pytest.raises(ConfigurationError, match="changes by nan"):
        check_agreement(trials, model, "testing")


def test_trials_that_a_network_rejects_are_left_out() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    modes = [(trial.is_training, trial.is_varied) for trial in trials_of(model, (torch.randn(1, 3),))]
    assert modes == [(False, False), (False, True), (True, True)]  # training needs two examples


@pytest.mark.parametrize("wrong", ["random", "infinite", "whole numbers"])
def test_a_network_whose_outputs_cannot_be_compared_is_refused(wrong: str) -> None:
    class Wrong(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return {"random": x + torch.rand_like(x), "infinite": x / 0, "whole numbers": x.argmax(1)}[wrong]

    with pytest.raises(ConfigurationError, match="the same finite numbers each time"):
        trials_of(Wrong(), (images(2),))


def test_what_draws_random_numbers_in_training_alone_is_checked_in_evaluation() -> None:
    class Jitter(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x + torch.rand_like(x) if self.training else x

    assert [trial.is_training for trial in trials_of(Jitter(), (images(2),))] == [False, False]


def test_dropout_is_off() -> None:
    x = images(2)
    assert torch.equal(outputs_of(nn.Dropout(0.9), (x,), is_training=True)[0], x)
