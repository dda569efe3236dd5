"""A run that searches by an accuracy predictor: its pairs are evaluated once, whatever the limits and the kills."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import onepath as op
from onepath.errors import ConfigurationError
from onepath.estimate import SupernetEstimator
from onepath.methods import Sandwich
from onepath.record import EstimateStore
from onepath.record.estimates import ESTIMATES
from onepath.runs import load_run, search

pytestmark = pytest.mark.usefixtures("no_graphs")

SPACE = """
import itertools
from torch import nn
import onepath as op
def build(num_classes, **_):
    widths = [op.Choice(f"width{place}", [4, 8, 12]) for place in range(5)]
    layers = []
    for before, after in itertools.pairwise([1, *widths]):
        layers += [op.ElasticConv2d(before, after, 3, padding=1), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), op.ElasticLinear(widths[-1], num_classes))
"""
QUICK: dict[str, Any] = {
    "method": "sandwich",
    "epochs": 1,
    "batch_size": 16,
    "workers": 1,
    "predictor": 12,
    "population": 8,
    "generations": 2,
    "num": 2,
    "num_baselines": 0,
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    rng = np.random.default_rng(0)
    labels = np.arange(120) % 3
    images = (rng.integers(0, 60, (120, 8, 8, 1)) + 60 * labels[:, None, None, None]).astype(np.uint8)
    file = tmp_path_factory.mktemp("data") / "images.npz"
    np.savez(file, x_train=images, y_train=labels, x_test=images, y_test=labels)
    return str(file)


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> str:
    file = tmp_path_factory.mktemp("space") / "space.py"
    file.write_text(SPACE)
    return f"{file}:build"


@pytest.fixture
def evaluated(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every architecture that a supernet has evaluated, in order."""
    found: list[str] = []
    evaluate = SupernetEstimator._evaluate

    def noted(self: SupernetEstimator, architecture: Any) -> Any:
        found.append(str(architecture))
        return evaluate(self, architecture)

    monkeypatch.setattr(SupernetEstimator, "_evaluate", noted)
    return found


def test_pairs_are_evaluated_once_for_all_limits(
    data: str, space: str, tmp_path: Path, evaluated: list[str]
) -> None:
    out = tmp_path / "run"
    result = op.run(data, space=space, max_macs="200k,100k", out=out, **QUICK)
    assert len(evaluated) == 12 + 2 + 2
    known = result.result["search"]["predictor"]
    assert (known["num_pairs"], set(known)) == (12, {"num_pairs", "error", "tau"})
    (other,) = (out / winner["path"] for winner in result.result["winners"] if winner["path"] != ".")
    assert not (other / ESTIMATES).exists()
    assert load_run(other).result["search"]["predictor"] == known
    with EstimateStore(out / ESTIMATES) as store:
        rows = store.read("inherited accuracy, seed 0, 2000 and None images, float32")
    assert list(rows) == evaluated[:12]

    del evaluated[:]
    search(out, limits={"max_macs": "150k"}, space=space)
    assert len(evaluated) == 2  # the best predicted, and none of the pairs
    assert [
        winner["cost"]["macs"] <= winner["limits"]["max_macs"] for winner in load_run(out).result["winners"]
    ] == [True] * 3


def test_a_kill_among_the_pairs_loses_none(
    data: str, space: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = op.run(data, space=space, max_macs="200k", out=tmp_path / "whole", **QUICK)
    evaluate, left = SupernetEstimator._evaluate, [5]

    def killed(self: SupernetEstimator, architecture: Any) -> Any:
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return evaluate(self, architecture)

    monkeypatch.setattr(SupernetEstimator, "_evaluate", killed)
    out = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        op.run(data, space=space, max_macs="200k", out=out, **QUICK)
    left[0] = 12 - 5 + 2
    again = op.run(data, space=space, max_macs="200k", out=out, **QUICK)
    assert left[0] == 0
    assert [row.architecture for row in again.trials] == [row.architecture for row in whole.trials]
    assert [row.accuracy for row in again.trials] == [row.accuracy for row in whole.trials]


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"predictor": 9}, "predictor must be 0 or at least 10, but got 9"),
        ({"predictor": 12, "prefilter": "nwot:0.5"}, "with predictor=12 the search evaluates none"),
    ],
)
def test_what_cannot_be_is_one_line(data: str, tmp_path: Path, options: dict[str, Any], line: str) -> None:
    with pytest.raises(ConfigurationError, match=line):
        op.run(data, space=space, out=tmp_path / "run", **{**QUICK, **options})


def test_a_prefilter_or_a_small_space_needs_no_predictor(data: str) -> None:
    from onepath import methods

    task = op.load_data(data)
    small = op.spaces.build("ofa-mobilenetv3", 3, 8, in_channels=1, width=0.1)
    job = methods.MemoryJob(small, task)
    assert Sandwich().resolved(job).predictor == 300
    assert (Sandwich().resolved(job).population, Sandwich().resolved(job).num) == (100, 10)
    assert Sandwich(prefilter="nwot:0.5").resolved(job).predictor == 0
    tiny = methods.MemoryJob(op.Supernet(op.ElasticConv2d(1, op.Choice("width", [2, 4]), 3)), task)
    assert Sandwich().resolved(tiny).predictor == 0
    assert Sandwich().resolved(tiny).population == 16
