"""Phases: each does its own part, together they are one training that continues anywhere."""

from __future__ import annotations

import copy
import dataclasses
import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from train.choice_networks import blocks_supernet

from onepath.errors import ConfigurationError
from onepath.nn import Supernet
from onepath.nn.alignment import align_candidates, widest_path
from onepath.randomness import generator
from onepath.train import (
    AveragedCheckpoint,
    CandidateCounts,
    OnePath,
    Phase,
    Recipe,
    UniformSampler,
    WeightAverage,
    path_phases,
    train_phases,
    train_supernet,
)

RECIPE = Recipe(epochs=2, batch_size=16, learning_rate=0.1)  # 12 updates
LATER = dataclasses.replace(RECIPE, epochs=1, learning_rate=0.01, optimizer="adamw")  # 6 more


def weights(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


def assert_equal(first: nn.Module, second: nn.Module) -> None:
    others = second.state_dict()
    for name, value in first.state_dict().items():
        assert torch.equal(value, others[name]), name


class Noted:
    """Before updates, moves a number that its state holds; notes what is called."""

    def __init__(self, name: str, log: list[Any]) -> None:
        self.name, self.log, self.total = name, log, 0.0

    def to(self, device: torch.device) -> None:
        self.device = device

    def step(self, training: Any, inputs: Any, targets: Any, rate: float) -> None:
        self.total += rate * float(inputs.mean())
        self.log.append((self.name, training.done))

    def finish(self, training: Any) -> None:
        self.log.append((self.name, "finish"))

    def settings(self) -> dict[str, Any]:
        return {"noted": self.name}

    def state_dict(self) -> dict[str, Any]:
        return {"total": self.total}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.total = state["total"]

    def record(self) -> dict[str, Any]:
        return self.state_dict()

    def load_record(self, record: Any) -> None:
        self.load_state_dict(dict(record))


def four_phases(supernet: Supernet, log: list[Any]) -> list[Phase]:
    """A start from one path until update 3, two phases with something before their updates, then AdamW from 12 on."""
    sampler = UniformSampler(supernet.space)
    first = widest_path(supernet)

    def enter(trained: Supernet) -> None:
        log.append("enter")
        align_candidates(trained, first)

    return [
        Phase("start", RECIPE, OnePath(first), until=0.25),
        Phase("first", RECIPE, sampler, before=Noted("first", log), enter=enter, until=0.5),
        Phase("second", RECIPE, sampler, before=Noted("second", log)),
        Phase("later", LATER, sampler),
    ]


def test_what_happens_before_updates_belongs_to_its_phase(toys: Any) -> None:
    log: list[Any] = []
    supernet = blocks_supernet((3, 2))
    train_phases(supernet, toys.NoiseTask(), four_phases(supernet, log))
    first = [("first", update) for update in range(3, 6)]
    second = [("second", update) for update in range(6, 12)]
    assert log == ["enter", *first, ("first", "finish"), *second, ("second", "finish")]


def test_one_object_over_two_phases_is_finished_once(toys: Any) -> None:
    log: list[Any] = []
    supernet = blocks_supernet((3, 2))
    noted, sampler = Noted("both", log), UniformSampler(supernet.space)
    phases = [
        Phase("a", RECIPE, sampler, before=noted, until=0.5),
        Phase("b", RECIPE, sampler, before=noted),
    ]
    train_phases(supernet, toys.NoiseTask(), phases)
    assert log == [*(("both", update) for update in range(12)), ("both", "finish")]


@pytest.mark.parametrize("stop", [1, 3, 4, 6, 8, 12, 13, 18])
def test_resuming_inside_any_phase_is_bit_exact(toys: Any, stop: int) -> None:
    """Also where a phase ends (3, 6), where a recipe ends (12), and at the end."""

    def trained(supernet: Supernet, log: list[Any], **options: Any) -> Any:
        phases, counts = four_phases(supernet, log), CandidateCounts()
        curve = train_phases(supernet, toys.NoiseTask(), phases, seed=3, counts=counts, **options)
        values = [(p.update, p.epoch, p.loss, p.metric, p.learning_rate) for p in curve]
        return values, counts.by_block, [phase.before.total for phase in phases if phase.before is not None]

    def stop_now(update: int, total: int) -> None:
        assert total == 18
        if update == stop:
            raise KeyboardInterrupt

    whole, resumed, log = blocks_supernet((3, 2)), blocks_supernet((3, 2), seed=9), []
    expected = trained(whole, log)
    checkpoint, before, after = toys.MemoryCheckpoint(), [], []
    with pytest.raises(KeyboardInterrupt):
        trained(blocks_supernet((3, 2)), before, checkpoint=checkpoint, on_update=stop_now)
    found = trained(resumed, after, checkpoint=checkpoint)
    assert_equal(whole, resumed)
    assert found == expected
    assert [point[0] for point in found[0]] == list(range(1, 19))
    assert (before + after).count("enter") == 1
    assert [each for each in before + after if each[1] != "finish"] == [
        each for each in log if each[1] != "finish"
    ]


def test_the_state_is_loaded_once_so_that_an_average_beside_it_continues(toys: Any) -> None:
    supernet = blocks_supernet((3, 2))
    memory = toys.MemoryCheckpoint()
    for _ in range(2):
        average = WeightAverage(supernet, begin=0.0, every=1)
        checkpoint = AveragedCheckpoint(memory, average)
        train_phases(
            supernet,
            toys.NoiseTask(),
            four_phases(supernet, []),
            checkpoint=checkpoint,
            on_update=average.observe,
        )
        assert average.num_samples == 18


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda phases: phases[:3], r"its phases is .*'later'"),
        (
            lambda phases: [dataclasses.replace(phases[0], name="other"), *phases[1:]],
            "its phases is .*'other'",
        ),
        (lambda phases: [dataclasses.replace(phases[0], until=0.125), *phases[1:]], "its phases is .*0.125"),
        (
            lambda phases: [
                *(
                    dataclasses.replace(p, recipe=dataclasses.replace(RECIPE, learning_rate=0.3))
                    for p in phases[:3]
                ),
                phases[3],
            ],
            r"its learning_rate is 0\.1 and 0\.3 was asked for",
        ),
        (
            lambda phases: [
                *phases[:3],
                dataclasses.replace(phases[3], recipe=dataclasses.replace(LATER, clip_norm=1.0)),
            ],
            r"its clip_norm of phase 4 \('later'\) is None and 1\.0 was asked for",
        ),
        (
            lambda phases: [*phases[:2], dataclasses.replace(phases[2], before=Noted("x", [])), phases[3]],
            r"its noted of phase 3 \('second'\) is 'second' and 'x' was asked for",
        ),
        (
            lambda phases: [*phases[:2], dataclasses.replace(phases[2], reduction="mean"), phases[3]],
            r"its reduction of phase 3 \('second'\) is 'sum' and 'mean' was asked for",
        ),
    ],
)
def test_a_checkpoint_of_other_phases_is_refused(toys: Any, change: Any, named: str) -> None:
    """Wherever in the training it was saved: here in its last phase, of another recipe."""
    supernet, checkpoint = blocks_supernet((3, 2)), toys.MemoryCheckpoint()
    train_phases(supernet, toys.NoiseTask(), four_phases(supernet, []), checkpoint=checkpoint)
    other = blocks_supernet((3, 2), seed=9)
    before = weights(other)
    with pytest.raises(ConfigurationError, match=named) as caught:
        train_phases(other, toys.NoiseTask(), change(four_phases(other, [])), checkpoint=checkpoint)
    assert "\n" not in str(caught.value)
    assert all(torch.equal(value, before[name]) for name, value in other.state_dict().items())


