"""Training logits beside weights: what moves, what does not, resumption, guards."""

from __future__ import annotations

import copy
import dataclasses
import itertools
import json
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from train.choice_networks import blocks_supernet

from onepath.counting import CostTable, CostTerm
from onepath.data import Task
from onepath.errors import ConfigurationError
from onepath.nn import ChoiceBlock, Supernet
from onepath.nn.relaxations import (
    BinaryRelaxation,
    ExpectedCost,
    GumbelRelaxation,
    Relaxation,
    SoftmaxRelaxation,
    TwoPathRelaxation,
    derive,
)
from onepath.train import (
    ArchitectureRecipe,
    ArchitectureTraining,
    CostLoss,
    Guard,
    Recipe,
    Reinforce,
    differentiable_phases,
)
from onepath.train.loop import train_differentiable
from onepath.train.training import Training

RECIPE = Recipe(epochs=3, batch_size=24, learning_rate=0.1, label_smoothing=0.0, schedule="cosine")


def searchable(toys: Any) -> Any:
    """The task of noise, with the default validation batches."""

    class SearchableTask(toys.NoiseTask):  # type: ignore[misc]
        validation_batches = Task.validation_batches

    return SearchableTask()


def search(
    toys: Any, kind: type[Relaxation] = SoftmaxRelaxation, checkpoint: Any = None, **arguments: Any
) -> tuple[Any, ArchitectureTraining]:
    supernet = blocks_supernet((3, 2))
    recipe = ArchitectureRecipe(
        order=arguments.pop("order", "first"),
        learning_rate=0.05,
        warmup_epochs=arguments.pop("warmup_epochs", 0),
        every=arguments.pop("every", 1),
        watch_eigenvalue=arguments.pop("watch_eigenvalue", False),
    )
    on_update = arguments.pop("on_update", None)
    architecture = ArchitectureTraining(supernet, kind(supernet), recipe, seed=1, **arguments)
    train_differentiable(
        supernet, searchable(toys), architecture, recipe=RECIPE, checkpoint=checkpoint, on_update=on_update
    )
    return supernet, architecture


@pytest.mark.parametrize(
    ("kind", "order"),
    [
        *itertools.product((SoftmaxRelaxation, GumbelRelaxation), ("first", "second", "second-exact")),
        (BinaryRelaxation, "first"),
        (TwoPathRelaxation, "first"),
    ],
)
def test_a_step_leaves_weights_and_statistics_alone_to_the_bit(
    toys: Any, order: Any, kind: type[Relaxation]
) -> None:
    supernet = blocks_supernet((3, 2))
    architecture = ArchitectureTraining(supernet, kind(supernet), ArchitectureRecipe(order=order), seed=0)
    task = searchable(toys)
    phases = differentiable_phases(architecture, RECIPE)
    training = Training(supernet, supernet, task, phases, seed=0, device=torch.device("cpu"))
    supernet.train()
    inputs, targets = next(iter(task.train_batches(24, seed=0, num_updates=1)))
    before = copy.deepcopy(supernet.state_dict())
    logits = [p.detach().clone() for p in architecture.logits]
    architecture.step(training, inputs, targets, 0.1)
    for name, value in supernet.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert any(not torch.equal(a, b) for a, b in zip(logits, architecture.logits, strict=True))
    assert all(p.grad is None for p in supernet.parameters())


