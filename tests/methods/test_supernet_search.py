from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import onepath as op
from onepath.errors import InfeasibleError
from onepath.estimate import Estimate
from onepath.search import Proposal
from onepath.methods import feasible_set, score


class Net(nn.Module):
    """Two blocks that may be skipped, on 8x8 digits."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 8, 3, padding=1)
        self.blocks = nn.Sequential(
            *(
                op.ChoiceBlock({"conv": nn.Conv2d(8, 8, 3, padding=1), "skip": nn.Identity()})
                for _ in range(3)
            )
        )
        self.head = nn.Linear(8, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.blocks(self.stem(x).relu()).relu().mean(dim=(2, 3)))


def normalised() -> Net:
    """The same with normalisation, with which a short training learns on every processor."""
    net = Net()
    net.stem = nn.Sequential(net.stem, nn.BatchNorm2d(8))  # type: ignore[assignment]
    for block in net.blocks:
        block.candidates[0] = nn.Sequential(block.candidates[0], nn.BatchNorm2d(8))
    return net


class CountsConvolutions:
    """An estimator with a known truth: every convolution is worth 0.1, and the first one a little more."""

    def __init__(self) -> None:
        self.asked: list[op.Architecture] = []

    def estimate(self, proposal: Proposal) -> Estimate:
        architecture = proposal.architecture
        self.asked.append(architecture)
        kept = [index == 0 for index in architecture.indices]
        return Estimate(0.1 * sum(kept), 1.0 - 0.01 * kept[0], 0.0, 1)


@pytest.fixture(scope="module")
def data() -> op.Task:
    return op.load_data("digits")


def test_finds_the_best_under_the_limit_and_evaluates_nothing_twice(data: op.Task) -> None:
    supernet = op.Supernet(Net())
    full = op.cost.macs(supernet, supernet.space.parse("0,0,0"), data.input_shape)
    estimator = CountsConvolutions()
    found = op.search_supernet(
        supernet,
        data,
        op.Evolution(supernet.space, seed=0),
        constraints=[op.MaxMacs(full - 1)],
        estimator=estimator,
    )
    assert len(estimator.asked) == len(set(estimator.asked)) == len(found.trials) == 7
    assert sum(index == 0 for index in found.best.indices) == 2
    assert found.best.indices[0] == 0
    assert all(op.cost.macs(supernet, trial.architecture, data.input_shape) < full for trial in found.trials)


def test_ties_go_to_less_loss() -> None:
    assert score(Estimate(0.9, 0.1, 0.0, 10)) > score(Estimate(0.9, 0.2, 0.0, 10))
    assert score(Estimate(0.91, 0.5, 0.0, 10)) > score(Estimate(0.9, 0.2, 0.0, 10))


def test_impossible_limit_names_the_smallest_and_the_median_cost(data: op.Task) -> None:
    supernet = op.Supernet(Net())
    smallest = op.cost.macs(supernet, supernet.space.parse("1,1,1"), data.input_shape)
    with pytest.raises(InfeasibleError) as error:
        op.search_supernet(
            supernet, data, op.RandomSearch(supernet.space, seed=0), constraints=[op.MaxMacs(smallest - 1)]
        )
    assert f"{smallest:,}" in str(error.value) or str(smallest) in str(error.value)
    assert "median" in str(error.value)


def test_feasible_sets_keep_every_limit(data: op.Task) -> None:
    supernet = op.Supernet(Net())
    feasible = feasible_set(supernet, data.input_shape, [op.MaxMacs(10**9), op.MaxParams(1500)])
    rows = feasible.sample(50, np.random.default_rng(0))
    assert all(op.cost.params(supernet, a) <= 1500 for a in supernet.space.architectures(rows))


def test_spos_end_to_end_is_repeatable_and_learns(data: op.Task) -> None:
    def whole() -> op.Architecture:
        torch.manual_seed(0)
        supernet = op.Supernet(normalised())
        found = op.spos(supernet, data, epochs=6, population=4, generations=1, seed=0)
        accuracies.append([trial.estimate.accuracy for trial in found.trials])
        return found.best

    accuracies: list[list[float]] = []
    assert whole() == whole()
    assert accuracies[0] == accuracies[1]
    assert max(accuracies[0]) > 0.5
