"""What a search returns gives the network that it scored."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import onepath as op
from onepath.errors import ConfigurationError
from onepath.estimate import Estimate, ScoreEstimator, StandaloneEstimator, SupernetEstimator
from onepath.methods import Derived, Found, zen
from onepath.train import Recipe


class Net(nn.Module):
    """Two blocks whose candidates shift their outputs differently, so that statistics of mixed paths fit none."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 8, 3, stride=2, padding=1)
        self.blocks = nn.Sequential(*(self._block() for _ in range(2)))
        self.norm = nn.BatchNorm2d(8)
        self.head = nn.Linear(8 * 16, 3)

    def _block(self) -> nn.Module:
        conv = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        return op.ChoiceBlock({"conv": conv, "skip": nn.Identity()})

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.norm(self.blocks(self.stem(x).relu())).flatten(1))


@pytest.fixture(scope="module")
def data() -> op.Task:
    rng = np.random.default_rng(0)
    labels = np.arange(240) % 3
    images = (rng.integers(0, 200, (240, 8, 8, 1)) + 25 * labels[:, None, None, None]).astype(np.uint8)
    return op.load_data((images, labels), validation_fraction=0.3)


def build() -> op.Supernet:
    torch.manual_seed(0)
    return op.Supernet(Net())


def _search(supernet: op.Supernet, data: op.Task) -> Found:
    op.train_supernet(supernet, data, sampler=op.UniformSampler(supernet.space), epochs=3, seed=0)
    return op.search_supernet(supernet, data, op.RandomSearch(supernet.space, seed=0, num=4))


SEARCHES: dict[str, Callable[[op.Supernet, op.Task], Found]] = {
    "search_supernet": _search,
    "spos": lambda s, d: op.spos(s, d, epochs=3, population=3, generations=0),
    "fairnas": lambda s, d: op.fairnas(s, d, epochs=3, population=4, generations=0),
    "one_shot": lambda s, d: op.one_shot(s, d, epochs=3, num=3),
}
DIFFERENTIABLE: dict[str, Any] = {
    "darts": lambda s, d: op.darts(s, d, epochs=1, batch_size=32),
    "gdas": lambda s, d: op.gdas(s, d, epochs=1, batch_size=32),
    "proxyless": lambda s, d: op.proxyless(s, d, epochs=1, warmup_epochs=1, every=1, batch_size=32),
}


def accuracy(model: nn.Module, data: op.Task) -> float:
    return op.train.evaluate(model, data, "validation").metric


@pytest.mark.parametrize("name", sorted(SEARCHES))
def test_the_model_has_the_accuracy_that_was_found(name: str, data: op.Task) -> None:
    supernet = build()
    found = SEARCHES[name](supernet, data)
    before = {key: value.clone() for key, value in supernet.state_dict().items()}
    for trial in (found.best_trial, found.trials[-1]):
        model = found.model(trial.architecture)
        assert accuracy(model, data) == pytest.approx(trial.estimate.accuracy, abs=1e-9)
        assert not model.training
        assert not any(isinstance(module, op.ChoiceBlock) for module in model.modules())
    assert all(torch.equal(value, before[key]) for key, value in supernet.state_dict().items())
    first, second = found.model(), found.model()
    for (key, one), other in zip(first.state_dict().items(), second.state_dict().values(), strict=True):
        assert torch.equal(one, other), key
        assert one.data_ptr() != other.data_ptr()
    # What `extract` alone gives has the statistics of all paths.
    extracted = supernet.extract(found.best).eval()
    assert not torch.allclose(extracted.norm.running_mean, first.norm.running_mean)


@pytest.mark.parametrize("name", sorted(DIFFERENTIABLE))
def test_a_derived_network_is_scored_as_the_estimator_scores_it(name: str, data: op.Task) -> None:
    supernet = build()
    derived: Derived = DIFFERENTIABLE[name](supernet, data)
    expected = SupernetEstimator(supernet, data)
    for architecture in (derived.best, supernet.space.parse("1,0")):
        model = derived.model(architecture)
        assert accuracy(model, data) == pytest.approx(expected.estimate(architecture).accuracy, abs=1e-9)
    assert accuracy(derived.model(), data) == pytest.approx(
        expected.estimate(derived.best).accuracy, abs=1e-9
    )


def test_ones_own_settings_of_the_estimator_count(data: op.Task) -> None:
    supernet = build()
    estimator = SupernetEstimator(supernet, data, calibration_images=40, seed=7, batch_size=20)
    found = op.search_supernet(
        supernet, data, op.RandomSearch(supernet.space, seed=0, num=4), estimator=estimator
    )
    assert accuracy(found.model(), data) == pytest.approx(found.best_trial.estimate.accuracy, abs=1e-9)
    unlike = SupernetEstimator(supernet, data).model(found.best)
    assert not torch.equal(unlike.norm.running_mean, found.model().norm.running_mean)


def test_a_stand_alone_network_is_trained_again(data: op.Task) -> None:
    supernet = build()
    recipe = Recipe.for_task(data, retrain=True, epochs=1)
    found = op.search_supernet(
        supernet,
        data,
        op.RandomSearch(supernet.space, seed=0, num=1),
        estimator=StandaloneEstimator(supernet, data, recipe=recipe),
    )
    assert accuracy(found.model(), data) == pytest.approx(found.best_trial.estimate.accuracy, abs=1e-9)


def test_a_score_is_of_fresh_weights(data: op.Task) -> None:
    space = op.spaces.build("zennas", num_classes=3, input_size=8, in_channels=1, width=0.1)
    scored = zen(space, data, population=2, num=2, epochs=1, seed=1)
    fresh = space.extract(scored.found.best, inherit=False, seed=1).state_dict()
    for name, value in scored.found.model().state_dict().items():
        assert torch.equal(value, fresh[name]), name
    assert isinstance(scored.found.estimator, ScoreEstimator)


def test_estimates_from_elsewhere_have_no_network(data: op.Task) -> None:
    class Constant:
        def estimate(self, architecture: op.Architecture) -> Estimate:
            del architecture
            return Estimate(0.5, 1.0, 0.0, 1)

    supernet = build()
    algorithm = op.RandomSearch(supernet.space, seed=0, num=1)
    found = op.search_supernet(supernet, data, algorithm, estimator=Constant())
    for some in (found, Found(found.trials)):
        with pytest.raises(ConfigurationError, match="recalibrate_on_task"):
            some.model()


def test_the_data_are_not_kept_twice(data: op.Task) -> None:
    found = SEARCHES["search_supernet"](build(), data)
    found.model()
    estimator = found.estimator
    assert isinstance(estimator, SupernetEstimator)
    assert estimator._calibration._kept is None
    assert estimator._validation._kept is None
