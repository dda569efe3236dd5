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


def convert(model: nn.Module, task: op.Task) -> op.Supernet:
    return op.convert(model, torch.zeros(1, *task.input_shape), widths=(0.25, 0.5, 0.75, 1.0))


def test_what_is_not_used_is_cut_first(digits: op.Task, branches: nn.Module) -> None:
    supernet = convert(branches, digits)
    assert {name: len(own) for name, own in blocks_of(supernet).items()} == {"used": 1, "idle": 1}
    whole = op.cost.macs(supernet, end_of(supernet.space, max), digits.input_shape)
    found = op.puzzle(supernet, digits, constraints=[op.MaxMacs(int(0.7 * whole))], epochs=1, num=3)
    assert found.best.options["idle.0.width"] < found.best.options["used.0.width"]
    assert 1 <= len(found.trials) <= 3
    for trial in found.trials:
        assert op.cost.macs(supernet, trial.architecture, digits.input_shape) <= 0.7 * whole


def test_training_the_blocks_lowers_what_their_options_lose(digits: op.Task, branches: nn.Module) -> None:
    job = methods.MemoryJob(convert(branches, digits), digits)
    method = methods.METHODS["puzzle"](epochs=4).resolved(job)

    def losses(trained: methods.Trained) -> dict[object, float]:
        return swapped(job, trained, job.space.choices, lambda option, whole: option.loss - whole.loss)[
            "used.0.width"
        ]

    before = losses(methods.Trained(job.supernet))
    after = losses(job.train(method))
    assert before[32] == after[32] == 0
    assert after[8] < 0.8 * before[8]


def test_a_space_that_nobody_trained_is_one_line(digits: op.Task) -> None:
    supernet = op.spaces.build("ofa-mobilenetv3", 10, 8, in_channels=1, width=0.1)
    with pytest.raises(ConfigurationError, match="method puzzle needs a trained model"):
        op.puzzle(supernet, digits)