def test_exact_and_finite_difference_agree_on_a_network(toys: Any) -> None:
    found = {}
    for order in ("first", "second", "second-exact"):
        supernet = blocks_supernet((3, 2)).double()
        architecture = ArchitectureTraining(
            supernet, SoftmaxRelaxation(supernet).double(), ArchitectureRecipe(order=order), seed=0
        )
        task = searchable(toys)
        task.inputs = task.inputs.double()
        training = Training(
            supernet,
            lambda x, p, supernet=supernet: supernet(x, p),
            task,
            differentiable_phases(architecture, RECIPE),
            seed=0,
            device=torch.device("cpu"),
        )
        supernet.train()
        batches = list(task.train_batches(24, seed=0, num_updates=2))
        gradients = architecture._gradients(training, tuple(batches[0]), tuple(batches[1]), 0.5, 0.0)
        found[order] = torch.cat(gradients)
    assert torch.allclose(found["second"], found["second-exact"], rtol=2e-2, atol=1e-6)
    assert not torch.allclose(found["first"], found["second-exact"], rtol=5e-2, atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "order"),
    [
        (SoftmaxRelaxation, "first"),
        (SoftmaxRelaxation, "second"),
        (GumbelRelaxation, "first"),
        (BinaryRelaxation, "first"),
        (TwoPathRelaxation, "first"),
    ],
)
def test_an_interrupted_search_ends_as_an_uninterrupted_one(
    toys: Any, kind: type[Relaxation], order: str
) -> None:
    options = {"order": order, "warmup_epochs": 1, "watch_eigenvalue": True}
    whole, expected = search(toys, kind, **options)

    class StopError(Exception):
        pass

    def stop(done: int, _: int) -> None:
        if done == 7:
            raise StopError

    checkpoint = toys.MemoryCheckpoint(always=True)
    with pytest.raises(StopError):
        search(toys, kind, checkpoint, on_update=stop, **options)
    assert checkpoint.state["update"] == 6
    resumed, found = search(toys, kind, checkpoint, **options)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
    for ours, theirs in zip(expected.logits, found.logits, strict=True):
        assert torch.equal(ours, theirs)
    assert expected.points == found.points
    assert [p.epoch for p in found.points] == [1, 2, 3]


def test_a_checkpoint_of_another_search_is_refused(toys: Any) -> None:
    checkpoint = toys.MemoryCheckpoint(always=True)
    search(toys, checkpoint=checkpoint)
    with pytest.raises(ConfigurationError, match="relaxation"):
        search(toys, GumbelRelaxation, checkpoint)


def _costly(supernet: Supernet, **arguments: Any) -> CostLoss:
    numbers = arguments.pop("costs", [1.0, 2.0, 3.0])
    name = supernet.space.names[0]
    expected = ExpectedCost(SoftmaxRelaxation(supernet), CostTable(1, [CostTerm(name, numbers)], "ms"))
    return CostLoss(expected, **{"reference": 2.0, **arguments})


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("relaxation", lambda s: {"relaxation": GumbelRelaxation(s, temperatures=(5.0, 0.1))}),
        ("relaxation", lambda s: {"relaxation": GumbelRelaxation(s, hard=False)}),
        ("relaxation", lambda s: {"relaxation": GumbelRelaxation(s, seed=3)}),
        ("architecture_seed", lambda _: {"seed": 2}),
        ("rule", lambda _: {"rule": "logits"}),
        ("cost", lambda s: {"cost": _costly(s)}),
        ("reinforce", lambda _: {"reinforce": Reinforce(num_samples=3)}),
        ("guard", lambda _: {"guard": Guard(max_skips=1)}),
    ],
)
def test_settings_tell_searches_apart(name: str, changed: Any) -> None:
    supernet = blocks_supernet((3, 2))

    def settings(**arguments: Any) -> dict[str, Any]:
        given = {"relaxation": GumbelRelaxation(supernet), "seed": 1, **arguments}
        return ArchitectureTraining(supernet, recipe=ArchitectureRecipe(), **given).settings()

    before, after = settings(), settings(**changed(supernet))
    assert {key for key in before if before[key] != after[key]} == {name}


def test_settings_tell_costs_and_rewards_apart() -> None:
    supernet = blocks_supernet((3, 2))
    plain = _costly(supernet).settings()
    assert plain == _costly(supernet).settings()
    for change in (
        {"reference": 3.0},
        {"form": "multiply-log"},
        {"strength": 0.2},
        {"costs": [1.0, 2.0, 4.0]},
    ):
        assert _costly(supernet, **change).settings() != plain
    relaxation = BinaryRelaxation(supernet)
    table = CostTable(1, [CostTerm(supernet.space.names[0], [1.0, 2.0, 3.0])], "ms")
    rewards = [Reinforce(), Reinforce(table), Reinforce(table, reference=2.0), Reinforce(table, exponent=0.2)]
    found = [reward.settings(relaxation) for reward in rewards]
    assert all(a != b for a, b in itertools.combinations(found, 2))


