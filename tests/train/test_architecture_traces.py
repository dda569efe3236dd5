"""What the logits' steps take from the training around them, and what they leave behind: nothing."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from data.texts import random_task
from torch import Tensor, nn
from torch.nn import functional
from train.choice_networks import blocks_supernet
from train.test_architecture import RECIPE, searchable

import onepath as op
from onepath.data import Task
from onepath.errors import ConfigurationError
from onepath.nn import ChoiceBlock, Supernet
from onepath.nn.frozen_statistics import frozen_statistics
from onepath.nn.relaxations import (
    BinaryRelaxation,
    GumbelRelaxation,
    Relaxation,
    SoftmaxRelaxation,
    TwoPathRelaxation,
)
from onepath.train import ArchitectureRecipe, ArchitectureTraining, Recipe, differentiable_phases
from onepath.train.architecture_recipe import Order
from onepath.train.loop import train_differentiable
from onepath.train.training import Training

KINDS: dict[type[Relaxation], Order] = {
    SoftmaxRelaxation: "second",
    GumbelRelaxation: "second",
    BinaryRelaxation: "first",
    TwoPathRelaxation: "first",
}


def training_of(
    supernet: Supernet, task: Any, architecture: ArchitectureTraining, recipe: Recipe
) -> Training:
    phases = differentiable_phases(architecture, recipe)
    return Training(supernet, supernet, task, phases, seed=0, device=torch.device("cpu"))


def images() -> Task:
    pixels = np.random.default_rng(0).integers(0, 255, (40, 16, 16, 3)).astype(np.uint8)
    return op.load_data((pixels, np.arange(40) % 3), validation_fraction=0.4)


def convolutional() -> tuple[Supernet, Task]:
    return op.spaces.build("darts", 3, 16, channels=2, cells=3), images()


def recurrent() -> tuple[Supernet, Task]:
    return op.spaces.build("darts-rnn", 7, hidden=8, num_nodes=2), random_task(400, 7, length=8)


@pytest.mark.parametrize("kind", [GumbelRelaxation, BinaryRelaxation, TwoPathRelaxation])
@pytest.mark.parametrize("make", [convolutional, recurrent])
def test_a_step_on_the_spaces_of_darts_leaves_all_but_the_logits_alone(
    make: Any, kind: type[Relaxation]
) -> None:
    supernet, task = make()
    recipe = ArchitectureRecipe(order=KINDS[kind], clip_norm=0.25)
    architecture = ArchitectureTraining(supernet, kind(supernet), recipe, seed=0)
    weights = Recipe(epochs=2, batch_size=8, learning_rate=0.1, label_smoothing=0.0)
    training = training_of(supernet, task, architecture, weights)
    supernet.train()
    inputs, targets = next(iter(task.train_batches(8, seed=0, num_updates=1)))
    before = copy.deepcopy(supernet.state_dict())
    logits = [p.detach().clone() for p in architecture.logits]
    architecture.step(training, inputs, targets, 0.1)
    for name, value in supernet.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert all(p.grad is None for p in supernet.parameters())
    assert any(not torch.equal(a, b) for a, b in zip(logits, architecture.logits, strict=True))
    copy.deepcopy(supernet)  # no gate with a graph is left


class Dropping(nn.Module):
    """Normalisation and dropout around a block, so that modes and random numbers matter."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3, stride=4), nn.BatchNorm2d(4), nn.Dropout(0.3))
        self.block = ChoiceBlock([nn.Sequential(nn.Conv2d(4, 4, 1), nn.Tanh()) for _ in range(3)])
        self.head = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.head(self.block(self.stem(x)).mean((2, 3)))
        return result


@pytest.mark.parametrize("kind", list(KINDS))
def test_the_last_signals_belong_to_the_training(toys: Any, kind: type[Relaxation]) -> None:
    points = []
    for is_training in (True, False):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            supernet = Supernet(Dropping()).train(is_training)
        recipe = ArchitectureRecipe(order=KINDS[kind], watch_eigenvalue=True)
        architecture = ArchitectureTraining(supernet, kind(supernet), recipe, seed=0)
        state = torch.random.get_rng_state()
        train_differentiable(supernet, searchable(toys), architecture, recipe=RECIPE)
        assert torch.equal(torch.random.get_rng_state(), state)
        assert all(module.training is is_training for module in supernet.modules())
        copy.deepcopy(supernet)
        points.append(architecture.points)
    assert [p.epoch for p in points[0]] == [1, 2, 3]
    assert points[0] == points[1]


