"""A training that takes a given time, with a clock by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

import onepath as op
from onepath.data import Task
from onepath.record import TrainingCheckpoint
from onepath.train.pace import Pace

UPDATES = 400


def gone(seconds: float, each: Callable[[int], float], num_updates: int = UPDATES) -> tuple[int, float]:
    """Updates and seconds of a training whose update number u takes each(u) seconds."""
    pace, update, position, now = Pace(seconds), 0, 0.0, 0.0
    while position < num_updates:
        now += each(update)
        update += 1
        position = min(position + pace.stride(update, position, num_updates, now), num_updates)
    return update, now


@pytest.mark.parametrize("seconds", [20.0, 40.0, 80.0, 120.0])
def test_updates_of_any_length_take_the_time(seconds: float) -> None:
    updates, now = gone(seconds, lambda _: 0.1)
    assert now == pytest.approx(seconds, rel=0.05)
    assert updates == pytest.approx(seconds / 0.1, rel=0.05)


def test_a_machine_that_slows_down_half_way_keeps_the_time() -> None:
    updates, now = gone(40.0, lambda update: 0.1 if update < 200 else 0.2)
    assert now == pytest.approx(40.0, rel=0.05)
    assert updates == pytest.approx(300, rel=0.05)


def test_a_schedule_is_never_gone_through_more_than_four_times_as_fast() -> None:
    updates, now = gone(1.0, lambda _: 0.1)
    assert updates == pytest.approx(20 + (UPDATES - 20) / 4, abs=2)
    assert now > 10


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time as the training reads it."""
    now = [0.0]
    monkeypatch.setattr("onepath.train.training.time.perf_counter", lambda: now[0])
    return now


def trained(
    data: Task, clock: list[float], each: float, **options: object
) -> tuple[list[op.train.TrainingPoint], nn.Module]:
    """A training whose updates take `each` seconds."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    recipe = op.Recipe(epochs=4, batch_size=16, learning_rate=0.1, warmup_epochs=0.5)

    def on_update(update: int, num_updates: int) -> None:
        clock[0] += each
        assert 0 <= update <= num_updates

    return op.train_model(model, data, recipe=recipe, on_update=on_update, **options), model  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def data() -> Task:
    return op.load_data("digits")


def test_slow_updates_are_fewer_and_fast_ones_more(data: Task, clock: list[float]) -> None:
    planned = 4 * data.updates_per_epoch(16)
    for each in (0.1, 0.2, 0.05):
        clock[0] = 0.0
        curve, _ = trained(data, clock, each, seconds=0.1 * planned)
        assert curve[-1].update == pytest.approx(planned * 0.1 / each, rel=0.1)
        assert curve[-1].seconds == pytest.approx(0.1 * planned, rel=0.1)
        rates = [point.learning_rate for point in curve]
        assert rates[-1] < 0.01 < max(rates) <= 0.1
        assert rates[rates.index(max(rates)) :] == sorted(rates[rates.index(max(rates)) :], reverse=True)


def test_without_a_time_nothing_changes(data: Task, clock: list[float]) -> None:
    curve, model = trained(data, clock, 0.3)
    assert curve[-1].update == 4 * data.updates_per_epoch(16)
    again, same = trained(data, clock, 0.1)
    assert [point.learning_rate for point in curve] == [point.learning_rate for point in again]
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), same.parameters(), strict=True))


def test_a_paused_training_keeps_its_time(data: Task, clock: list[float], tmp_path: Path) -> None:
    planned = 4 * data.updates_per_epoch(16)
    checkpoint = TrainingCheckpoint(tmp_path / "state.pt")
    half, _ = trained(data, clock, 0.2, seconds=0.1 * planned, until=0.5, checkpoint=checkpoint)
    assert half[-1].seconds == pytest.approx(0.05 * planned, rel=0.15)
    state = checkpoint.load()
    assert state is not None
    assert 0.5 * planned <= state["position"] < 0.5 * planned + 4
    whole, _ = trained(data, clock, 0.05, seconds=0.1 * planned, checkpoint=checkpoint)
    assert whole[-1].seconds == pytest.approx(0.1 * planned, rel=0.1)
    assert whole[: len(half)] == half


def test_a_checkpoint_of_an_older_onepath_is_at_its_update(
    data: Task, clock: list[float], tmp_path: Path
) -> None:
    checkpoint = TrainingCheckpoint(tmp_path / "state.pt")
    trained(data, clock, 0.1, until=0.5, checkpoint=checkpoint)
    state = checkpoint.load()
    assert state is not None
    assert state.pop("position") == state["update"]
    checkpoint.save(state)
    _, model = trained(data, clock, 0.1, checkpoint=checkpoint)
    _, whole = trained(data, clock, 0.1)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), whole.parameters(), strict=True))
