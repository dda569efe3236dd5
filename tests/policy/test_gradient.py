from __future__ import annotations

import numpy as np
import pytest
import torch

from onepath.errors import ConfigurationError
from onepath.policy import Controller, MovingMean, PolicyGradient, surrogate_loss
from onepath.space import Choice, SearchSpace

ARMS = SearchSpace([Choice("arm", [0, 1, 2])])
REWARDS = np.array([1.0, 2.0, 4.0])


def bandit() -> Controller:
    controller = Controller(ARMS, hidden=4)
    with torch.no_grad():
        controller.head.bias.copy_(torch.tensor([0.5, 0.2, -0.4]))
    return controller


def estimates(controller: Controller, num: int, baseline: float) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of REINFORCE's estimate of the gradient with respect to the three logits."""
    drawn = controller.sample(num, np.random.default_rng(0))[:, 0]
    each = []
    for arm in range(3):
        walked = controller(np.array([[arm]], dtype=ARMS.dtype))
        loss = surrogate_loss(walked.log_probabilities, torch.tensor([REWARDS[arm] - baseline]))
        (gradient,) = torch.autograd.grad(loss, [controller.head.bias])
        each.append(-gradient.numpy())
    found = np.array(each)[drawn]
    return found.mean(axis=0), found.var(axis=0)


def test_the_mean_gradient_is_that_of_the_expected_reward() -> None:
    """With p = softmax(logits): d sum(p R) / d logit_a = p_a (R_a - sum(p R))."""
    controller = bandit()
    p = controller(ARMS.enumerate_matrix()).log_probabilities.exp().detach().numpy()
    analytic = p * (REWARDS - p @ REWARDS)
    mean, _ = estimates(controller, 100_000, float(p @ REWARDS))
    assert np.linalg.norm(mean - analytic) < 0.02 * np.linalg.norm(analytic)


def test_a_baseline_cuts_the_variance_and_keeps_the_mean() -> None:
    controller = bandit()
    p = controller(ARMS.enumerate_matrix()).log_probabilities.exp().detach().numpy()
    without, wide = estimates(controller, 200_000, 0.0)
    with_baseline, narrow = estimates(controller, 200_000, float(p @ REWARDS))
    np.testing.assert_allclose(without, with_baseline, atol=4 * np.sqrt(wide.max() / 200_000))
    assert (narrow < 0.5 * wide).all()


def test_a_batch_gives_the_mean_of_its_samples() -> None:
    controller = bandit()
    rows = np.array([[0], [2], [2], [1]], dtype=ARMS.dtype)
    advantages = torch.tensor([0.3, -0.2, 0.5, 1.0])
    loss = surrogate_loss(controller(rows).log_probabilities, advantages)
    (whole,) = torch.autograd.grad(loss, [controller.head.bias])
    p = controller(ARMS.enumerate_matrix()).log_probabilities.exp().detach()
    expected = sum(
        -advantage * (torch.eye(3)[row] - p) / 4
        for row, advantage in zip(rows[:, 0], advantages, strict=True)
    )
    torch.testing.assert_close(whole, expected)


def test_the_baseline_is_taken_before_it_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[float]] = []
    monkeypatch.setattr(
        "onepath.policy.gradient.surrogate_loss",
        lambda logs, advantages: seen.append(advantages.tolist()) or surrogate_loss(logs, advantages),
    )
    gradient = PolicyGradient(bandit(), baseline_decay=0.5)
    rows = np.array([[0], [1]], dtype=ARMS.dtype)
    gradient.step(rows, [1.0, 3.0])
    gradient.step(rows, [4.0, 8.0])
    assert seen == [[-1.0, 1.0], [2.0, 6.0]]
    assert gradient.baseline.value == 4.0


def test_the_entropy_alone_makes_the_policy_uniform() -> None:
    controller = bandit()
    gradient = PolicyGradient(controller, learning_rate=0.05, entropy=1.0)
    rows = ARMS.enumerate_matrix()
    for _ in range(200):
        gradient.step(rows, [0.0, 0.0, 0.0])
    p = controller(rows).log_probabilities.exp().detach()
    torch.testing.assert_close(p, torch.full((3,), 1 / 3), atol=0.01, rtol=0)


def test_a_policy_finds_the_best_arm_of_five() -> None:
    arms = SearchSpace([Choice("arm", list(range(5)))])
    rewards = np.array([0.1, 0.5, 0.9, 0.2, 0.7])
    controller = Controller(arms, hidden=16)
    gradient, rng = PolicyGradient(controller), np.random.default_rng(0)
    for _ in range(500):
        rows = controller.sample(1, rng)
        gradient.step(rows, [float(rewards[rows[0, 0]])])
    p = controller(arms.enumerate_matrix()).log_probabilities.exp()
    assert p[2].item() > 0.9


def test_a_state_continues_to_the_bit() -> None:
    rows = np.array([[0], [2]], dtype=ARMS.dtype)
    whole = PolicyGradient(bandit())
    for step in range(4):
        whole.step(rows, [1.0, 2.0 + step])
    first = PolicyGradient(bandit())
    for step in range(2):
        first.step(rows, [1.0, 2.0 + step])
    second = PolicyGradient(Controller(ARMS, hidden=4, seed=5))
    second.load_state_dict(first.state_dict())
    for step in range(2, 4):
        second.step(rows, [1.0, 2.0 + step])
    for mine, theirs in zip(whole.controller.parameters(), second.controller.parameters(), strict=True):
        assert torch.equal(mine, theirs)
    assert whole.baseline.value == second.baseline.value


@pytest.mark.parametrize("wrong", [{"learning_rate": 0.0}, {"entropy": -1.0}, {"baseline_decay": 1.0}])
def test_numbers_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigurationError):
        PolicyGradient(bandit(), **wrong)


def test_the_first_move_takes_the_mean() -> None:
    mean = MovingMean(0.9)
    assert mean.value is None
    mean.move([1.0, 3.0])
    assert mean.value == 2.0
    mean.move([12.0])
    assert mean.value == pytest.approx(3.0)
