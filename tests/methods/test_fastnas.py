"""A trained model is cut where its accuracy suffers least."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import onepath as op
from onepath import methods
from onepath.errors import ConfigurationError
from onepath.space.ends import end_of


def test_what_is_not_used_is_cut_first(digits: op.Task, branches: nn.Module) -> None:
    supernet = op.convert(branches, torch.zeros(1, *digits.input_shape), widths=(0.25, 0.5, 0.75, 1.0))
    whole = op.cost.macs(supernet, end_of(supernet.space, max), digits.input_shape)
    weights = {name: value.clone() for name, value in supernet.state_dict().items()}
    found = op.fastnas(supernet, digits, constraints=[op.MaxMacs(int(0.7 * whole))])
    assert found.best.options == {"used.0.width": 32, "idle.0.width": 8}
    assert found.best_trial.origin == "derived"
    full = (
        methods.MemoryJob(supernet, digits)
        .inherited(methods.Trained(supernet))
        .estimate(end_of(supernet.space, max))
    )
    assert found.best_trial.estimate.accuracy == full.accuracy
    assert all(torch.equal(value, weights[name]) for name, value in supernet.state_dict().items())


def test_a_space_that_nobody_trained_is_one_line(digits: op.Task) -> None:
    supernet = op.spaces.build("ofa-mobilenetv3", 10, 8, in_channels=1, width=0.1)
    with pytest.raises(ConfigurationError, match="method fastnas needs a trained model"):
        op.fastnas(supernet, digits)
    with pytest.raises(ConfigurationError, match="method fastnas needs choices of sizes or depths"):
        op.fastnas(op.spaces.build("nasbench201", 10, 8, in_channels=1, num_cells=1), digits)