def test_logits_wait_for_the_warm_up_and_every(toys: Any) -> None:
    _, architecture = search(toys, warmup_epochs=2)
    assert [p.loss is None for p in architecture.points] == [True, True, False]
    start = SoftmaxRelaxation(blocks_supernet((3, 2)))
    assert architecture.points[1].weights == start.weights_of()
    assert architecture.points[2].weights != start.weights_of()
    with pytest.raises(ConfigurationError, match="warmup_epochs=3, epochs=3"):
        search(toys, warmup_epochs=3)
    _, sparse = search(toys, every=4)
    assert sparse.optimizer.state[sparse.logits[0]]["step"] == 3  # 12 updates


def test_a_search_is_a_warm_up_and_a_phase_of_weights_and_logits() -> None:
    supernet = blocks_supernet((3, 2))
    for warmup_epochs, expected in ((0, [("search", 1.0)]), (1, [("warm-up", 1 / 3), ("search", 1.0)])):
        recipe = ArchitectureRecipe(warmup_epochs=warmup_epochs)
        training = ArchitectureTraining(supernet, SoftmaxRelaxation(supernet), recipe, seed=0)
        phases = differentiable_phases(training, RECIPE)
        assert [(phase.name, phase.until) for phase in phases] == expected
        assert all(phase.before is training for phase in phases)


@pytest.mark.parametrize("order", ["second", "second-exact"])
def test_a_look_ahead_with_adamw_is_refused_before_the_warm_up(order: Any) -> None:
    supernet = blocks_supernet((3, 2))
    recipe = ArchitectureRecipe(order=order, warmup_epochs=1)
    training = ArchitectureTraining(supernet, SoftmaxRelaxation(supernet), recipe, seed=0)
    with pytest.raises(ConfigurationError, match=f"order '{order}' look ahead .* the recipe has 'adamw'"):
        differentiable_phases(training, dataclasses.replace(RECIPE, optimizer="adamw"))


def test_another_process_derives_from_the_record(toys: Any) -> None:
    """It is plain values, read back from JSON to the bit; probabilities are rounded."""
    _, architecture = search(toys, guard=Guard(max_skips=1))
    record = json.loads(json.dumps(architecture.record()))
    supernet = blocks_supernet((3, 2))
    later = ArchitectureTraining(supernet, SoftmaxRelaxation(supernet), ArchitectureRecipe(), seed=1)
    later.load_record(record)
    for ours, theirs in zip(later.logits, architecture.logits, strict=True):
        assert torch.equal(ours, theirs)
    assert derive(later.relaxation) == derive(architecture.relaxation)
    assert [point["epoch"] for point in record["points"]] == [1, 2, 3]
    assert {len(names) for names in record["candidates"].values()} == {3, 2}
    assert record["guard"]["max_skips"] == 1
    assert record["stopped"] is record["stopped_epoch"] is record["kept_epoch"] is None
    for weights in (values for point in record["points"] for values in point["weights"].values()):
        assert weights == [round(weight, 5) for weight in weights]
        assert sum(weights) == pytest.approx(1, abs=1e-4)


def test_unsampled_weights_do_not_move(toys: Any) -> None:
    supernet = blocks_supernet((3, 2))
    relaxation = BinaryRelaxation(supernet)
    with torch.no_grad():
        relaxation.logits[0].copy_(torch.tensor([0.0, 0.0, -200.0]))
    before = copy.deepcopy(supernet.state_dict())
    architecture = ArchitectureTraining(supernet, relaxation, ArchitectureRecipe(), seed=1)
    train_differentiable(supernet, searchable(toys), architecture, recipe=RECIPE)
    after = supernet.state_dict()
    for name, value in before.items():
        if name.startswith("module.blocks.0.candidates.2."):
            assert torch.equal(value, after[name]), name


