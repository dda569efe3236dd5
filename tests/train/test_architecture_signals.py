"""What is watched of a differentiable search, when a guard fires, and where it goes back to."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import nn
from train.choice_networks import blocks_supernet
from train.test_architecture import RECIPE, search, searchable

from onepath.errors import ConfigurationError
from onepath.nn import ChoiceBlock, Supernet
from onepath.nn.relaxations import SoftmaxRelaxation
from onepath.spaces import build
from onepath.train import ArchitecturePoint, ArchitectureRecipe, ArchitectureTraining, Guard
from onepath.train.architecture_signals import dominant_eigenvalue, mean_entropy, point
from onepath.train.loop import train_differentiable


def a_point(epoch: int, num_skips: int = 0, eigenvalue: float | None = None) -> ArchitecturePoint:
    return ArchitecturePoint(epoch, 1.0, 0.5, num_skips, eigenvalue, "", {})


def test_guard_fires_on_skips_and_on_a_rising_eigenvalue() -> None:
    guard = Guard(max_skips=2, eigenvalue_ratio=0.75, window=2)
    assert guard.fires([]) is None
    assert guard.fires([a_point(1, 9)]) is None  # the initial logits may still decide
    assert guard.fires([a_point(2, 2)]) is None
    assert "3 skip" in str(guard.fires([a_point(2, 3)]))
    flat = [a_point(epoch, 0, 1.0) for epoch in range(1, 6)]
    assert guard.fires(flat) is None
    rising = [
        a_point(epoch, 0, value) for epoch, value in zip(range(1, 6), (9.0, 1.0, 1.0, 1.5, 1.6), strict=True)
    ]
    assert "eigenvalue" in str(guard.fires(rising))
    assert guard.kept_epoch(rising) == 3  # a window back
    with pytest.raises(ConfigurationError, match="eigenvalue_ratio"):
        Guard(eigenvalue_ratio=1.5)


@pytest.mark.parametrize(
    ("nums_skips", "kept"), [((0, 3), 1), ((0, 3, 3), 1), ((3, 3), 1), ((3, 3, 3), 2), ((3,), 1)]
)
def test_too_many_skips_go_back_to_the_last_epoch_without(nums_skips: tuple[int, ...], kept: int) -> None:
    points = [a_point(epoch, num) for epoch, num in enumerate(nums_skips, start=1)]
    assert Guard(max_skips=2).kept_epoch(points) == kept


def residual(num_blocks: int) -> Supernet:
    """Blocks of a skip connection and a convolution."""

    def block() -> ChoiceBlock:
        return ChoiceBlock({"skip": nn.Identity(), "convolution": nn.Conv2d(3, 3, 1)})

    blocks = nn.Sequential(*(block() for _ in range(num_blocks)))
    return Supernet(nn.Sequential(blocks, nn.Flatten(), nn.Linear(192, 4)))


def with_skips(relaxation: SoftmaxRelaxation, num: int) -> SoftmaxRelaxation:
    with torch.no_grad():
        for index, logits in enumerate(relaxation.logits):
            logits.copy_(torch.tensor([0.1, 0.0] if index < num else [0.0, 0.1]))
    return relaxation


def test_the_guard_fires_on_hand_made_logits() -> None:
    relaxation, guard = SoftmaxRelaxation(residual(4)), Guard(max_skips=2)
    points = []
    for epoch, num in enumerate((1, 2, 3), start=1):
        points.append(point(with_skips(relaxation, num), epoch, None, None, "weights"))
        assert points[-1].num_skips == num
        assert points[-1].num_choices == 4
        assert (guard.fires(points) is not None) == (num == 3)
    assert guard.kept_epoch(points) == 2


def test_a_search_that_begins_with_skips_does_not_end_with_the_initial_logits(toys: Any) -> None:
    supernet = residual(4)
    relaxation = with_skips(SoftmaxRelaxation(supernet), 4)
    initial = relaxation.weights_of()
    architecture = ArchitectureTraining(
        supernet, relaxation, ArchitectureRecipe(), seed=0, guard=Guard(max_skips=2)
    )
    train_differentiable(supernet, searchable(toys), architecture, recipe=RECIPE)
    assert architecture.stopped == "4 skip connections, after epoch 2"
    assert relaxation.weights_of() == architecture.points[0].weights != initial


def test_a_rising_eigenvalue_takes_the_logits_back_by_the_window(
    toys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = iter([1.0, 1.0, 1.0, 2.0, 2.0, 2.0])
    monkeypatch.setattr(
        "onepath.train.architecture.dominant_eigenvalue", lambda *arguments: next(values, 2.0)
    )
    guard = Guard(eigenvalue_ratio=0.75, window=2)
    supernet = blocks_supernet((3, 2))
    relaxation = SoftmaxRelaxation(supernet)
    architecture = ArchitectureTraining(
        supernet, relaxation, ArchitectureRecipe(learning_rate=0.05), seed=0, guard=guard
    )
    recipe = dataclasses.replace(RECIPE, epochs=6)
    train_differentiable(supernet, searchable(toys), architecture, recipe=recipe)
    assert (architecture.stopped_epoch, architecture.kept_epoch) == (5, 3)
    weights = [p.weights for p in architecture.points]
    assert weights[5] == weights[2] == relaxation.weights_of()  # after epochs 6 and 3
    assert weights[2] != weights[3]


class AtEpochTwo(Guard):
    """Fires after two epochs of the logits' training."""

    def fires(self, points: Any) -> str | None:
        return "enough" if len(points) == 2 else None

    def kept_epoch(self, points: Any) -> int:
        return 1


