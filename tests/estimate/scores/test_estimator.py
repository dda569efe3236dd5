"""A score as an estimator."""

from __future__ import annotations

import math
import statistics

import pytest
import torch
from torch import nn

import onepath as op
from onepath.data import Task
from onepath.errors import ConfigurationError
from onepath.estimate import ScoreEstimator, score
from onepath.methods import search_supernet
from onepath.nn import ChoiceBlock, Supernet
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


def test_several_scores_are_averaged_in_standard_deviations(supernet: Supernet, task: Task) -> None:
    reference = [supernet.space.parse(text) for text in ("0,0", "1,2", "2,1")]
    names, architecture = ("params", "grad_norm"), supernet.space.parse("2,2")
    alone = {name: ScoreEstimator(name, supernet, task, batch_size=16, seed=3) for name in names}
    mean = ScoreEstimator("params+grad_norm", supernet, task, batch_size=16, seed=3, reference=reference)
    expected = 0.0
    for estimator in alone.values():
        values = [estimator.value(each) for each in reference]
        expected += (estimator.value(architecture) - statistics.fmean(values)) / statistics.pstdev(values) / 2
    assert mean.value(architecture) == pytest.approx(expected)


def test_a_score_that_is_the_same_everywhere_says_nothing_in_a_mean(supernet: Supernet, task: Task) -> None:
    architecture = supernet.space.parse("2,2")
    mean = ScoreEstimator("params+layers", supernet, task, reference=[architecture] * 3)
    assert mean.value(architecture) == 0.0


def test_a_network_about_which_one_score_says_nothing_is_degenerate(task: Task) -> None:
    size = math.prod(task.input_shape)
    block = ChoiceBlock(
        [nn.Linear(size, 4), nn.Sequential(nn.Linear(size, 256), nn.ReLU(), nn.Linear(256, 4))]
    )
    supernet = op.Supernet(nn.Sequential(nn.Flatten(), block))
    plain, rectified = (supernet.space.parse(text) for text in "01")  # nwot needs a ReLU
    mean = ScoreEstimator("nwot+params", supernet, task, reference=[rectified] * 2)
    assert mean.value(rectified) == 0.0
    assert mean.value(plain) == -math.inf
    assert mean.num_degenerate == 1
    # A score that says nothing about the reference is left out.
    mean = ScoreEstimator("nwot+params", supernet, task, reference=[plain] * 2)
    assert mean.value(rectified) > mean.value(plain) == 0.0
    mean = ScoreEstimator("nwot+jacob_cov", supernet, task, reference=[plain] * 2)
    assert mean.value(plain) == 0.0


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nwot+nwott", "did you mean nwot"),
        ("nwot+nwot", "takes each score once"),
        ("nwot+params", "two or more reference architectures, but got 0"),
    ],
)
def test_wrong_means_are_one_line(supernet: Supernet, task: Task, name: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        ScoreEstimator(name, supernet, task)
