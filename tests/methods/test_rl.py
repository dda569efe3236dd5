"""The method `rl`: what its search trains, and at which budget."""

from __future__ import annotations

from typing import Any

import pytest

import onepath as op
from onepath import methods
from onepath.errors import ConfigurationError
from onepath.estimate import StandaloneEstimator
from onepath.search import RegularizedEvolution, Reinforce


@pytest.fixture(scope="module")
def digits() -> op.Task:
    return op.load_data("digits").part(0.2)


def job_of(data: op.Task, **settings: Any) -> methods.MemoryJob:
    supernet = op.spaces.build("nasbench-macro", num_classes=10, in_channels=1, input_size=8, width=0.125)
    return methods.MemoryJob(supernet, data, constraints=[op.MaxMacs("400k")], **settings)


def test_each_proposal_is_trained_alone_at_the_proxy_budget(
    digits: op.Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = []

    def train(model: Any, task: op.Task, *, recipe: op.Recipe, **_: Any) -> None:
        trained.append((task.num_examples("train"), task.input_shape, recipe.epochs))

    monkeypatch.setattr("onepath.estimate.standalone.train_model", train)
    method = methods.Rl(num=3, proxy_epochs=2, proxy_subset=0.5, proxy_resolution=6)
    found = method.run(job_of(digits))
    assert len(found.trials) == 3
    assert trained == [(round(0.5 * digits.num_examples("train")), (1, 6, 6), 2)] * 3
    assert isinstance(found.estimator, StandaloneEstimator)
    assert {trial.origin for trial in found.trials} == {"policy"}


def test_the_options_reach_the_controller(digits: op.Task) -> None:
    options = {
        "controller_batch": 4,
        "controller_temperature": 2.0,
        "controller_bound": 1.5,
        "controller_entropy": 0.01,
    }
    algorithm = (
        methods.Rl(num=7, **options)
        .resolved(job := job_of(digits))
        .made_algorithm(job, methods.Trained(job.supernet))
    )
    assert isinstance(algorithm, Reinforce)
    assert (algorithm.num, algorithm.batch) == (7, 4)
    assert (algorithm.controller.temperature, algorithm.controller.bounds[0]) == (2.0, 1.5)
    assert algorithm._gradient.entropy == 0.01


def test_another_algorithm_proposes_instead(digits: op.Task) -> None:
    method = methods.Rl(num=7, algorithm="regularized-evolution").resolved(job := job_of(digits))
    assert isinstance(method.made_algorithm(job, methods.Trained(job.supernet)), RegularizedEvolution)


def test_the_controller_serves_a_supernet_and_a_score(digits: op.Task) -> None:
    supernet = job_of(digits).supernet
    found = op.spos(supernet, digits, algorithm="reinforce", epochs=1, num=4, population=2)
    assert len(found.trials) == 4
    fresh = job_of(digits).supernet
    scored = op.zen(fresh, digits, proxy="layers", algorithm="reinforce", num=4, epochs=1)
    assert len(scored.found.trials) == 4


def test_defaults_follow_the_size_of_the_data(digits: op.Task) -> None:
    resolved = methods.Rl().resolved(job_of(digits, retrain_epochs=13))
    assert (resolved.proxy_epochs, resolved.num) == (3, 50)


def test_a_supernet_has_no_other_width(digits: op.Task) -> None:
    with pytest.raises(ConfigurationError, match="another width needs a space that a run builds"):
        methods.Rl(num=2, proxy_width=0.5).run(job_of(digits))
