"""A method is one composition: in memory and in a run directory equal settings give the same network, bit for bit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from small_cells import brightness_task, cell_space

import onepath as op
from onepath import methods
from onepath.data import ImageTask
from onepath.methods import METHODS
from onepath.record import RunDirectory, load_tensors
from onepath.record.directory import WEIGHTS
from onepath.spaces.once_for_all import OfaBottleneck

pytestmark = pytest.mark.usefixtures("no_graphs")

LIMIT = 200_000


@pytest.fixture(scope="module")
def data() -> ImageTask:
    return brightness_task(60, 60)


class Elastic(torch.nn.Module):
    """A stage of Once-for-All's blocks: kernels, widths and a depth, so that every phase of shrinking opens some."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = torch.nn.Sequential(
            torch.nn.Conv2d(1, 8, 3, 2, 1, bias=False), torch.nn.BatchNorm2d(8), torch.nn.ReLU()
        )
        blocks = [OfaBottleneck(8, 8, f"blocks.{place}", 1, torch.nn.ReLU, place == 1) for place in range(3)]
        self.stage = op.ElasticDepth(blocks, op.Choice("depth", [1, 2, 3], role="depth"))
        self.head = torch.nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.head(self.stage(self.stem(x)).mean((2, 3)))
        return found

    def sort_channels(self, opened: Mapping[str, Sequence[Any]]) -> None:
        for block in self.stage.blocks:
            block.sort_middle(opened.get(block.expansion.name, ()))


def elastic_space(**_: Any) -> torch.nn.Module:
    """A small space of kernels, depths and widths."""
    with torch.random.fork_rng():
        torch.manual_seed(5)
        return Elastic()


def trained_model(**_: Any) -> op.Supernet:
    """A model that came in, made elastic."""
    with torch.random.fork_rng():
        torch.manual_seed(5)
        layers = [torch.nn.Conv2d(1, 32, 3, padding=1), torch.nn.BatchNorm2d(32), torch.nn.ReLU()]
        layers += [
            torch.nn.Conv2d(32, 32, 3),
            torch.nn.ReLU(),
            torch.nn.AdaptiveAvgPool2d(1),
            torch.nn.Flatten(),
        ]
        model = torch.nn.Sequential(*layers, torch.nn.Linear(32, 3)).eval()
        return op.convert(model, torch.zeros(1, 1, 8, 8))


COMMON: dict[str, Any] = {"batch_size": 16, "retrain_epochs": 1, "seed": 3}
SEARCH: dict[str, Any] = {"population": 4, "generations": 1}
PREDICTED: dict[str, Any] = {"predictor": 12, "num": 3, "population": 8, "generations": 2}
OPTIONS: dict[str, dict[str, Any]] = {
    "spos": {"epochs": 2, **SEARCH},
    "fairnas": {"epochs": 1, **SEARCH},
    "one-shot": {"epochs": 1, **SEARCH},
    "sandwich": {"epochs": 1, "teacher": "model", "divergence": "alpha", "attention": "best-up", **PREDICTED},
    "ofa": {"epochs": 12, "predictor": 0, **SEARCH},
    "fastnas": {},
    "puzzle": {"epochs": 1, "num": 2},
    "darts": {"epochs": 1, "order": "second", "population": 3},
    "gdas": {"epochs": 2, "warmup_epochs": 1, "population": 3},
    "proxyless": {"epochs": 1, "warmup_epochs": 1, "population": 3},
    "zen": {"population": 4, "generations": 1},
    "naswot": {"population": 3, "generations": 1},
    "smash": {"epochs": 2, **SEARCH},
    "ghn": {"epochs": 1, "meta_batch": 2, **SEARCH},
    "enas": {"epochs": 2, "controller_steps": 2, "controller_samples": 3, "num": 4},
    "eas": {"num": 4, "children": 2, "child_epochs": 1},
    "rl": {"num": 3, "proxy_epochs": 1, "proxy_subset": 0.5, "controller_batch": 2},
    "random": {"population": 2, "generations": 0},
    "fixed": {"architecture": "3,1,0,0,1,4"},
}


def test_every_method_is_compared() -> None:
    assert set(OPTIONS) == set(METHODS)


@pytest.mark.parametrize("name", sorted(OPTIONS))
def test_in_memory_and_in_a_run_are_the_same_to_the_bit(name: str, data: ImageTask, tmp_path: Path) -> None:
    options = {**OPTIONS[name], **COMMON}
    if name == "zen":
        options["proxy"] = "grad_norm"
    is_elastic = name in ("sandwich", "ofa", "eas")
    build, limit = (elastic_space, 80_000) if is_elastic else (cell_space, LIMIT)
    if name in ("fastnas", "puzzle"):
        build, limit = trained_model, 250_000
    result = op.run(
        data,
        space=build,
        method=name,
        max_macs=limit,
        num_baselines=0,
        out=tmp_path / "run",
        **options,
    )
    own = build() if name in ("fastnas", "puzzle") else op.Supernet(build())
    kind = METHODS[name]
    settings = {"finish_teacher": kind.finish_teacher, **{key: options[key] for key in COMMON}}
    job = methods.MemoryJob(own, data, constraints=[op.MaxMacs(limit)], **settings)
    method = methods.make_method(kind, {key: value for key, value in options.items() if key not in COMMON})
    found = method.run(job)
    trials = found if isinstance(found, methods.Found) else found.found
    stored = result.trials
    with RunDirectory(tmp_path / "run") as directory:
        winner = directory.store.stage("search").record["winner"]
    assert str(trials.best) == winner
    assert [str(trial.architecture) for trial in trials.trials] == [row.architecture for row in stored]
    scores = [row.accuracy for row in stored]
    if name == "random":  # in a run, the networks are trained as finalists
        (last,) = result.result["finals"]["rounds"]
        scores = [last["validation"][row.architecture] for row in stored]
    if name == "fixed":  # in a run, the network is trained as the winner
        scores = [result.result["accuracy"]["retrained_validation"]]
    assert [trial.estimate.accuracy for trial in trials.trials] == scores
    if METHODS[name].trains_supernet:
        weights = load_tensors(tmp_path / "run" / "checkpoints" / "supernet.safetensors", None)
        assert all(torch.equal(value, weights[key]) for key, value in own.state_dict().items())
    model = found.model if isinstance(found, methods.Scored) else job.finished(trials.best, method.finish)
    finished = load_tensors(tmp_path / "run" / WEIGHTS, None)
    assert all(torch.equal(value, finished[key]) for key, value in model.state_dict().items())
