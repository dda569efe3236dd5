"""Shared weights and a controller trained in turn: what moves when, what does not, and resumption."""

from __future__ import annotations

import copy
import json
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from train.choice_networks import blocks_supernet

from onepath.data import Task
from onepath.nn import ChoiceBlock, Supernet
from onepath.policy import Controller, LegalPolicy, PolicyGradient
from onepath.search import FeasibleSet
from onepath.train import Phase, Recipe, train_phases
from onepath.train.controller_training import ControllerTraining
from onepath.train.training import Training

RECIPE = Recipe(epochs=3, batch_size=24, learning_rate=0.1, label_smoothing=0.0, schedule="cosine")


def searchable(toys: Any) -> Any:
    """The task of noise, with the default validation batches and scores."""

    class SearchableTask(toys.NoiseTask):  # type: ignore[misc]
        validation_batches = Task.validation_batches
        score = Task.score
        higher_is_better = True

    return SearchableTask()


def controlled(supernet: Supernet, *, rate: float = 0.0035, **options: Any) -> ControllerTraining:
    controller = Controller(supernet.space, hidden=8)
    legal = FeasibleSet(supernet.space)
    return ControllerTraining(
        supernet,
        LegalPolicy(controller, legal.is_legal, legal.sample),
        PolicyGradient(controller, learning_rate=rate),
        seed=1,
        **{"num_steps": 3, "num_samples": 4, **options},
    )


def trained(toys: Any, checkpoint: Any = None, on_update: Any = None) -> tuple[Supernet, ControllerTraining]:
    supernet = blocks_supernet((3, 2))
    controller = controlled(supernet)
    phase = Phase("shared weights", RECIPE, controller, before=controller)
    train_phases(supernet, searchable(toys), [phase], seed=1, checkpoint=checkpoint, on_update=on_update)
    return supernet, controller


def test_the_controller_steps_after_each_epoch_and_not_in_between(toys: Any) -> None:
    supernet = blocks_supernet((3, 2))
    controller = controlled(supernet)
    steps, epochs = [], []
    step = controller.gradient.step
    controller.gradient.step = lambda rows, rewards: steps.append(len(rows)) or step(rows, rewards)  # type: ignore[method-assign]
    phase = Phase("shared weights", RECIPE, controller, before=controller)
    train_phases(
        supernet,
        searchable(toys),
        [phase],
        seed=1,
        on_update=lambda update, _: epochs.append((update, len(steps))),
    )
    assert steps == [4] * 9
    assert [num for _, num in epochs] == [0, 0, 0, 0, 3, 3, 3, 3, 6, 6, 6, 6]
    assert [point.epoch for point in controller.points] == [1, 2, 3]


def test_a_new_path_is_drawn_for_every_update_from_the_policy(toys: Any) -> None:
    supernet = blocks_supernet((3, 2))
    controller = controlled(supernet)
    with torch.no_grad():
        controller.policy.controller.head.bias[:3] = torch.tensor([0.0, 50.0, 0.0])
    drawn = {controller.paths(update, np.random.default_rng(update))[0].indices for update in range(20)}
    assert drawn == {(1, 0), (1, 1)}


def test_the_controllers_steps_leave_weights_and_statistics_alone_to_the_bit(toys: Any) -> None:
    supernet = blocks_supernet((3, 2))
    controller = controlled(supernet)
    phase = Phase("shared weights", RECIPE, controller, before=controller)
    training = Training(supernet, supernet, searchable(toys), [phase], seed=0, device=torch.device("cpu"))
    supernet.train()
    training.update = training.updates_per_epoch
    before = copy.deepcopy(supernet.state_dict())
    weights = copy.deepcopy(controller.policy.controller.state_dict())
    controller._train_controller(training)
    for name, value in supernet.state_dict().items():
        assert torch.equal(value, before[name]), name
    moved = controller.policy.controller.state_dict()
    assert any(not torch.equal(moved[name], value) for name, value in weights.items())
    assert all(parameter.grad is None for parameter in supernet.parameters())


class Dropped(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.block = ChoiceBlock({"a": nn.Conv2d(3, 4, 1), "b": nn.Conv2d(3, 4, 1)})
        self.norm, self.dropout = nn.BatchNorm2d(4), nn.Dropout(0.9)

    def forward(self, x: Tensor) -> Tensor:
        return self.dropout(self.norm(self.block(x)).mean((2, 3)))


def test_rewards_have_batch_statistics_and_no_dropout(toys: Any) -> None:
    supernet = Supernet(Dropped())
    with torch.no_grad():
        supernet.module.norm.running_mean.fill_(100.0)
    controller = controlled(supernet)
    phase = Phase("shared weights", RECIPE, controller, before=controller)
    task = searchable(toys)
    training = Training(supernet, supernet, task, [phase], seed=0, device=torch.device("cpu"))
    supernet.train()
    inputs, targets = next(iter(task.batches("validation", 24)))
    architecture = supernet.space.architecture([0])
    with controller._measuring(training):
        reward = controller._reward(training, inputs, targets, architecture)
    network = supernet.extract(architecture).eval()
    network.norm.train()
    expected = task.metric(task.tally(network(inputs), targets))
    assert reward == expected
    assert supernet.module.dropout.training


def test_the_policy_moves_to_the_better_candidate(toys: Any) -> None:
    class Rigged(nn.Module):
        """Candidate "good" lets the classifier see the image, "bad" hides it."""

        def __init__(self) -> None:
            super().__init__()
            self.block = ChoiceBlock({"bad": nn.MaxPool2d(8), "good": nn.AvgPool2d(8)})
            self.head = nn.Linear(3, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.block(x).flatten(1))

    torch.manual_seed(0)
    supernet = Supernet(Rigged())
    controller = controlled(supernet, rate=0.02, num_steps=30, num_samples=10)
    recipe = Recipe(epochs=8, batch_size=24, learning_rate=0.2, label_smoothing=0.0)
    phase = Phase("shared weights", recipe, controller, before=controller)
    train_phases(supernet, searchable(toys), [phase], seed=1)
    p = controller.policy.controller(supernet.space.enumerate_matrix()).log_probabilities.exp()
    good = supernet.space.choices[0].index("good")
    assert p[good].item() > 0.8
    assert controller.points[-1].entropy < controller.points[0].entropy


def test_an_interrupted_training_ends_as_an_uninterrupted_one(toys: Any) -> None:
    whole, expected = trained(toys)

    class StopError(Exception):
        pass

    def stop(done: int, _: int) -> None:
        if done == 7:
            raise StopError

    checkpoint = toys.MemoryCheckpoint(always=True)
    with pytest.raises(StopError):
        trained(toys, checkpoint, stop)
    resumed, found = trained(toys, checkpoint)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
    for ours, theirs in zip(
        expected.policy.controller.parameters(), found.policy.controller.parameters(), strict=True
    ):
        assert torch.equal(ours, theirs)
    assert expected.points == found.points


def test_a_record_gives_the_controller_back_to_the_bit(toys: Any) -> None:
    supernet, controller = trained(toys)
    record = json.loads(json.dumps(controller.record()))
    other = controlled(supernet)
    other.load_record(record)
    for ours, theirs in zip(
        controller.policy.controller.parameters(), other.policy.controller.parameters(), strict=True
    ):
        assert torch.equal(ours, theirs)
    assert [point["epoch"] for point in record["points"]] == [1, 2, 3]