def test_a_guard_that_fires_takes_the_logits_back(toys: Any) -> None:
    _, free = search(toys)
    _, stopped = search(toys, guard=AtEpochTwo())
    assert stopped.stopped == "enough, after epoch 2"
    assert stopped.points[:2] == free.points[:2]
    assert stopped.points[2].weights == free.points[0].weights
    assert stopped.points[2].loss is None


@pytest.mark.parametrize("stop_after", [6, 9, 11])  # before it fires, at once after, later
def test_a_search_stopped_by_a_guard_is_resumed_alike(toys: Any, stop_after: int) -> None:
    whole, expected = search(toys, guard=AtEpochTwo())

    class StopError(Exception):
        pass

    def stop(done: int, _: int) -> None:
        if done == stop_after:
            raise StopError

    checkpoint = toys.MemoryCheckpoint(always=True)
    with pytest.raises(StopError):
        search(toys, checkpoint=checkpoint, guard=AtEpochTwo(), on_update=stop)
    resumed, found = search(toys, checkpoint=checkpoint, guard=AtEpochTwo())
    assert found.stopped == expected.stopped == "enough, after epoch 2"
    assert (found.stopped_epoch, found.kept_epoch) == (2, 1)
    assert found.points == expected.points
    for ours, theirs in zip(expected.logits, found.logits, strict=True):
        assert torch.equal(ours, theirs)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def test_a_guard_does_not_judge_the_warm_up_and_has_its_eigenvalues(toys: Any) -> None:
    class Seeing(Guard):
        seen: ClassVar[list[list[int]]] = []

        def fires(self, points: Any) -> str | None:
            self.seen.append([p.epoch for p in points])
            return None

    _, found = search(toys, guard=Seeing(eigenvalue_ratio=0.75), warmup_epochs=1)
    assert Seeing.seen == [[1], [1, 2]]  # the first epoch, which trained weights alone, is not among them
    assert all(point.eigenvalue is not None for point in found.points)


def test_skips_are_told_by_what_they_do() -> None:
    def skips(name: str, **sizes: Any) -> set[str]:
        supernet = build(name, num_classes=5, **sizes)
        return set().union(*SoftmaxRelaxation(supernet).skips)

    assert skips("proxylessnas", input_size=16, width=0.25) == {"zero"}
    assert skips("nasbench-macro", input_size=16, width=0.25) == {"identity"}
    assert skips("darts-rnn", width=0.05) == set()  # its identity is an activation


def test_entropy_of_equal_and_of_decided_probabilities() -> None:
    relaxation = SoftmaxRelaxation(blocks_supernet((3, 2)), deviation=0.0)
    assert mean_entropy(relaxation) == pytest.approx(1.0)
    with torch.no_grad():
        for p in relaxation.logits:
            p[0] = 60.0
    assert mean_entropy(relaxation) == pytest.approx(0.0, abs=1e-6)


def test_dominant_eigenvalue_of_a_quadratic() -> None:
    vectors, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(5, 5)))
    hessian = torch.from_numpy(vectors @ np.diag([-4.0, 2.0, 1.0, 0.5, 0.1]) @ vectors.T)
    a, b = torch.zeros(2, dtype=torch.float64), torch.ones(3, dtype=torch.float64)
    before = [a.clone(), b.clone()]
    found = dominant_eigenvalue(
        lambda: (hessian @ torch.cat([a, b])).split([2, 3]),
        [a, b],
        torch.ones(5, dtype=torch.float64),
        num_iterations=30,
    )
    assert found == pytest.approx(-4.0, rel=1e-6)
    assert torch.equal(a, before[0])
    assert torch.equal(b, before[1])
