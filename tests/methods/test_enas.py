"""The method `enas`: the released code's controller, and what is drawn from it."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from small_cells import brightness_task, cell_space

import onepath as op
from onepath import methods
from onepath.methods.enas import aim_at_skips, make_controller, prefer_separable
from onepath.search.policy_search import PolicySearch
from onepath.space import Choice, SearchSpace
from onepath.train.controller_training import ControllerTraining

OPERATIONS = ["sep_conv_3x3", "sep_conv_5x5", "avg_pool_3x3", "max_pool_3x3", "skip_connect"]


def cells() -> SearchSpace:
    return SearchSpace(
        [
            Choice("normal.input", ["0", "1"]),
            Choice("normal.operation", OPERATIONS),
            Choice("reduce.operation", OPERATIONS),
        ]
    )


def probabilities(space: SearchSpace, controller: Any, column: int) -> list[float]:
    """Marginal probability of each option of a choice."""
    rows = space.enumerate_matrix()
    p = controller(rows).log_probabilities.exp().detach()
    return [float(p[rows[:, column] == option].sum()) for option in range(space.num_options[column])]


def test_the_prior_gives_the_probabilities_of_the_released_code() -> None:
    space = cells()
    controller = make_controller(space, 0)
    prefer_separable(controller)
    assert probabilities(space, controller, 1) == pytest.approx([0.315, 0.315, 0.123, 0.123, 0.123], abs=5e-4)
    assert probabilities(space, controller, 2) == pytest.approx([0.254, 0.254, 0.164, 0.164, 0.164], abs=5e-4)
    assert probabilities(space, controller, 0) == pytest.approx([0.5, 0.5])


def test_without_the_prior_the_controller_begins_uniform() -> None:
    space = cells()
    assert probabilities(space, make_controller(space, 0), 1) == pytest.approx([0.2] * 5)


def test_the_bounds_are_those_of_the_released_code() -> None:
    controller = make_controller(cells(), 0)
    assert controller.bounds == pytest.approx([1.1, 0.44, 0.44])


def test_the_divergence_of_skip_connections_is_zero_at_their_target() -> None:
    space = SearchSpace([Choice("operation", OPERATIONS), Choice("0->2", ["none", "skip"])])
    controller = make_controller(space, 0)
    aim_at_skips(controller, 0.4)
    rows = space.enumerate_matrix()
    expected = 0.5 * math.log(0.5 / 0.6) + 0.5 * math.log(0.5 / 0.4)
    torch.testing.assert_close(controller(rows).divergences, torch.full((10,), expected))
    with torch.no_grad():
        wanted = math.log(0.6 / 0.4) / 1.1
        controller.head.bias[controller.options[1]] = torch.tensor([math.atanh(wanted), 0.0])
    torch.testing.assert_close(controller(rows).divergences, torch.zeros(10), atol=1e-6, rtol=0)


def test_the_best_of_what_the_controller_draws_wins() -> None:
    supernet, data = op.Supernet(cell_space()), brightness_task(60, 60)
    options = {"epochs": 2, "controller_steps": 2, "controller_samples": 3, "num": 6, "batch_size": 16}
    found = op.enas(supernet, data, constraints=[op.MaxMacs(200_000)], **options)
    assert len(found.trials) == 6
    assert {trial.origin for trial in found.trials} <= {"policy", "random"}
    assert found.best_trial.estimate.num_validation == data.num_examples("validation")
    costs = op.cost.table(supernet, data.input_shape, "macs")
    assert all(costs.cost(trial.architecture) <= 200_000 for trial in found.trials)


def test_the_controller_is_trained_with_the_weights_and_searched_after() -> None:
    supernet, data = op.Supernet(cell_space()), brightness_task(60, 60)
    job = methods.MemoryJob(supernet, data, batch_size=16)
    method = methods.Enas(epochs=1, controller_steps=2, controller_samples=2).resolved(job)
    assert method.num == 100
    trained = job.train(method)
    assert isinstance(trained.before, ControllerTraining)
    algorithm = method.made_algorithm(job, trained)
    assert isinstance(algorithm, PolicySearch)
    assert algorithm.controller is trained.before.policy.controller
