from __future__ import annotations

import contextlib
import copy
import dataclasses
import gc
import os
import signal
from typing import Any

import pytest
import torch
from torch import nn

from onepath.errors import ConfigurationError
from onepath.record import TrainingCheckpoint
from onepath.train import Recipe, train_model, train_supernet

RECIPE = Recipe(epochs=3, batch_size=16, learning_rate=0.1, weight_decay=0.1, warmup_epochs=0.5)  # 18 updates


def weights(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


def assert_identical(first: nn.Module, second: nn.Module) -> None:
    others = second.state_dict()
    for name, value in first.state_dict().items():
        assert torch.equal(value, others[name]), name


def train(toys: Any, supernet: nn.Module, **options: Any) -> Any:
    options = {"sampler": toys.RandomSampler(), "recipe": RECIPE, "seed": 3, **options}
    return train_supernet(supernet, toys.NoiseTask(), **options)


def test_unsampled_parameters_do_not_move_by_momentum_or_weight_decay(toys: Any) -> None:
    supernet = toys.supernet()
    after: dict[int, dict[str, torch.Tensor]] = {}
    paths = {update: [(0, 0)] if update < 6 else [(1, 1)] for update in range(18)}
    train(
        toys,
        supernet,
        sampler=toys.ListSampler(paths),
        on_update=lambda update, total: after.update({update: weights(supernet)}),
    )
    unsampled = [f"blocks.{block}.{candidate}." for block in (0, 1) for candidate in (0, 2)]
    for prefix in unsampled:
        names = [name for name in after[6] if name.startswith(prefix)]
        assert len(names) == 7
        for name in names:
            assert torch.equal(after[6][name], after[18][name]), name
    assert not torch.equal(after[1]["blocks.0.0.0.weight"], after[6]["blocks.0.0.0.weight"])
    assert not torch.equal(after[6]["blocks.0.1.0.weight"], after[18]["blocks.0.1.0.weight"])


def test_zero_filled_gradients_would_move_them(toys: Any) -> None:
    """The same path with gradients filled with 0 moves an unsampled weight: what the test above would
    catch."""
    supernet, task = toys.supernet(), toys.NoiseTask()
    optimizer = torch.optim.SGD(supernet.parameters(), lr=0.1, momentum=0.9, weight_decay=0.1)
    weight = supernet.blocks[0][2][0].weight
    before = weight.detach().clone()
    for p in supernet.parameters():
        p.grad = torch.zeros_like(p)
    task.loss(supernet(task.inputs[:16], (0, 0)), task.targets[:16]).backward()
    optimizer.step()
    assert not torch.equal(before, weight)


def test_gradients_of_several_paths_are_those_of_the_summed_losses(toys: Any) -> None:
    """One update of plain SGD, so that the change of a weight is the gradient times the rate."""
    paths = [(0, 1), (2, 1), (0, 0)]
    recipe = Recipe(
        epochs=1, batch_size=96, learning_rate=0.5, momentum=0.0, weight_decay=0.0, label_smoothing=0.1
    )
    supernet, task = toys.supernet(), toys.NoiseTask()
    for module in supernet.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    reference = copy.deepcopy(supernet)
    inputs, targets = next(task.train_batches(96, seed=0, num_updates=1))
    sum(task.loss(reference(inputs, path), targets, 0.1) for path in paths).backward()
    curve = train_supernet(supernet, task, sampler=toys.ListSampler(paths), recipe=recipe)
    moved = 0
    for p, r in zip(supernet.parameters(), reference.parameters(), strict=True):
        gradient = torch.zeros_like(r) if r.grad is None else r.grad
        torch.testing.assert_close(r.detach() - 0.5 * gradient, p.detach(), rtol=1e-5, atol=1e-6)
        moved += r.grad is not None
    assert 0 < moved < len(list(supernet.parameters()))
    assert curve[-1].loss > 0


@pytest.mark.parametrize("stop", [1, 5, 17])
def test_resuming_is_bit_exact(toys: Any, stop: int) -> None:
    whole = toys.supernet()
    curve = train(toys, whole)

    def stop_now(update: int, total: int) -> None:
        if update == stop:
            raise KeyboardInterrupt

    stopped, checkpoint = toys.supernet(), toys.MemoryCheckpoint()
    torch.manual_seed(11)
    with pytest.raises(KeyboardInterrupt):
        train(toys, stopped, checkpoint=checkpoint, on_update=stop_now)
    assert checkpoint.state is not None
    assert checkpoint.state["update"] == stop
    resumed = toys.supernet(seed=99)
    torch.manual_seed(12)
    rest: list[Any] = []
    resumed_curve = train(toys, resumed, checkpoint=checkpoint, on_point=rest.append)
    assert_identical(whole, resumed)
    values = [(p.update, p.epoch, p.loss, p.metric, p.learning_rate) for p in curve]
    assert values == [(p.update, p.epoch, p.loss, p.metric, p.learning_rate) for p in resumed_curve]
    assert [p.update for p in rest] == list(range(stop + 1, 19))


def test_the_curve_is_the_same_when_stopped_between_two_of_its_points(toys: Any) -> None:
    """60 updates give a point at every second one; a stop after the third is in the middle of one."""

    def stop_now(update: int, total: int) -> None:
        if update == 3:
            raise KeyboardInterrupt

    curve = train(toys, toys.supernet(), epochs=10)
    checkpoint = toys.MemoryCheckpoint()
    with pytest.raises(KeyboardInterrupt):
        train(toys, toys.supernet(), epochs=10, checkpoint=checkpoint, on_update=stop_now)
    resumed = train(toys, toys.supernet(), epochs=10, checkpoint=checkpoint)
    assert [p.update for p in curve] == list(range(2, 61, 2))
    assert [(p.loss, p.metric) for p in curve] == [(p.loss, p.metric) for p in resumed]


def test_an_interrupt_inside_an_update_saves_nothing(toys: Any) -> None:
    """As a second Ctrl-C does: the weights are then between two updates, and no state to continue from."""

    class InterruptingTask(toys.NoiseTask):  # type: ignore[misc]
        def loss(self, *arguments: Any) -> Any:
            raise KeyboardInterrupt

    supernet, checkpoint = toys.supernet(), toys.MemoryCheckpoint()
    with pytest.raises(KeyboardInterrupt):
        train_supernet(
            supernet,
            InterruptingTask(),
            sampler=toys.RandomSampler(),
            recipe=RECIPE,
            checkpoint=checkpoint,
        )
    assert checkpoint.num_saved == 0


def test_a_checkpoint_on_disk_is_resumed_bit_exactly(toys: Any, tmp_path: Any) -> None:
    whole = toys.supernet()
    train(toys, whole)
    checkpoint = TrainingCheckpoint(tmp_path / "training.pt", every_seconds=0.0)

    def stop_now(update: int, total: int) -> None:
        if update == 7:
            raise SystemExit  # as a kill: nothing is saved now, the state of update 6 is on the disk

    with pytest.raises(SystemExit):
        train(toys, toys.supernet(), checkpoint=checkpoint, on_update=stop_now)
    resumed = toys.supernet(seed=99)
    state = checkpoint.load()
    assert state is not None
    assert state["update"] == 6
    train(toys, resumed, checkpoint=TrainingCheckpoint(tmp_path / "training.pt"))
    assert_identical(whole, resumed)


@pytest.mark.parametrize(
    "change",
    [
        lambda state: {"a": 1},
        lambda state: {},
        lambda state: {key: value for key, value in state.items() if key != "model"},
        lambda state: {key: value for key, value in state.items() if key != "curve"},
        lambda state: {**state, "settings": None},
        lambda state: {**state, "settings": [1]},
        lambda state: {**state, "model": {name: torch.zeros(1) for name in state["model"]}},
        lambda state: {**state, "model": {"x": torch.zeros(1)}},
        lambda state: {**state, "model": 3},
        lambda state: {**state, "momentum": {"x": torch.zeros(1)}},
        lambda state: {**state, "momentum": {name: torch.zeros(1) for name in state["momentum"]}},
        lambda state: {**state, "momentum": [1]},
        lambda state: {**state, "update": "3"},
        lambda state: {**state, "update": -1},
        lambda state: {**state, "update": 10**9},
        lambda state: {**state, "seconds": "long"},
        lambda state: {**state, "sums": None},
        lambda state: {**state, "curve": [[1]]},
        lambda state: {**state, "curve": 5},
        lambda state: {**state, "counts": 5},
    ],
)
def test_a_checkpoint_of_other_content_is_one_line(toys: Any, change: Any) -> None:
    checkpoint = toys.MemoryCheckpoint()
    train(toys, toys.supernet(), checkpoint=checkpoint)
    assert checkpoint.state is not None
    checkpoint.state = change(checkpoint.state)
    with pytest.raises(ConfigurationError, match="a checkpoint") as caught:
        train(toys, toys.supernet(), checkpoint=checkpoint)
    assert "\n" not in str(caught.value)


def test_a_finished_training_does_nothing_when_run_again(toys: Any) -> None:
    supernet, checkpoint = toys.supernet(), toys.MemoryCheckpoint()
    curve = train(toys, supernet, checkpoint=checkpoint)
    before = weights(supernet)
    updates: list[int] = []
    again = train(
        toys, supernet, checkpoint=checkpoint, on_update=lambda update, total: updates.append(update)
    )
    assert again == curve
    assert not updates
    assert all(torch.equal(before[name], value) for name, value in supernet.state_dict().items())


def test_dropout_depends_on_the_seed_not_on_the_global_generator(toys: Any) -> None:
    first, second, other = toys.supernet(), toys.supernet(), toys.supernet()
    torch.manual_seed(1)
    state = torch.random.get_rng_state()
    train(toys, first)
    assert torch.equal(state, torch.random.get_rng_state())
    torch.manual_seed(2)
    train(toys, second)
    assert_identical(first, second)
    train(toys, other, seed=4)
    assert not torch.equal(first.head.weight, other.head.weight)


def test_sigint_finishes_the_update_saves_and_raises(toys: Any) -> None:
    class InterruptingTask(toys.NoiseTask):  # type: ignore[misc]
        num_losses = 0

        def loss(self, *arguments: Any) -> Any:
            self.num_losses += 1
            if self.num_losses == 4:  # in the middle of update 3, which has the second of its paths to go
                os.kill(os.getpid(), signal.SIGINT)
            return super().loss(*arguments)

    supernet, checkpoint = toys.supernet(), toys.MemoryCheckpoint()
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        train_supernet(
            supernet,
            InterruptingTask(),
            sampler=toys.RandomSampler(),
            recipe=RECIPE,
            seed=3,
            checkpoint=checkpoint,
        )
    assert signal.getsignal(signal.SIGINT) is handler
    assert checkpoint.state is not None
    assert checkpoint.state["update"] == 3
    resumed, whole = toys.supernet(seed=9), toys.supernet()
    train(toys, resumed, checkpoint=checkpoint)
    train(toys, whole)
    assert_identical(whole, resumed)


def test_a_second_signal_while_the_first_is_saved_ends_at_once(toys: Any) -> None:
    class Interrupted(toys.MemoryCheckpoint):  # type: ignore[misc]
        num_begun = 0

        def save(self, state: Any) -> None:
            self.num_begun += 1
            os.kill(os.getpid(), signal.SIGINT)
            super().save(state)

    def stop(update: int, _total: int) -> None:
        if update == 2:
            os.kill(os.getpid(), signal.SIGINT)

    checkpoint = Interrupted()
    with pytest.raises(KeyboardInterrupt):
        train(toys, toys.supernet(), checkpoint=checkpoint, on_update=stop)
    assert (checkpoint.num_begun, checkpoint.num_saved) == (1, 0)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_what_would_end_the_process_saves_first(toys: Any, number: signal.Signals) -> None:
    class Ending:
        ends_process = True

        def __call__(self, _number: int, _frame: object) -> None:
            raise KeyboardInterrupt

    def stop(update: int, _total: int) -> None:
        if update == 2:
            os.kill(os.getpid(), number)

    checkpoint = toys.MemoryCheckpoint()
    before = signal.signal(number, Ending())
    try:
        with pytest.raises(KeyboardInterrupt):
            train(toys, toys.supernet(), checkpoint=checkpoint, on_update=stop)
    finally:
        signal.signal(number, before)
    assert checkpoint.state["update"] == 2


def test_a_loss_that_is_not_finite_is_an_error_and_the_last_state_stays(toys: Any) -> None:
    class BreakingTask(toys.NoiseTask):  # type: ignore[misc]
        num_losses = 0

        def loss(self, *arguments: Any) -> Any:
            self.num_losses += 1
            return super().loss(*arguments) * (float("nan") if self.num_losses == 5 else 1.0)

    supernet, checkpoint = toys.supernet(), toys.MemoryCheckpoint(always=True)
    with pytest.raises(ConfigurationError, match=r"finite, but got nan at update 4; lower the learning rate"):
        train_supernet(
            supernet, BreakingTask(), sampler=toys.ListSampler([(0, 0)]), recipe=RECIPE, checkpoint=checkpoint
        )
    assert checkpoint.state is not None
    assert checkpoint.state["update"] == 4
    assert all(torch.isfinite(p).all() for p in supernet.parameters())


def test_weights_that_are_not_finite_are_not_saved(toys: Any) -> None:
    supernet, checkpoint = toys.supernet(), toys.MemoryCheckpoint(always=True)

    def spoil(update: int, total: int) -> None:
        if update == 3:
            supernet.head.bias.data.fill_(float("inf"))

    with pytest.raises(ConfigurationError, match="weights must be finite"):
        train(toys, supernet, checkpoint=checkpoint, on_update=spoil)
    assert checkpoint.state is not None
    assert checkpoint.state["update"] == 2


def test_a_checkpoint_of_another_training_is_refused(toys: Any) -> None:
    checkpoint = toys.MemoryCheckpoint()
    train(toys, toys.supernet(), checkpoint=checkpoint)
    with pytest.raises(ConfigurationError, match="its seed is 3 and 4 was asked for"):
        train(toys, toys.supernet(), checkpoint=checkpoint, seed=4)
    with pytest.raises(ConfigurationError, match="not this network's"):
        train(toys, toys.TwoBlocks(channels=4), checkpoint=checkpoint)


def test_no_graph_and_no_gradient_outlive_an_update(toys: Any) -> None:
    """At every update, the tensors that need a graph are gone: none with a grad_fn, and parameters without
    gradient."""
    supernet = toys.supernet()
    left: list[int] = []

    def num_with_graph() -> int:
        return sum(1 for o in gc.get_objects() if type(o) is torch.Tensor and o.grad_fn is not None)

    def count(update: int, total: int) -> None:
        left.append(num_with_graph())
        assert all(p.grad is None for p in supernet.parameters())

    gc.collect()
    before = num_with_graph()  # what other tests have left
    train(toys, supernet, on_update=count, recipe=dataclasses.replace(RECIPE, batch_size=48), epochs=1)
    assert left == [before, before]


def test_the_curve_has_a_bounded_number_of_points_and_the_modes_come_back(toys: Any) -> None:
    supernet = toys.supernet()
    supernet.eval()
    supernet.head.train()
    points: list[Any] = []
    curve = train(toys, supernet, epochs=30, on_point=points.append)  # 180 updates
    assert curve == points
    assert [p.update for p in curve] == [*range(4, 181, 4)]
    assert curve[-1].epoch == 30
    assert curve[-1].loss < curve[0].loss
    assert 0 <= curve[0].metric <= 1
    assert supernet.head.training
    assert not supernet.stem.training


def test_a_plain_network_learns(toys: Any) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 4),
    )
    curve = train_model(model, toys.NoiseTask(), recipe=Recipe(epochs=15, batch_size=16, learning_rate=0.1))
    assert curve[-1].metric > 0.6


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("end", ["whole", "interrupted", "refused"])
def test_weights_have_the_layout_that_they_came_in(toys: Any, layout: torch.memory_format, end: str) -> None:
    """Whether the training ends, is interrupted, or its checkpoint is refused; inside it is channels_last."""
    seen: list[bool] = []
    checkpoint = toys.MemoryCheckpoint()
    checkpoint.state = {} if end == "refused" else None

    def look(update: int, total: int) -> None:
        seen.append(weight.is_contiguous(memory_format=torch.channels_last))
        if end == "interrupted":
            raise KeyboardInterrupt

    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4))
    model = model.to(memory_format=layout)
    supernet = toys.supernet().to(memory_format=layout)
    for network in (model, supernet):
        weight = next(p for p in network.parameters() if p.ndim == 4 and min(p.shape) > 1)
        before = [tensor.stride() for tensor in network.state_dict().values()]
        with contextlib.suppress(KeyboardInterrupt, ConfigurationError):
            if network is model:
                train_model(model, toys.NoiseTask(), recipe=RECIPE, checkpoint=checkpoint, on_update=look)
            else:
                train(toys, supernet, recipe=RECIPE, checkpoint=checkpoint, on_update=look)
        assert weight.is_contiguous(memory_format=layout)
        assert [tensor.stride() for tensor in network.state_dict().values()] == before
        checkpoint.state = {} if end == "refused" else None
    assert all(seen)
    assert bool(seen) == (end != "refused")


