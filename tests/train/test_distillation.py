from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import onepath as op
from onepath.errors import ConfigurationError
from onepath.train import Distillation, alpha_divergence, soft_cross_entropy
from onepath.train.distillation import Divergence

LOGITS = torch.tensor([[1.0, 0.2, -0.5], [0.1, 2.0, 0.3]], dtype=torch.double)
TAUGHT = torch.tensor([[0.4, 0.9, -1.0], [1.0, 1.2, -0.3]], dtype=torch.double)


def gradient(loss: Any, outputs: Tensor, taught: Tensor, **options: Any) -> Tensor:
    outputs = outputs.clone().requires_grad_()
    loss(outputs, taught, **options).backward()
    assert outputs.grad is not None
    return outputs.grad


def test_soft_cross_entropy_is_its_closed_form() -> None:
    expected = -(TAUGHT.softmax(1) * LOGITS.log_softmax(1)).sum(1).mean()
    assert torch.allclose(soft_cross_entropy(LOGITS, TAUGHT), expected)
    slope = (LOGITS.softmax(1) - TAUGHT.softmax(1)) / 2
    assert torch.allclose(gradient(soft_cross_entropy, LOGITS, TAUGHT), slope)


@pytest.mark.parametrize("loss", [soft_cross_entropy, alpha_divergence])
def test_nothing_is_learned_where_both_agree(loss: Any) -> None:
    for shift in (0.0, 3.0):  # scores that differ by a constant say the same
        assert gradient(loss, LOGITS, LOGITS + shift).abs().max() < 1e-12
    assert gradient(loss, LOGITS, TAUGHT).abs().max() > 1e-2


def divergence(outputs: Tensor, taught: Tensor, alpha: float) -> Tensor:
    """The definition, for each example."""
    own, other = outputs.softmax(1), taught.softmax(1)
    if alpha == 1:
        return (other * (other / own).log()).sum(1)
    return (own * ((other / own) ** alpha - 1)).sum(1) / (alpha * (alpha - 1))


def test_alpha_divergence_is_the_larger_of_both_sides() -> None:
    sides = torch.stack([divergence(LOGITS, TAUGHT, alpha) for alpha in (-1, 1)])
    assert torch.allclose(alpha_divergence(LOGITS, TAUGHT, clip=1e9), sides.amax(0).mean())


def test_gradient_of_the_alpha_divergence_by_finite_differences() -> None:
    found = gradient(alpha_divergence, LOGITS, TAUGHT, clip=1e9)
    step = 1e-6
    for row in range(2):
        for column in range(3):
            ahead, behind = LOGITS.clone(), LOGITS.clone()
            ahead[row, column] += step
            behind[row, column] -= step
            slope = (
                alpha_divergence(ahead, TAUGHT, clip=1e9) - alpha_divergence(behind, TAUGHT, clip=1e9)
            ) / (2 * step)
            assert torch.isclose(found[row, column], slope, atol=1e-7)


def test_a_clipped_ratio_bounds_the_gradient() -> None:
    sure = torch.tensor([[20.0, 0.0, -20.0]], dtype=torch.double)
    assert gradient(alpha_divergence, sure, -sure, clip=5.0).abs().max() < 20
    assert gradient(alpha_divergence, sure, -sure, clip=1e12).abs().max() > 100


class Words:
    reads_words = True


def test_the_first_path_learns_from_labels_and_the_others_from_it() -> None:
    task: Any = op.load_data("digits")
    outputs, targets = torch.randn(4, 10), torch.arange(4)
    objective = Distillation(0.1)
    assert objective([outputs], targets, task) == task.loss(outputs, targets, 0.1)
    other = torch.randn(4, 10)
    assert objective([outputs, other], targets, task) == soft_cross_entropy(other, outputs)
    assert objective([outputs, outputs, other], targets, task) == soft_cross_entropy(other, outputs)
    alpha = Distillation(0.0, "alpha")
    assert alpha([outputs, other], targets, task) == alpha_divergence(other, outputs)


@pytest.mark.parametrize("kind", ["cross-entropy", "alpha"])
def test_values_are_compared_by_their_squares_and_words_along_the_last_dimension(kind: Divergence) -> None:
    objective, task = Distillation(0.0, kind), Words()
    one, other = torch.randn(4, 1), torch.randn(4, 1)
    assert objective.distance(one, other, torch.zeros(4, 1), task) == (one - other).square().mean()  # type: ignore[arg-type]
    words, taught = torch.randn(2, 3, 7), torch.randn(2, 3, 7)
    loss = {"cross-entropy": soft_cross_entropy, "alpha": alpha_divergence}[kind]
    found = objective.distance(words, taught, torch.zeros(2, 3, dtype=torch.int64), task)  # type: ignore[arg-type]
    assert found == loss(words, taught, dim=-1)


def test_a_teacher_is_asked_about_each_batch_and_does_not_learn() -> None:
    task: Any = op.load_data("digits")
    teacher = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(64), nn.Linear(64, 10)).train()
    objective = Distillation(0.0, teacher=teacher, ratio=0.5)
    batch = next(iter(task.batches("train", 8)))
    objective.begin(lambda: None, batch.inputs, batch.targets, None)  # type: ignore[arg-type]
    with torch.no_grad():
        taught = teacher.eval()(batch.inputs)
        for parameter in teacher.parameters():
            parameter.zero_()  # the objective has a copy
    outputs = torch.randn(8, 10)
    expected = task.loss(outputs, batch.targets) + 0.5 * soft_cross_entropy(outputs, taught)
    assert torch.allclose(objective([outputs], batch.targets, task), expected)


def test_networks_with_several_outputs_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="networks that return one tensor, but they return tuple"):
        Distillation().distance((torch.zeros(1),), (torch.zeros(1),), torch.zeros(1), None)  # type: ignore[arg-type]
