"""A trained model is cut where its accuracy suffers least."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import onepath as op
from onepath import methods
from onepath.errors import ConfigurationError
from onepath.space.ends import end_of


@pytest.fixture(scope="module")
def data() -> op.Task:
    return op.load_data("digits")


@pytest.fixture(scope="module")
def model(data: op.Task) -> nn.Module:
    """Two convolutions side by side; the second one's outputs are not used."""
    torch.manual_seed(0)
    model = Two()
    op.train_model(model, data, recipe=op.Recipe(3, 32, 0.1))
    return model.eval()


class Two(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.used, self.idle = nn.Conv2d(1, 32, 3, 2), nn.Conv2d(1, 32, 3, 2)
        self.head, self.nothing = nn.Linear(32 * 9, 10), nn.Linear(32 * 9, 10)
        nn.init.zeros_(self.nothing.weight)
        self.nothing.weight.requires_grad_(False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.head(self.used(x).relu().flatten(1))
        return y + self.nothing(self.idle(x).relu().flatten(1))


def test_what_is_not_used_is_cut_first(data: op.Task, model: nn.Module) -> None:
    supernet = op.convert(model, torch.zeros(1, *data.input_shape), widths=(0.25, 0.5, 0.75, 1.0))
    whole = op.cost.macs(supernet, end_of(supernet.space, max), data.input_shape)
    weights = {name: value.clone() for name, value in supernet.state_dict().items()}
    found = op.fastnas(supernet, data, constraints=[op.MaxMacs(int(0.7 * whole))])
    assert found.best.options == {"used.width": 32, "idle.width": 8}
    assert found.best_trial.origin == "derived"
    full = (
        methods.MemoryJob(supernet, data)
        .inherited(methods.Trained(supernet))
        .estimate(end_of(supernet.space, max))
    )
    assert found.best_trial.estimate.accuracy == full.accuracy
    assert all(torch.equal(value, weights[name]) for name, value in supernet.state_dict().items())


def test_a_space_that_nobody_trained_is_one_line(data: op.Task) -> None:
    supernet = op.spaces.build("ofa-mobilenetv3", 10, 8, in_channels=1, width=0.1)
    with pytest.raises(ConfigurationError, match="method fastnas needs a trained model"):
        op.fastnas(supernet, data)
    with pytest.raises(ConfigurationError, match="method fastnas needs choices of sizes or depths"):
        op.fastnas(op.spaces.build("nasbench201", 10, 8, in_channels=1, num_cells=1), data)