def test_bfloat16_runs_and_keeps_float32_weights(toys: Any) -> None:
    supernet = toys.supernet()
    recipe = Recipe(epochs=3, batch_size=16, learning_rate=0.1, precision="bfloat16")
    curve = train(toys, supernet, recipe=recipe)
    assert all(p.dtype == torch.float32 for p in supernet.parameters())
    exact = train(toys, toys.supernet(), recipe=Recipe(epochs=3, batch_size=16, learning_rate=0.1))
    assert curve[-1].loss == pytest.approx(exact[-1].loss, rel=0.05)
    assert curve[-1].loss != exact[-1].loss


def plain() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(4)
        return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(288, 4))


def test_a_paused_training_goes_on_as_if_it_had_not_paused(toys: Any) -> None:
    task, whole, paused = toys.NoiseTask(), plain(), plain()
    curve = train_model(whole, task, recipe=RECIPE)
    checkpoint, done, points = toys.MemoryCheckpoint(), [], []
    for share in (0.3, 0.5, 0.5, 1.0):
        points = train_model(paused, task, recipe=RECIPE, checkpoint=checkpoint, until=share)
        assert checkpoint.state is not None
        done.append(checkpoint.state["update"])
    assert done == [6, 9, 9, 18]
    assert_identical(whole, paused)
    assert [(p.update, p.loss, p.learning_rate) for p in curve] == [
        (p.update, p.loss, p.learning_rate) for p in points
    ]


@pytest.mark.parametrize("share", [0.0, 1.5, 0.5])
def test_a_pause_needs_a_share_and_a_place_to_continue_from(toys: Any, share: float) -> None:
    with pytest.raises(ConfigurationError, match="until must be above 0 and at most 1"):
        train_model(plain(), toys.NoiseTask(), until=share)
