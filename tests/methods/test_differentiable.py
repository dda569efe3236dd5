"""The differentiable methods from Python: they finish, within their limits, and say the same for the same seed."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from data.texts import cycle_task

import onepath as op
from onepath.data import ImageTask
from onepath.errors import ConfigurationError, InfeasibleError
from onepath.methods import (
    Derived,
    MemoryJob,
    Proxyless,
    darts_recipe,
    derive_within,
    feasible_set,
    memory_job,
    proxyless_recipe,
)
from onepath.nn.relaxations import SoftmaxRelaxation, derive
from onepath.search import Limit
from onepath.train import ArchitectureTraining, Recipe, train_phases

LIMIT = 300_000


@pytest.fixture(scope="module")
def data() -> ImageTask:
    rng = np.random.default_rng(0)
    labels = np.arange(120) % 3
    images = (rng.integers(0, 60, (120, 8, 8, 1)) + 60 * labels[:, None, None, None]).astype(np.uint8)
    return op.load_data((images, labels), validation_fraction=0.3)


def supernet() -> op.Supernet:
    return op.spaces.build("nasbench201", 3, 8, in_channels=1, width=0.25, num_cells=1)


METHODS: dict[str, Any] = {
    "darts": lambda *a, **k: op.darts(*a, **k, order="second", batch_size=16),
    "gdas": lambda *a, **k: op.gdas(*a, **k, batch_size=16),
    "full": lambda *a, **k: op.proxyless(*a, **k, warmup_epochs=1, every=1, batch_size=16),
    "two-path": lambda *a, **k: op.proxyless(
        *a, **k, warmup_epochs=1, every=1, batch_size=16, gates="two-path", form="multiply-log"
    ),
    "reinforce": lambda *a, **k: op.proxyless(
        *a, **k, warmup_epochs=1, every=1, batch_size=16, gates="reinforce"
    ),
}


@pytest.mark.parametrize("name", sorted(METHODS))
def test_methods_finish_within_the_limit(name: str, data: ImageTask) -> None:
    def search() -> tuple[op.Supernet, Derived]:
        own = supernet()
        return own, METHODS[name](own, data, epochs=1, constraints=[op.MaxMacs(LIMIT)], seed=1)

    own, found = search()
    assert op.cost.macs(own, found.best, data.input_shape) <= LIMIT
    assert found.points
    again = search()[1]
    assert (again.best, again.points) == (found.best, found.points)


def test_a_search_that_is_timed_alone_steps_its_logits(data: ImageTask) -> None:
    job = MemoryJob(supernet(), data, batch_size=16)
    warmup, search = Proxyless(epochs=1, warmup_epochs=2).resolved(job).timed_phases(job)
    assert isinstance(search.before, ArchitectureTraining)
    assert isinstance(warmup.before, ArchitectureTraining)
    assert (warmup.before.recipe.warmup_epochs, search.before.recipe.warmup_epochs) == (2, 0)
    before = [logits.detach().clone() for logits in search.before.logits]
    train_phases(job.supernet, data, [dataclasses.replace(search, until=1.0)], seed=0)
    assert all(not torch.equal(old, new) for old, new in zip(before, search.before.logits, strict=True))


def test_winners_are_all_met(data: ImageTask) -> None:
    own = supernet()
    relaxation = SoftmaxRelaxation(own, deviation=1.0)
    limits = feasible_set(own, data.input_shape, [op.MaxMacs(LIMIT), op.MaxParams(7_000)]).limits
    found = derive_within(relaxation, limits)
    assert op.cost.macs(own, found, data.input_shape) <= LIMIT
    assert op.cost.params(own, found) <= 7_000
    low = feasible_set(own, data.input_shape, [op.MaxMacs(1000)]).limits
    with pytest.raises(InfeasibleError):
        derive_within(relaxation, low)


def test_a_cell_without_a_way_from_input_to_output_is_passed_over(data: ImageTask) -> None:
    own = supernet()
    relaxation = SoftmaxRelaxation(own, deviation=0.0)
    with torch.no_grad():
        for name, logits in zip(relaxation.names, relaxation.logits, strict=True):
            logits[0] = 3.0  # none
            logits[3] = {"0->3": 1.0, "2->3": 2.0}.get(name, 0.0)  # nor_conv_3x3
    found = derive(relaxation)
    # The way over node 2 is stronger at its end, but needs a second edge.
    assert own.space.format(found) == "|none~0|+|none~0|none~1|+|nor_conv_3x3~0|none~1|none~2|"
    low = feasible_set(own, data.input_shape, [op.MaxMacs(120_000)]).limits
    cheap = derive_within(relaxation, low)
    assert own.space.is_connected(cheap)
    assert op.cost.macs(own, cheap, data.input_shape) <= 120_000
    both = feasible_set(own, data.input_shape, [op.MaxMacs(LIMIT), op.MaxParams(7_000)]).limits
    assert own.space.is_connected(derive_within(relaxation, both))


DROPOUTS = ("words", "inputs", "cell_inputs", "states", "outputs")


def language_model() -> op.Supernet:
    return op.spaces.build(
        "darts-rnn", 5, hidden=16, num_nodes=1, **{f"dropout_{name}": 0.0 for name in DROPOUTS}
    )


@pytest.mark.parametrize("search", [op.darts, op.gdas, op.proxyless])
def test_methods_train_a_language_model(search: Any) -> None:
    options = {"warmup_epochs": 1, "every": 1} if search is op.proxyless else {}
    found = search(language_model(), cycle_task(510, 5, length=5), epochs=10, batch_size=10, **options)
    # ln 5 = 1.609 is the loss of a network that has learned nothing, or that the update lets run through `none`.
    assert np.mean([point.loss for point in found.curve[-20:]]) < 1.2


def asked(monkeypatch: pytest.MonkeyPatch, search: Any, *given: Any, **options: Any) -> dict[str, Any]:
    """What a method asks of the training, which is left out."""
    calls: list[dict[str, Any]] = []

    def train(supernet: Any, data: Any, phases: Any, **more: Any) -> list[Any]:
        assert supernet is given[0]
        training = phases[-1].before
        assert isinstance(training, ArchitectureTraining)
        calls.append({"data": data, "training": training, "recipe": phases[-1].recipe, **more})
        raise _AskedError

    monkeypatch.setattr(memory_job, "train_phases", train)
    with pytest.raises(_AskedError):
        search(*given, **options)
    return calls[0]


class _AskedError(Exception):
    """The training would begin."""


@pytest.mark.parametrize("search", [op.darts, op.gdas, op.proxyless])
def test_kinds_of_data_have_their_own_settings(
    search: Any, data: ImageTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = asked(monkeypatch, search, language_model(), cycle_task(), recipe="paper")
    weights, logits = text["recipe"], text["training"].recipe
    assert (weights.learning_rate, weights.momentum, weights.label_smoothing) == (20.0, 0.0, 0.0)
    assert (logits.learning_rate, logits.weight_decay) == (3e-3, 1e-3)
    assert (weights.clip_norm, logits.clip_norm) == (0.25, 0.25)
    images = asked(monkeypatch, search, supernet(), data, recipe="paper")
    if search is op.proxyless:
        assert images["recipe"] == proxyless_recipe(160, 256)
        assert images["training"].recipe.learning_rate == 1e-3
    else:
        assert images["recipe"] == darts_recipe(50, 64)
        assert (images["training"].recipe.learning_rate, images["training"].recipe.clip_norm) == (3e-4, 5.0)


@pytest.mark.parametrize("search", [op.darts, op.gdas, op.proxyless])
def test_what_is_given_reaches_the_training(
    search: Any, data: ImageTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = Recipe(epochs=7, batch_size=8, learning_rate=0.5, clip_norm=1.5)
    passed = {"device": "meta", "checkpoint": object(), "on_point": print, "on_update": print, "seed": 3}
    found = asked(
        monkeypatch,
        search,
        supernet(),
        data,
        recipe=own,
        warmup_epochs=2,
        rule="logits",
        architecture_rate=0.5,
        **passed,
    )
    training = found.pop("training")
    assert found == {**passed, "data": data, "recipe": own, "compile": False}
    assert (training.rule, training.seed) == ("logits", 3)
    logits = training.recipe
    assert (logits.warmup_epochs, logits.learning_rate, logits.clip_norm) == (2, 0.5, 1.5)
    shorter = asked(monkeypatch, search, supernet(), data, recipe=own, epochs=4, batch_size=5)["recipe"]
    num_epochs = 6 if search is op.proxyless else 4  # half as many epochs of a warm-up before
    assert shorter == dataclasses.replace(own, epochs=num_epochs, batch_size=5)


@pytest.mark.parametrize(
    ("search", "options", "message"),
    [
        (op.darts, {"rule": "weight"}, "rule must be 'weights' or 'logits', but got 'weight'"),
        (op.gdas, {"rule": "weight"}, "rule must be"),
        (op.proxyless, {"rule": "weight"}, "rule must be"),
        (
            op.darts,
            {"order": "third"},
            "order must be 'first', 'second', 'exact' or 'second-exact', but got 'third'",
        ),
        (
            op.gdas,
            {"epochs": 2, "warmup_epochs": 2},
            "warmup_epochs < epochs must hold, but got warmup_epochs=2",
        ),
    ],
)
def test_wrong_options_are_refused_before_the_training(
    search: Any, options: dict[str, Any], message: str, data: ImageTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory_job, "train_phases", None)
    with pytest.raises(ConfigurationError, match=message):
        search(supernet(), data, **options)


def test_the_exact_order_has_two_names(data: ImageTask, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("exact", "second-exact"):
        found = asked(monkeypatch, op.darts, supernet(), data, order=name)
        assert found["training"].recipe.order == "second-exact"


@pytest.mark.parametrize("rule", ["weights", "logits"])
def test_limits_that_all_meet_change_nothing_under_either_rule(rule: Any) -> None:
    own = op.spaces.build("darts", 10, 32, channels=4, cells=3)
    loose = [Limit(name, "", 1.0, lambda rows: np.zeros(len(rows))) for name in ("one", "other")]
    relaxations = [SoftmaxRelaxation(own, deviation=3.0, seed=seed) for seed in range(3)]
    assert any(derive(relaxation) != derive(relaxation, rule="logits") for relaxation in relaxations)
    for relaxation in relaxations:
        assert derive_within(relaxation, loose, rule=rule) == derive(relaxation, rule=rule)
