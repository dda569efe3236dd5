"""A score as an estimator."""

from __future__ import annotations

import math

import pytest
import torch

from onepath.data import Task
from onepath.errors import ConfigurationError
from onepath.estimate import ScoreEstimator, score
from onepath.methods import search_supernet
from onepath.nn import Supernet
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
