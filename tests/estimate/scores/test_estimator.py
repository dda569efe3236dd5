"""A score as an estimator."""

from __future__ import annotations

import math

import pytest
import torch

import onepath as op
from onepath.data import Task
from onepath.errors import ConfigurationError
from onepath.estimate import ScoreEstimator, score
from onepath.methods import search_supernet
from onepath.nn import Supernet
from onepath.randomness import generator
from onepath.search import RandomSearch


def test_scores_the_stand_alone_network_with_fresh_weights(supernet: Supernet, task: Task) -> None:
    estimator = ScoreEstimator("snip", supernet, task, batch_size=16, seed=3)
    architecture = supernet.space.parse("1,2")
    before = {name: value.clone() for name, value in supernet.state_dict().items()}
    found = estimator.estimate(architecture)
    inputs, targets = next(task.batches("train", 16, num_examples=16, seed=3))
    model = supernet.extract(architecture, inherit=False, seed=3)
    assert found.accuracy == score("snip", model, inputs, targets, seed=3) == estimator.value(architecture)
    assert (found.loss, found.num_validation) == (0.0, 16)
    assert estimator.estimate(architecture).seconds == found.seconds  # not computed again
    assert all(torch.equal(value, before[name]) for name, value in supernet.state_dict().items())


def test_a_search_maximises_it(supernet: Supernet, task: Task) -> None:
    estimator = ScoreEstimator("params", supernet, task)
    found = search_supernet(supernet, task, RandomSearch(supernet.space, num=9), estimator=estimator)
    assert len(found.trials) == 9
    assert str(found.best) == "2,2"
    assert estimator.num_degenerate == 0


def test_options_and_unknown_scores(supernet: Supernet, task: Task) -> None:
    architecture = supernet.space.parse("0,0")
    one, other = (
        ScoreEstimator("zen", supernet, task, options={"norm": norm}).value(architecture)
        for norm in ("l1", "l2")
    )
    assert one > other > -math.inf
    with pytest.raises(ConfigurationError, match="must be one of"):
        ScoreEstimator("accuracy", supernet, task)


def test_a_score_sees_into_blocks_that_start_as_identities(task: Task) -> None:
    """As if their last scale, which is 0 at first, were 1."""
    _, *shape = task.input_shape
    supernet = op.spaces.build("ofa-mobilenetv3", task.num_classes, shape[0], task.input_shape[0], width=0.25)
    architecture = supernet.space.random(generator(0, "scored"))
    found = ScoreEstimator("snip", supernet, task, batch_size=8).value(architecture)
    inputs, targets = next(task.batches("train", 8, num_examples=8, seed=0))
    model = supernet.extract(architecture, inherit=False, seed=0)
    hidden = score("snip", model, inputs, targets, seed=0)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.ones_(module.weight)
    assert found == score("snip", model, inputs, targets, seed=0) != hidden
