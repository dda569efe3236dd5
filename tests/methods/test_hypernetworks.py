"""The methods `smash` and `ghn`: what they train and by which recipe, what they refuse, and what they leave behind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_cells import brightness_task, cell_space
from torch import nn

import onepath as op
from onepath import methods
from onepath.data import ImageTask
from onepath.errors import ConfigurationError
from onepath.methods.ghn import MetaBatchSampler
from onepath.record import load_tensors
from onepath.record.directory import WEIGHTS

SMALL = {"epochs": 2, "population": 3, "generations": 1}


@pytest.fixture(scope="module")
def data() -> ImageTask:
    return brightness_task(60, 60)


def job_of(data: ImageTask, supernet: op.Supernet | None = None, **settings: Any) -> methods.MemoryJob:
    own = op.Supernet(cell_space()) if supernet is None else supernet
    return methods.MemoryJob(own, data, constraints=[op.MaxMacs(200_000)], batch_size=16, seed=3, **settings)


def test_the_recipes(data: ImageTask) -> None:
    job = job_of(data)
    start, smash = methods.Smash(**SMALL).phases(job)
    _, ghn = methods.Ghn(hyper_rate=0.01, meta_batch=3, **SMALL).phases(job)
    assert (start.name, start.until) == ("one path", 0.25)
    for phase in (smash, ghn):
        recipe = phase.recipe
        assert (recipe.optimizer, recipe.schedule, recipe.epochs) == ("adamw", "cosine", 2)
    assert (smash.recipe.betas, smash.recipe.epsilon, smash.recipe.learning_rate) == (
        (0.5, 0.999),
        1e-4,
        3e-3,
    )
    assert (ghn.recipe.betas, ghn.recipe.learning_rate, ghn.reduction) == (None, 0.01, "mean")
    assert len(ghn.sampler.paths(0, np.random.default_rng(0))) == 3


def test_a_meta_batch_draws_each_architecture_anew() -> None:
    space = op.Supernet(cell_space()).space
    sampler = MetaBatchSampler(space, 8)
    drawn = sampler.paths(0, np.random.default_rng(1))
    assert len({architecture.indices for architecture in drawn}) == 8
    assert drawn == sampler.paths(5, np.random.default_rng(1))


@pytest.mark.parametrize("name", ["smash", "ghn"])
def test_a_training_that_stops_ends_with_the_same_weights(name: str, data: ImageTask) -> None:
    class Kept:
        state: Any = None

        def due(self) -> bool:
            return True

        def save(self, state: Any) -> None:
            self.state = {**state, "model": {key: value.clone() for key, value in state["model"].items()}}
            self.state["momentum"] = {
                kind: {key: value.clone() for key, value in own.items()}
                for kind, own in state["momentum"].items()
            }

        def load(self) -> Any:
            return self.state

    def stop(update: int, _: int) -> None:
        if update == 5:
            raise KeyboardInterrupt

    method = methods.METHODS[name](**SMALL)
    kept = Kept()
    whole, parts = job_of(data), job_of(data, checkpoint=kept, on_update=stop)
    expected = whole.train(method.resolved(whole)).supernet.state_dict()
    with pytest.raises(KeyboardInterrupt):
        parts.train(method.resolved(parts))
    rest = job_of(data, checkpoint=kept)
    found = rest.train(method.resolved(rest)).supernet.state_dict()
    assert kept.state["update"] > 5
    assert all(torch.equal(value, found[key]) for key, value in expected.items())


@pytest.mark.parametrize("name", ["smash", "ghn"])
def test_a_run_ends_with_a_plain_network_with_the_weights_that_were_made(
    name: str, data: ImageTask, tmp_path: Path, no_graphs: None
) -> None:
    result = op.run(
        data,
        space=cell_space,
        method=name,
        max_macs=200_000,
        finish="as-is",
        num_baselines=0,
        batch_size=16,
        out=tmp_path / "run",
        **SMALL,
    )
    model = result.model()
    assert not any(isinstance(part, op.HyperNetwork) for part in model.modules())
    assert result.result["cost"]["macs"] <= 200_000
    weights = load_tensors(tmp_path / "run" / WEIGHTS, None)
    assert not any(key.startswith("weights.") for key in weights)
    supernet = op.Supernet(cell_space())
    method = methods.METHODS[name]()
    supernet.take_weights_from(method.weights(supernet, data.input_shape, 0))
    supernet.load_state_dict(load_tensors(tmp_path / "run" / "checkpoints" / "supernet.safetensors", None))
    made = supernet.extract(result.architecture)
    for key, value in made.state_dict().items():
        if "running" not in key and "num_batches" not in key:
            assert torch.equal(weights[key], value), key


@pytest.mark.parametrize("name", ["smash", "ghn"])
def test_a_space_without_such_layers_is_refused_before_anything_is_trained(
    name: str, data: ImageTask, tmp_path: Path
) -> None:
    def without(**_: Any) -> nn.Module:
        return nn.Sequential(op.ChoiceBlock([nn.ReLU(), nn.Tanh()]), nn.Flatten(), nn.Linear(64, 3))

    with pytest.raises(ConfigurationError, match="use another space"):
        op.run(data, space=without, method=name, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    with pytest.raises(ConfigurationError, match="use another space"):
        getattr(op, name)(op.Supernet(without()), data)


def test_a_second_search_goes_on_with_the_hypernetwork_and_another_kind_is_refused(data: ImageTask) -> None:
    supernet = op.Supernet(cell_space())
    methods.Smash(**SMALL).run(job_of(data, supernet))
    before = supernet.weights
    methods.Smash(**SMALL).run(job_of(data, supernet))
    assert supernet.weights is before
    with pytest.raises(ConfigurationError, match=r"they come from .*'smash'"):
        methods.Ghn(**SMALL).run(job_of(data, supernet))


def test_a_run_begins_without_a_hypernetwork(data: ImageTask, tmp_path: Path) -> None:
    supernet = op.Supernet(cell_space())
    supernet.take_weights_from(op.HyperNetwork.smash(supernet))
    with pytest.raises(ConfigurationError, match="give a supernet without one, and method smash or ghn"):
        op.run(data, space=supernet, method="smash", out=tmp_path / "run")


def test_a_shared_weight_method_leaves_weights_where_they_are(data: ImageTask) -> None:
    assert methods.Spos().weights(op.Supernet(cell_space()), data.input_shape, 0) is None