def test_a_sampled_none_costs_nothing_in_a_reward() -> None:
    block = ChoiceBlock({"cheap": nn.Identity(), "dear": nn.Linear(3, 3)}, none=nn.Identity())
    relaxation = BinaryRelaxation(Supernet(nn.Sequential(block)))
    (name,) = relaxation.names
    estimator = Reinforce(CostTable(10, [CostTerm(name, [0, 990])], "macs"), reference=10.0)
    factors = [estimator._factor(relaxation, [index]) for index in range(3)]
    assert factors == pytest.approx([1.0, 0.01**0.1, 1.0])
    free = Reinforce(CostTable(0, [CostTerm(name, [0, 990])], "macs"), reference=10.0)
    with pytest.raises(ConfigurationError, match="a cost in a reward must be above 0"):
        free._factor(relaxation, [0])


def test_an_expected_cost_of_rewards_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[ExpectedCost] = []

    class Made(ExpectedCost):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            made.append(self)

    monkeypatch.setattr("onepath.train.reinforce.ExpectedCost", Made)
    supernet = blocks_supernet((3, 2))
    table = CostTable(0, [CostTerm(supernet.space.names[0], [10, 20, 40])], "macs")
    estimator = Reinforce(table)
    for num in (1, 2):
        relaxation = BinaryRelaxation(supernet)
        for _ in range(3):
            estimator.settings(relaxation)
            estimator.gradients(relaxation, lambda _: 1.0, np.random.default_rng(0))
        assert len(made) == num


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: Reinforce(reference=-5.0), "reference > 0"),
        (lambda: Reinforce(num_samples=0), "num_samples >= 1"),
        (lambda: Reinforce(rate=5), "0 < rate <= 1"),
        (lambda: Reinforce(exponent=float("nan")), "exponent >= 0"),
        (lambda: ArchitectureRecipe(betas=(2, 3)), "betas in"),
        (lambda: ArchitectureRecipe(clip_norm=-1), "clip_norm > 0"),
        (lambda: ArchitectureRecipe(learning_rate=float("inf")), "learning_rate > 0"),
    ],
)
def test_values_out_of_range(make: Any, named: str) -> None:
    with pytest.raises(ConfigurationError, match=named):
        make()


def test_reinforce_estimates_the_gradient_of_the_expected_reward() -> None:
    supernet = blocks_supernet((3, 2))
    relaxation = BinaryRelaxation(supernet, deviation=0.5)
    first, second = relaxation.names
    accuracies = {first: [0.9, 0.5, 0.1], second: [0.2, 0.3]}
    table = CostTable(0, [CostTerm(first, [10, 20, 40])], "macs")

    def metric(path: Any) -> float:
        return sum(accuracies[name][gate.active[0]] for name, gate in path.gates.items())

    estimator = Reinforce(table, reference=20.0, num_samples=5_000)
    found = estimator.gradients(relaxation, metric, np.random.default_rng(0))
    p = list(relaxation.probabilities().values())
    factor = torch.tensor([(20 / c) ** 0.1 for c in (10, 20, 40)])
    rewards = (torch.tensor(accuracies[first])[:, None] + torch.tensor(accuracies[second])) * factor[:, None]
    truth = torch.autograd.grad(-(p[0] @ rewards @ p[1]), list(relaxation.logits))
    for ours, exact in zip(found, truth, strict=True):
        assert torch.allclose(ours, exact, atol=0.01)
    assert estimator.baseline == pytest.approx(float((p[0] @ rewards @ p[1]).detach()), abs=0.02)


def test_validation_batches_depend_on_the_step_alone(toys: Any) -> None:
    task = searchable(toys)
    whole = list(task.validation_batches(40, seed=0, num_steps=8))
    late = list(task.validation_batches(40, seed=0, first_step=5, num_steps=3))
    for ours, theirs in zip(whole[5:], late, strict=True):
        assert torch.equal(ours[0], theirs[0])
    assert torch.equal(whole[0][1], whole[3][1])  # three batches in a pass
