from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from onepath.errors import ConfigurationError
from onepath.policy import Controller
from onepath.space import Choice, SearchSpace
from onepath.testing import known_space


def randomised(controller: Controller, seed: int = 0) -> Controller:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in controller.parameters():
            parameter.normal_(0, 0.7, generator=generator)
    return controller


def test_a_new_controller_draws_uniformly_with_the_entropy_of_its_choices() -> None:
    space = SearchSpace([Choice("a", [0, 1, 2]), Choice("b", list("wxyz"))])
    controller = Controller(space)
    walked = controller(space.enumerate_matrix())
    torch.testing.assert_close(walked.log_probabilities, torch.full((12,), -math.log(12)))
    torch.testing.assert_close(walked.entropies, torch.full((12,), math.log(3) + math.log(4)))


def test_the_probabilities_of_all_architectures_sum_to_one() -> None:
    """In a space with conditions this holds only if inactive choices take no step."""
    space, _ = known_space()
    walked = randomised(Controller(space, hidden=8, temperature=1.7, tanh_bound=2.0))(
        space.enumerate_matrix()
    )
    total = walked.log_probabilities.double().exp().sum()
    assert total.item() == pytest.approx(1, abs=1e-5)


def test_drawn_architectures_are_canonical_and_have_the_stated_probabilities() -> None:
    space, _ = known_space()
    controller = randomised(Controller(space, hidden=8))
    drawn = controller.sample(20_000, np.random.default_rng(0))
    assert np.array_equal(space.canonical(drawn), drawn)
    every = space.enumerate_matrix()
    probabilities = controller(every).log_probabilities.exp().detach().numpy()
    places = {tuple(row): place for place, row in enumerate(every.tolist())}
    counts = np.bincount([places[tuple(row)] for row in drawn.tolist()], minlength=len(every))
    likely = probabilities > 0.002
    expected = probabilities[likely] * len(drawn)
    assert likely.sum() > 20
    assert np.abs((counts[likely] - expected) / np.sqrt(expected)).max() < 5


def test_what_an_inactive_choice_holds_changes_nothing() -> None:
    """The state skips inactive choices: with depth 1, the LSTM is as if the other blocks did not exist."""
    space, _ = known_space()
    controller = randomised(Controller(space, hidden=8))
    small = SearchSpace([Choice("depth", [1, 2, 3]), *space.choices[1:3]])
    other = Controller(small, hidden=8)
    with torch.no_grad():
        other.cell.load_state_dict(controller.cell.state_dict())
        for mine, theirs in (
            (other.embedding.weight[:-1], controller.embedding.weight),
            (other.embedding.weight[-1:], controller.embedding.weight[-1:]),
            (other.head.weight, controller.head.weight),
            (other.head.bias, controller.head.bias),
        ):
            mine.copy_(theirs[: len(mine)])
    short = space.enumerate_matrix()[:9]
    assert (short[:, 0] == 0).all()
    mine, theirs = other(short[:, :3]), controller(short)
    torch.testing.assert_close(mine.log_probabilities, theirs.log_probabilities)
    torch.testing.assert_close(mine.entropies, theirs.entropies)


def test_later_choices_depend_on_earlier_ones() -> None:
    space = SearchSpace([Choice("a", [0, 1]), Choice("b", [0, 1])])
    logs = randomised(Controller(space, hidden=8))(space.enumerate_matrix()).log_probabilities.detach()
    odds = logs[0] - logs[1] - (logs[2] - logs[3])
    assert abs(odds.item()) > 0.01


def test_the_bound_limits_the_odds_and_the_temperature_flattens() -> None:
    space = SearchSpace([Choice("a", [0, 1, 2])])
    bounded = Controller(space, tanh_bound=1.1)
    hot = Controller(space, temperature=5.0)
    for controller in (bounded, hot):
        with torch.no_grad():
            controller.head.bias.copy_(torch.tensor([50.0, 0.0, -50.0]))
    logs = bounded(space.enumerate_matrix()).log_probabilities
    assert (logs[0] - logs[2]).item() == pytest.approx(2.2, abs=1e-5)
    logs = hot(space.enumerate_matrix()).log_probabilities
    assert (logs[0] - logs[2]).item() == pytest.approx(20, abs=1e-4)


def test_the_seed_decides() -> None:
    space, _ = known_space()
    draws = [Controller(space, seed=seed).cell.weight_hh.detach().clone() for seed in (0, 0, 1)]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


@pytest.mark.parametrize("wrong", [{"hidden": 0}, {"temperature": 0.0}, {"tanh_bound": -1.0}])
def test_numbers_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(wrong))):
        Controller(known_space()[0], **wrong)