@pytest.mark.parametrize("stretch", [2, -1, "1", None])
def test_a_checkpoint_of_a_recipe_that_is_not_there_is_one_line(toys: Any, stretch: Any) -> None:
    supernet, checkpoint = blocks_supernet((3, 2)), toys.MemoryCheckpoint()
    train_phases(supernet, toys.NoiseTask(), four_phases(supernet, []), checkpoint=checkpoint)
    checkpoint.state["stretch"] = stretch
    with pytest.raises(ConfigurationError, match="a checkpoint must hold what its training keeps"):
        train_phases(supernet, toys.NoiseTask(), four_phases(supernet, []), checkpoint=checkpoint)


def test_updates_count_over_all_recipes_and_batches_come_in_a_new_order(toys: Any) -> None:
    orders: list[tuple[int, int, int]] = []
    drawn: list[tuple[int, float]] = []

    class Task(toys.NoiseTask):  # type: ignore[misc]
        def train_batches(
            self, batch_size: int, *, seed: int, first_update: int = 0, num_updates: int
        ) -> Any:
            orders.append((seed, first_update, num_updates))
            return super().train_batches(
                batch_size, seed=seed, first_update=first_update, num_updates=num_updates
            )

    class Sampler(UniformSampler):
        def paths(self, update: int, rng: np.random.Generator) -> Any:
            drawn.append((update, copy.deepcopy(rng).random()))
            return super().paths(update, rng)

    supernet = blocks_supernet((3, 2))
    sampler, updates = Sampler(supernet.space), []
    phases = [Phase("a", RECIPE, sampler), Phase("b", LATER, sampler)]
    curve = train_phases(
        supernet, Task(), phases, seed=3, on_update=lambda update, total: updates.append((update, total))
    )
    assert updates == [(update, 18) for update in range(1, 19)]
    assert [(p.update, p.epoch) for p in curve] == [(u, pytest.approx(u / 6)) for u in range(1, 19)]
    assert [p.seconds for p in curve] == sorted(p.seconds for p in curve)
    assert drawn == [
        (update - 12 * (update >= 12), generator(3, "paths", update).random()) for update in range(18)
    ]
    assert orders[0] == (3, 0, 12)
    assert orders[1][0] != 3
    assert orders[1][1:] == (0, 6)


