from __future__ import annotations

import pytest
import torch
from torch import nn

import onepath as op
from onepath.cost import counter
from onepath.methods import Found, fair_recipe, fairnas, front_of, one_shot
from onepath.search import pareto_front
from onepath.train import Recipe


class Net(nn.Module):
    """Two blocks of three candidates, on 8x8 digits."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 8, 3, stride=2, padding=1)
        self.blocks = nn.Sequential(
            *(
                op.ChoiceBlock(
                    {
                        "k3": nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU()),
                        "k1": nn.Sequential(nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8), nn.ReLU()),
                        "skip": nn.Identity(),
                    }
                )
                for _ in range(2)
            )
        )
        self.head = nn.Linear(8 * 16, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.blocks(self.stem(x).relu()).flatten(1))


@pytest.fixture(scope="module")
def data() -> op.Task:
    return op.load_data("digits")


def build() -> op.Supernet:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return op.Supernet(Net())


def summary(found: Found) -> list[tuple[str, float]]:
    return [(str(trial.architecture), trial.estimate.accuracy) for trial in found.trials]


def test_fairnas_finds_a_front_and_is_repeatable(data: op.Task) -> None:
    supernet = build()
    largest = op.cost.macs(supernet, supernet.space.parse("0,0"), data.input_shape)
    options = {"epochs": 3, "population": 4, "generations": 1, "constraints": [op.MaxMacs(largest - 1)]}
    found = fairnas(supernet, data, **options)
    assert len({trial.architecture for trial in found.trials}) == len(found.trials) == 8
    costs = [counter(supernet, data.input_shape, kind)[0] for kind in ("macs", "params")]
    front = front_of(found, costs)
    assert (front.costs[:, 0] < largest).all()
    assert found.best in [trial.architecture for trial in front.trials]
    points = [[trial.estimate.accuracy, *row] for trial, row in zip(front.trials, -front.costs, strict=True)]
    assert pareto_front(points).all()
    assert 0 < front.hypervolume < 1
    assert found.best_trial.estimate.accuracy > 0.8
    assert summary(fairnas(build(), data, **options)) == summary(found)


def test_fairnas_spends_the_passes_of_single_path_training() -> None:
    recipe = fair_recipe(Recipe(epochs=12, batch_size=8, learning_rate=0.1, warmup_epochs=0.6), 4)
    assert (recipe.epochs, recipe.warmup_epochs) == (3, pytest.approx(0.15))
    assert fair_recipe(Recipe(epochs=2, batch_size=8, learning_rate=0.1), 6).epochs == 1


def test_one_shot_scores_random_architectures_and_is_repeatable(data: op.Task) -> None:
    found = one_shot(build(), data, epochs=5, num=6, rate=0.3, num_ghost_batches=2)
    assert len({trial.architecture for trial in found.trials}) == len(found.trials) == 6
    assert {trial.origin for trial in found.trials} == {"random"}
    assert found.best_trial.estimate.accuracy > 0.7
    assert summary(one_shot(build(), data, epochs=5, num=6, rate=0.3, num_ghost_batches=2)) == summary(found)
