"""A trained model, whose blocks are trained by themselves and chosen by a mixed-integer program."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import onepath as op
from onepath import methods
from onepath.errors import ConfigurationError
from onepath.methods.fastnas import swapped
from onepath.nn.blocks import blocks_of
from onepath.space.ends import end_of


class Two(nn.Module):
    """Two branches of equal size, of which only one reaches the output."""

    def __init__(self) -> None:
        super().__init__()
        self.used = nn.Sequential(nn.Conv2d(1, 32, 3, 2), nn.ReLU(), nn.Conv2d(32, 8, 1))
        self.idle = nn.Sequential(nn.Conv2d(1, 32, 3, 2), nn.ReLU(), nn.Conv2d(32, 8, 1))
        self.head, self.nothing = nn.Linear(72, 10), nn.Linear(72, 10)
        nn.init.zeros_(self.nothing.weight)
        self.nothing.weight.requires_grad_(False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.head(self.used(x).relu().flatten(1))
        return y + self.nothing(self.idle(x).relu().flatten(1))


@pytest.fixture(scope="module")
def data() -> op.Task:
    return op.load_data("digits")


@pytest.fixture(scope="module")
def model(data: op.Task) -> nn.Module:
    torch.manual_seed(0)
    model = Two()
    op.train_model(model, data, recipe=op.Recipe(3, 32, 0.1))
    return model.eval()


def convert(model: nn.Module, data: op.Task) -> op.Supernet:
    return op.convert(model, torch.zeros(1, *data.input_shape), widths=(0.25, 0.5, 0.75, 1.0))


def test_what_is_not_used_is_cut_first(data: op.Task, model: nn.Module) -> None:
    supernet = convert(model, data)
    assert {name: len(own) for name, own in blocks_of(supernet).items()} == {"used": 1, "idle": 1}
    whole = op.cost.macs(supernet, end_of(supernet.space, max), data.input_shape)
    found = op.puzzle(supernet, data, constraints=[op.MaxMacs(int(0.7 * whole))], epochs=1, num=3)
    assert found.best.options["idle.0.width"] < found.best.options["used.0.width"]
    assert 1 <= len(found.trials) <= 3
    for trial in found.trials:
        assert op.cost.macs(supernet, trial.architecture, data.input_shape) <= 0.7 * whole


def test_training_the_blocks_lowers_what_their_options_lose(data: op.Task, model: nn.Module) -> None:
    job = methods.MemoryJob(convert(model, data), data)
    method = methods.METHODS["puzzle"](epochs=4).resolved(job)

    def losses(trained: methods.Trained) -> dict[object, float]:
        return swapped(job, trained, lambda option, whole: option.loss - whole.loss)["used.0.width"]

    before = losses(methods.Trained(job.supernet))
    after = losses(job.train(method))
    assert before[32] == after[32] == 0
    assert after[8] < 0.8 * before[8]


def test_a_space_that_nobody_trained_is_one_line(data: op.Task) -> None:
    supernet = op.spaces.build("ofa-mobilenetv3", 10, 8, in_channels=1, width=0.1)
    with pytest.raises(ConfigurationError, match="method puzzle needs a trained model"):
        op.puzzle(supernet, data)