def test_a_module_follows_the_progress_of_each_recipe(toys: Any) -> None:
    found: list[float] = []

    class Following(nn.Identity):
        def set_progress(self, progress: float) -> None:
            found.append(progress)

    supernet = blocks_supernet((3, 2))
    supernet.module.follower = Following()
    sampler = UniformSampler(supernet.space)
    train_phases(supernet, toys.NoiseTask(), [Phase("a", RECIPE, sampler), Phase("b", LATER, sampler)])
    assert found == [0.0] * 6 + [0.5] * 6 + [0.0] * 6


class AlignsItself:
    """One sampler that does what the phases of a start from one path do."""

    def __init__(self, supernet: Supernet, num: int) -> None:
        self.supernet, self.num, self.first = supernet, num, widest_path(supernet)

    def paths(self, update: int, rng: np.random.Generator) -> Any:
        if update < self.num:
            return (self.first,)
        if update == self.num:
            align_candidates(self.supernet, self.first)
        return UniformSampler(self.supernet.space).paths(update, rng)


@pytest.mark.parametrize(("share", "num"), [(0.1, 1), (0.25, 3), (0.9, 11)])
def test_a_start_from_one_path_is_one_sampler_of_two_parts(toys: Any, share: float, num: int) -> None:
    ours, theirs = blocks_supernet((3, 2)), blocks_supernet((3, 2))
    recipe = dataclasses.replace(RECIPE, one_path=share)
    train_supernet(ours, toys.NoiseTask(), sampler=UniformSampler(ours.space), recipe=recipe, seed=3)
    train_phases(theirs, toys.NoiseTask(), [Phase("all", RECIPE, AlignsItself(theirs, num))], seed=3)
    assert_equal(ours, theirs)


def test_a_start_without_an_update_gives_no_weights_away(toys: Any) -> None:
    supernet = blocks_supernet((3, 2))
    sampler, task = UniformSampler(supernet.space), toys.NoiseTask()
    names = {
        share: [
            p.name for p in path_phases(supernet, task, dataclasses.replace(RECIPE, one_path=share), sampler)
        ]
        for share in (0.0, 0.04, 0.05)
    }
    assert names == {0.0: ["supernet"], 0.04: ["supernet"], 0.05: ["one path", "supernet"]}


def test_gradients_are_joined_as_each_phase_says(toys: Any) -> None:
    """The mean of the same path twice is that path, in whichever phase; the sum is not."""

    def parameters(*parts: tuple[int, Any]) -> list[Tensor]:
        """After phases of the same path so many times, joined so."""
        supernet = blocks_supernet((3, 2))
        path = widest_path(supernet)
        phases = [
            Phase(
                str(index), RECIPE, toys.ListSampler([path] * num), until=(index + 1) / 2, reduction=reduction
            )
            for index, (num, reduction) in enumerate(parts)
        ]
        train_phases(supernet, toys.NoiseTask(), phases)
        return [p.detach() for p in supernet.parameters()]

    def is_equal(first: list[Tensor], second: list[Tensor]) -> bool:
        return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))

    once = parameters((1, "sum"), (1, "sum"))
    assert is_equal(once, parameters((1, "sum"), (2, "mean")))
    assert is_equal(once, parameters((2, "mean"), (1, "sum")))
    assert not is_equal(once, parameters((1, "mean"), (2, "sum")))
    assert not is_equal(once, parameters((2, "sum"), (1, "mean")))


def test_a_later_recipe_begins_anew(toys: Any) -> None:
    """Its part is a training of its own, with its optimizer and no state from before, on batches in another order."""
    ours, theirs, task = blocks_supernet((3, 2)), blocks_supernet((3, 2)), toys.NoiseTask()
    sampler = OnePath(widest_path(ours))
    train_phases(ours, task, [Phase("a", RECIPE, sampler), Phase("b", LATER, sampler)], seed=3)
    train_phases(theirs, task, [Phase("a", RECIPE, sampler)], seed=3)
    order = int(generator(3, "stretch", 1).integers(2**31))
    train_phases(theirs, task, [Phase("b", LATER, sampler)], seed=order)
    assert_equal(ours, theirs)


