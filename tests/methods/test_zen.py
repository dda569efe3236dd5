from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import nn

import onepath as op
from onepath.errors import ConfigurationError
from onepath.estimate import ScoreEstimator
from onepath.methods import Scored, zen


@pytest.fixture(scope="module")
def data() -> op.Task:
    return op.load_data("digits")


@pytest.fixture(scope="module")
def space() -> op.Supernet:
    return op.spaces.build("zennas", num_classes=10, input_size=8, in_channels=1, width=0.1)


@pytest.fixture(scope="module")
def scored(space: op.Supernet, data: op.Task) -> Scored:
    limits = [op.MaxMacs(400_000), op.MaxParams(20_000), op.MaxLayers(14)]
    return zen(space, data, constraints=limits, population=8, num=24, epochs=1, seed=1)


def test_limits_hold_and_a_trained_network_comes_out(
    space: op.Supernet, data: op.Task, scored: Scored
) -> None:
    trials = scored.found.trials
    assert len({trial.architecture for trial in trials}) == len(trials) == 24
    for trial in trials:
        assert op.cost.macs(space, trial.architecture, data.input_shape) <= 400_000
        assert op.cost.params(space, trial.architecture) <= 20_000
        assert op.cost.layers(space, trial.architecture) <= 14
    assert scored.num_degenerate == 0
    fresh = space.extract(scored.found.best, inherit=False, seed=1)
    assert sum(p.numel() for p in scored.model.parameters()) == op.cost.params(space, scored.found.best)
    assert not torch.equal(fresh.classifier.weight, scored.model.classifier.weight)
    assert not any(
        type(module).__name__.startswith(("Elastic", "Choice")) for module in scored.model.modules()
    )


def test_the_best_score_never_falls_and_the_search_repeats(
    space: op.Supernet, data: op.Task, scored: Scored
) -> None:
    values = [trial.estimate.accuracy for trial in scored.found.trials]
    assert scored.found.best_trial.estimate.accuracy == max(values)
    again = ScoreEstimator("zen", space, data, batch_size=16, seed=1)
    for trial in scored.found.trials[:3]:
        assert again.value(trial.architecture) == trial.estimate.accuracy


def test_weights_of_the_space_do_not_matter_to_the_score(space: op.Supernet, data: op.Task) -> None:
    """Zen draws weights of its own: what was in the memory of the network before must not reach the value."""
    architecture = space.space.parse(",".join("0" * space.space.num_choices))
    fast = ScoreEstimator("zen", space, data, batch_size=4).value(architecture)
    x = torch.zeros(4, *data.input_shape)
    for fill in (0.0, float("nan")):
        model = space.extract(architecture, inherit=False)
        for parameter in model.parameters():
            nn.init.constant_(parameter, fill)
        assert op.estimate.score("zen", model, x) == fast


class Small(nn.Module):
    """Nine networks."""

    def __init__(self) -> None:
        super().__init__()
        channels = op.Choice("channels", [4, 8, 16])
        blocks = {
            f"k{kernel}": nn.Sequential(
                op.ElasticConv2d(channels, channels, kernel, padding=kernel // 2, bias=False),
                op.ElasticBatchNorm2d(channels),
                nn.ReLU(),
            )
            for kernel in (1, 3)
        }
        self.stem = op.ElasticConv2d(1, channels, 3, padding=1)
        self.block = op.ChoiceBlock({"skip": nn.Identity(), **blocks})
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = op.ElasticLinear(channels, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.pool(self.block(self.stem(x))).flatten(1))


def test_any_space_and_any_score(data: op.Task) -> None:
    """An exhaustive search ends with the best of all nine."""
    small = op.Supernet(Small())
    found = zen(small, data, score="params", population=3, num=9, epochs=1).found
    assert {trial.architecture for trial in found.trials} == set(small.space.enumerate())
    assert found.best == small.space.architecture({"channels": 16, "block": "k3"})
    estimator = ScoreEstimator("zen", small, data, batch_size=16)
    by_zen = zen(small, data, population=2, num=9, epochs=1).found
    assert by_zen.best == max(small.space.enumerate(), key=estimator.value)
    assert dataclasses.asdict(by_zen.best_trial.estimate)["accuracy"] == estimator.value(by_zen.best)


def test_wrong_scores_are_one_line(space: op.Supernet, data: op.Task) -> None:
    with pytest.raises(ConfigurationError, match="did you mean zen") as error:
        zen(space, data, score="zenn")
    assert "\n" not in str(error.value)