def test_first_order_is_the_gradient_of_the_validation_loss(toys: Any) -> None:
    supernet = blocks_supernet((3, 2)).train()
    relaxation = SoftmaxRelaxation(supernet, deviation=0.5)
    architecture = ArchitectureTraining(supernet, relaxation, ArchitectureRecipe(), seed=0)
    training = training_of(supernet, searchable(toys), architecture, RECIPE)
    train, validation = (tuple(b) for b in training.task.train_batches(24, seed=0, num_updates=2))
    found = architecture._gradients(training, train, validation, 0.1, 0.0)
    path = relaxation.architecture_path(np.random.default_rng(0), 0.0)
    loss = functional.cross_entropy(supernet(validation[0], path), validation[1])
    truth = torch.autograd.grad(loss, list(relaxation.logits))
    for ours, exact in zip(found, truth, strict=True):
        assert torch.allclose(ours, exact, rtol=1e-5, atol=1e-8)
        assert exact.abs().max() > 1e-5


@pytest.mark.parametrize("smoothing", [0.0, 0.4])
def test_the_look_ahead_takes_the_loss_that_is_trained_on(toys: Any, smoothing: float) -> None:
    """Against a central difference of L_val(w - xi * grad L_train(w, a), a), of which only L_train is smoothed."""
    supernet = blocks_supernet((3, 2)).double().train()
    relaxation = SoftmaxRelaxation(supernet, deviation=0.5).double()
    architecture = ArchitectureTraining(
        supernet, relaxation, ArchitectureRecipe(order="second-exact"), seed=0
    )
    recipe = dataclasses.replace(RECIPE, label_smoothing=smoothing, weight_decay=0.0)
    task, rate, step = searchable(toys), 2.0, 1e-4
    task.inputs = task.inputs.double()
    training = training_of(supernet, task, architecture, recipe)
    train, validation = (tuple(b) for b in task.train_batches(24, seed=0, num_updates=2))

    def loss(batch: tuple[Tensor, ...], smoothing: float) -> Tensor:
        path = relaxation.architecture_path(np.random.default_rng(0), 0.0)
        return functional.cross_entropy(supernet(batch[0], path), batch[1], label_smoothing=smoothing)

    def looked_ahead() -> float:
        kept = copy.deepcopy(supernet.state_dict())
        weights = list(supernet.parameters())
        gradients = torch.autograd.grad(loss(train, smoothing), weights)
        with torch.no_grad():
            for weight, gradient in zip(weights, gradients, strict=True):
                weight.sub_(rate * gradient)
            value = float(loss(validation, 0.0))
        supernet.load_state_dict(kept)
        return value

    with frozen_statistics(supernet):
        found = architecture._gradients(training, train, validation, rate, 0.0)
        for parameter, gradient in zip(relaxation.logits, found, strict=True):
            for index in range(len(parameter)):
                sides = []
                for sign in (1, -1):
                    with torch.no_grad():
                        parameter[index] += sign * step
                    sides.append(looked_ahead())
                    with torch.no_grad():
                        parameter[index] -= sign * step
                difference = (sides[0] - sides[1]) / (2 * step)
                assert float(gradient[index]) == pytest.approx(difference, rel=1e-3, abs=1e-6)


def test_gradients_that_are_not_finite_are_an_error(toys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    supernet = blocks_supernet((3, 2)).train()
    architecture = ArchitectureTraining(supernet, SoftmaxRelaxation(supernet), ArchitectureRecipe(), seed=0)
    training = training_of(supernet, searchable(toys), architecture, RECIPE)
    monkeypatch.setattr(
        architecture, "_gradients", lambda *_: [torch.zeros(3), torch.tensor([0.0, float("nan")])]
    )
    batch = next(iter(training.task.train_batches(24, seed=0, num_updates=1)))
    with pytest.raises(ConfigurationError, match="architecture parameters must be finite"):
        architecture.step(training, *batch, 0.1)
