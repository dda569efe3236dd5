"""The machine's speed is told apart from what is measured."""

from __future__ import annotations

import numpy as np
import pytest
from latency.networks import Counting

from onepath.errors import UserError
from onepath.latency import Device, Schedule
from onepath.latency.rounds import Rounds, levels, run_rounds

LEVELS_MS = np.array([1.0, 1.01, 1.02, 0.05, 5.0, 5.02, 3.0, 0.5, 0.51, 2.0, 2.02, 4.0])


def drawn(num_rounds: int, rng: np.random.Generator, noise: float) -> Rounds:
    """Times on a machine that halves its speed for a while, some dozens of items long, and wanders besides."""
    rounds = Rounds(len(LEVELS_MS))
    wander, slow = 0.0, 1.0
    for _ in range(num_rounds):
        order = rng.permutation(len(LEVELS_MS)).tolist()
        times = []
        for index in order:
            wander = 0.98 * wander + 0.02 * rng.standard_normal()
            slow = 3.0 - slow if rng.random() < 0.03 else slow
            times.append(float(LEVELS_MS[index] * slow * np.exp(wander + noise * rng.standard_normal())))
        rounds.orders.append(order)
        rounds.times_ms.append(times)
    return rounds


def test_levels_are_found_under_a_wandering_speed() -> None:
    found = levels(drawn(200, np.random.default_rng(0), 0.01))
    ratio = found.ms / LEVELS_MS
    np.testing.assert_allclose(ratio / ratio.mean(), 1.0, atol=0.004)
    # What the medians of the raw times miss by far.
    raw = np.array(
        [
            np.median([times[order.index(item)] for order, times in zip(r.orders, r.times_ms, strict=True)])
            for r in [drawn(200, np.random.default_rng(0), 0.01)]
            for item in range(len(LEVELS_MS))
        ]
    )
    assert np.abs(raw / LEVELS_MS / (raw / LEVELS_MS).mean() - 1).max() > 0.01


def test_an_even_machine_gives_the_times_themselves() -> None:
    rounds = Rounds(3, [[0, 1, 2], [2, 0, 1], [1, 2, 0]], [[1.0, 2.0, 4.0], [4.0, 1.0, 2.0], [2.0, 4.0, 1.0]])
    found = levels(rounds)
    np.testing.assert_allclose(found.ms, [1.0, 2.0, 4.0])
    np.testing.assert_allclose(found.iqr_ms, 0.0, atol=1e-12)
    assert found.num_rounds == 3


def test_an_item_that_spreads_by_itself_is_noisy() -> None:
    rng = np.random.default_rng(1)
    rounds = drawn(20, rng, 0.005)
    for order, times in zip(rounds.orders, rounds.times_ms, strict=True):
        times[order.index(4)] *= float(np.exp(0.3 * rng.standard_normal()))
    assert levels(rounds).is_noisy.tolist() == [item == 4 for item in range(len(LEVELS_MS))]


class Prepared:
    def __init__(self, device: Counting, own_ms: float) -> None:
        self.device, self.own_ms = device, own_ms

    def run(self) -> float:
        return self.device.time(self.own_ms)

    def close(self) -> None:
        pass


def test_rounds_end_when_they_are_precise_and_go_on_from_what_is_there() -> None:
    device = Counting(noise=0.02)
    networks = [Prepared(device, ms) for ms in LEVELS_MS]
    rounds = Rounds(len(networks))
    coarse = run_rounds(device, networks, rounds, precision=0.02)
    assert coarse.num_rounds == 20
    before = [list(times) for times in rounds.times_ms]
    fine = run_rounds(device, networks, rounds, precision=0.0015)
    assert fine.num_rounds > 20
    assert rounds.times_ms[:20] == before
    assert float(np.median(fine.relative_error)) <= 0.0015
    np.testing.assert_allclose(fine.ms / LEVELS_MS, (fine.ms / LEVELS_MS).mean(), rtol=0.01)
    again = Rounds(**vars(rounds))
    np.testing.assert_array_equal(levels(again).ms, fine.ms)


def test_time_ends_them_after_the_fewest_rounds() -> None:
    device = Counting(noise=0.2)
    networks = [Prepared(device, ms) for ms in LEVELS_MS]
    assert (
        run_rounds(device, networks, Rounds(len(networks)), precision=1e-9, max_seconds=0.0).num_rounds == 20
    )


def test_a_device_that_times_by_itself_is_asked_as_often_as_it_says() -> None:
    class Board(Counting):
        schedule = Schedule(num_blocks=3, num_runs=1, num_warm_up=0)

    device: Device = Board(noise=0.01)
    networks = [Prepared(device, ms) for ms in LEVELS_MS]  # type: ignore[arg-type]
    assert run_rounds(device, networks, Rounds(len(networks))).num_rounds == 3
    assert device.num_runs == 3 * len(networks)  # type: ignore[attr-defined]


def test_a_time_that_is_none_is_an_error() -> None:
    device = Counting()
    with pytest.raises(UserError, match="must be finite and over 0 ms"):
        run_rounds(device, [Prepared(device, float("nan"))], Rounds(1))
