"""Metrics: worked out by hand, against scikit-learn, and the same however the data are cut into batches."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn import metrics as sklearn
from torch.nn import functional

from onepath.data.metrics import METRICS, Metric, metric_of
from onepath.errors import ConfigurationError

RNG = np.random.default_rng(0)
SCORES = torch.from_numpy(RNG.normal(size=(60, 4)).astype(np.float32))
LABELS = torch.from_numpy(RNG.integers(0, 4, 60))
NUMBERS = torch.from_numpy(RNG.normal(size=(60, 1)).astype(np.float32))
WANTED = torch.from_numpy(RNG.normal(size=60).astype(np.float32))
FLAGS = torch.from_numpy(RNG.integers(0, 2, (60, 4)))
MAPS = torch.from_numpy(RNG.normal(size=(12, 3, 5, 5)).astype(np.float32))
PLACES = torch.from_numpy(RNG.integers(0, 3, (12, 5, 5)))
CLASSES, NAMED = LABELS.numpy(), SCORES.argmax(1).numpy()

CASES: dict[str, tuple[Any, Any, float]] = {
    "accuracy": (SCORES, LABELS, sklearn.accuracy_score(CLASSES, NAMED)),
    "balanced-accuracy": (SCORES, LABELS, sklearn.balanced_accuracy_score(CLASSES, NAMED)),
    "f1": (SCORES, LABELS, sklearn.f1_score(CLASSES, NAMED, average="macro")),
    "mse": (NUMBERS, WANTED, sklearn.mean_squared_error(WANTED, NUMBERS[:, 0])),
    "rmse": (NUMBERS, WANTED, sklearn.mean_squared_error(WANTED, NUMBERS[:, 0]) ** 0.5),
    "mae": (NUMBERS, WANTED, sklearn.mean_absolute_error(WANTED, NUMBERS[:, 0])),
    "r2": (NUMBERS, WANTED, sklearn.r2_score(WANTED, NUMBERS[:, 0])),
    "multilabel-f1": (SCORES, FLAGS, sklearn.f1_score(FLAGS, SCORES > 0, average="macro")),
    "mean-iou": (
        MAPS,
        PLACES,
        sklearn.jaccard_score(PLACES.flatten(), MAPS.argmax(1).flatten(), average="macro"),
    ),
    "perplexity": (
        SCORES[None],
        LABELS[None],
        float(functional.cross_entropy(SCORES, LABELS).exp()),
    ),
}


def test_every_metric_has_a_case() -> None:
    assert set(CASES) == set(METRICS)


@pytest.mark.parametrize("name", sorted(CASES))
def test_the_metric_is_the_one_of_its_name(name: str) -> None:
    outputs, targets, expected = CASES[name]
    metric = METRICS[name]
    assert metric.value(metric.tally(outputs, targets)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", sorted(set(CASES) - {"perplexity"}))
@pytest.mark.parametrize("size", [1, 5, 7])
def test_it_adds_up_over_batches(name: str, size: int) -> None:
    outputs, targets, expected = CASES[name]
    metric = METRICS[name]
    parts = zip(outputs.split(size), targets.split(size), strict=True)
    total = sum(metric.tally(*part) for part in parts)
    assert isinstance(total, torch.Tensor)
    assert metric.value(total) == pytest.approx(expected, rel=1e-5)


def test_directions() -> None:
    lower = {name for name, metric in METRICS.items() if not metric.higher_is_better}
    assert lower == {"mse", "rmse", "mae", "perplexity"}
    assert {name for name, metric in METRICS.items() if metric.is_share} == {"accuracy", "balanced-accuracy"}


def test_a_constant_target_has_no_r2() -> None:
    metric = METRICS["r2"]
    assert np.isnan(metric.value(metric.tally(NUMBERS, torch.ones(60))))


class SumOfErrors:
    """As a metric of torchmetrics: states that sum up, and their reductions."""

    higher_is_better = False

    def __init__(self) -> None:
        self.error, self.num = torch.tensor(0.0), torch.tensor(0)
        self._reductions = {"error": self.dim_zero_sum, "num": self.dim_zero_sum}

    @staticmethod
    def dim_zero_sum(values: Any) -> Any:
        return values

    def clone(self) -> SumOfErrors:
        return type(self)()

    def reset(self) -> None:
        self.error, self.num = torch.tensor(0.0), torch.tensor(0)

    def update(self, outputs: Any, targets: Any) -> None:
        self.error = self.error + (outputs - targets).abs().sum()
        self.num = self.num + len(targets)

    def compute(self) -> Any:
        return self.error / self.num


class Listed(SumOfErrors):
    """One that keeps every value."""

    def __init__(self) -> None:
        super().__init__()
        self._reductions = {"error": None}  # type: ignore[dict-item]


def test_a_metric_of_torchmetrics_adds_up() -> None:
    metric = metric_of(SumOfErrors)
    assert (metric.name, metric.higher_is_better) == ("SumOfErrors", False)
    total = metric.tally(NUMBERS[:20, 0], WANTED[:20]) + metric.tally(NUMBERS[20:, 0], WANTED[20:])
    assert metric.value(total) == pytest.approx(CASES["mae"][2], rel=1e-5)


def test_what_is_no_metric_is_one_line() -> None:
    own = Metric("own", True, lambda outputs, _: outputs, float)
    assert metric_of(own) is own
    with pytest.raises(ConfigurationError, match=r"a metric must be one of accuracy, .*, but got 'acc'"):
        metric_of("acc")
    with pytest.raises(ConfigurationError, match="must have states that sum up over batches, but Listed"):
        metric_of(Listed())
    with pytest.raises(ConfigurationError, match="one of torchmetrics, but got int"):
        metric_of(3)