def distilled(outputs: Sequence[Tensor], targets: Tensor, task: Any) -> Tensor:
    """In-place distillation: the first path learns from the labels, the others from what it said."""
    if len(outputs) == 1:
        return task.loss(outputs[0], targets)
    return functional.cross_entropy(outputs[-1], outputs[0].softmax(1))


def test_an_objective_distils_in_place(toys: Any) -> None:
    """One update of plain SGD, so that the change of a weight is the gradient of the written-out loss."""
    ours, task = blocks_supernet((3, 2)), toys.NoiseTask()
    theirs = copy.deepcopy(ours).train()
    paths = [ours.space.architecture(indices) for indices in ([0, 0], [1, 1], [2, 0])]
    recipe = Recipe(epochs=1, batch_size=96, learning_rate=0.5, momentum=0.0, weight_decay=0.0)
    train_phases(ours, task, [Phase("distil", recipe, toys.ListSampler(paths), objective=distilled)])
    inputs, targets = next(task.train_batches(96, seed=0, num_updates=1))
    first = theirs(inputs, paths[0])
    soft = first.detach().softmax(1)
    rest = sum(functional.cross_entropy(theirs(inputs, path), soft) for path in paths[1:])
    (task.loss(first, targets) + rest).backward()
    for p, r in zip(ours.parameters(), theirs.parameters(), strict=True):
        moved = r.detach() if r.grad is None else r.detach() - 0.5 * r.grad
        torch.testing.assert_close(p.detach(), moved, rtol=1e-5, atol=1e-6)


def test_outputs_of_earlier_paths_have_no_graph_and_do_not_outlive_the_update(toys: Any) -> None:
    kept: list[Any] = []

    def objective(outputs: Sequence[Tensor], targets: Tensor, task: Any) -> Tensor:
        graphs.append([each.grad_fn is not None for each in outputs])
        kept.extend(weakref.ref(each) for each in outputs)
        return distilled(outputs, targets, task)

    def look(update: int, total: int) -> None:
        assert len(kept) == 6
        assert all(each() is None for each in kept)
        kept.clear()

    graphs: list[list[bool]] = []
    supernet = blocks_supernet((3, 2))
    paths = [supernet.space.architecture(indices) for indices in ([0, 0], [1, 1], [2, 0])]
    phase = Phase("distil", RECIPE, toys.ListSampler(paths), objective=objective)
    train_phases(supernet, toys.NoiseTask(), [phase], on_update=look)
    assert graphs == [[True], [False, True], [False, False, True]] * 12


def test_equal_recipes_in_a_row_are_trained_one_after_another(toys: Any) -> None:
    """Two phases of one length and rate, as in progressive shrinking; each goes through its whole schedule."""
    supernet = blocks_supernet((3, 2))
    sampler = toys.ListSampler([supernet.space.architecture([0, 0])])
    entered: list[str] = []
    phases = [
        Phase(name, RECIPE, sampler, enter=lambda _, name=name: entered.append(name))
        for name in ("one", "other")
    ]
    once = train_phases(copy.deepcopy(supernet), toys.NoiseTask(), phases[:1])
    curve = train_phases(supernet, toys.NoiseTask(), phases)
    assert curve[-1].update == 2 * once[-1].update
    assert entered == ["one", "one", "other"]
    rates = [point.learning_rate for point in curve]
    assert rates[: len(rates) // 2] == rates[len(rates) // 2 :]


@pytest.mark.parametrize(
    ("shares", "named"),
    [
        ([], "at least one phase"),
        ([0.5], r"be 1 in the last one, but got \[0.5\]"),
        ([0.5, 0.5, 1.0], "must increase"),
        ([0.6, 0.4, 1.0], "must increase"),
        ([float("nan"), 1.0], "must increase"),
        ([0.0, 1.0], "must increase"),
        ([1.5, 1.0], "must increase"),
        ([0.01, 1.0], "every phase must have an update, but '0' has none of 12"),
        ([0.5, 0.52, 1.0], "every phase must have an update, but '1' has none of 12"),
        ([0.99, 1.0], "every phase must have an update, but '1' has none of 12"),
    ],
)
def test_phases_that_do_not_share_out_a_recipe_are_refused(
    toys: Any, shares: list[float], named: str
) -> None:
    supernet = blocks_supernet((3, 2))
    before, sampler = weights(supernet), UniformSampler(supernet.space)
    phases = [Phase(str(i), RECIPE, sampler, until=share) for i, share in enumerate(shares)]
    with pytest.raises(ConfigurationError, match=named):
        train_phases(supernet, toys.NoiseTask(), phases)
    assert all(torch.equal(value, before[name]) for name, value in supernet.state_dict().items())
