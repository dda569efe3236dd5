"""The protocol on devices whose times are known beforehand."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import chain, repeat

import numpy as np
import pytest
from torch import nn

from onepath.errors import ConfigurationError, UserError
from onepath.latency import Device, Latency, Schedule, measure
from onepath.randomness import generator

SHAPE = (1, 4, 4)


class Scripted(Device):
    """Gives each network the times written for it, and keeps the order in which they were asked."""

    name = "scripted"

    def __init__(self, *times_ms: Iterator[float], **settings: int) -> None:
        super().__init__(**settings)
        self.times_ms = list(times_ms)
        self.asked: list[int] = []
        self.shapes: list[tuple[int, ...]] = []
        self.closed = 0

    def prepare(self, model: object, input_shape: object) -> Running:
        self.shapes.append(tuple(input_shape))
        return Running(self, len(self.shapes) - 1)


class Running:
    def __init__(self, device: Scripted, index: int) -> None:
        self.device, self.index = device, index

    def run(self) -> float:
        self.device.asked.append(self.index)
        return next(self.device.times_ms[self.index])

    def close(self) -> None:
        self.device.closed += 1


class Cold(Scripted):
    """Without a warm-up: every time asked for counts."""

    schedule = Schedule(num_blocks=20, num_runs=1, num_warm_up=0)


def models(num: int) -> list[nn.Module]:
    return [nn.Identity() for _ in range(num)]


def test_median_and_interquartile_range_are_those_of_the_blocks() -> None:
    device = Cold(iter(np.linspace(10, 10.4, 5)), threads=3)
    (latency,) = measure(device, models(1), SHAPE, blocks=5)
    assert latency == Latency(pytest.approx(10.2), pytest.approx(0.2), 5, 3, False)


def test_a_block_counts_as_the_median_of_its_runs() -> None:
    device = Cold(chain.from_iterable(repeat([1.0, 1.0, 500.0])))
    assert measure(device, models(1), SHAPE, repeats=3) == [Latency(1.0, 0.0, 60, device.threads, False)]


def test_slow_first_runs_are_warm_up() -> None:
    device = Scripted(chain([900.0, 700.0, 500.0, 300.0], repeat(30.0)), threads=1)
    assert measure(device, models(1), SHAPE) == [Latency(30.0, 0.0, 20, 1, False)]
    assert len(device.asked) == 5 + 20 * 2


def test_fast_networks_get_enough_runs_and_slow_ones_one_a_block() -> None:
    device = Scripted(repeat(0.02), repeat(60.0))
    fast, slow = measure(device, models(2), SHAPE)
    assert fast.repeats == 20 * 1000
    assert slow.repeats == 20
    many = measure(Scripted(*[repeat(0.02)] * 100), models(100), SHAPE)
    assert {latency.repeats for latency in many} == {20 * 100}


def test_blocks_of_the_networks_alternate_in_changing_order() -> None:
    device = Cold(*[repeat(1.0)] * 4)
    measure(device, models(4), SHAPE, repeats=2)
    rounds = np.array(device.asked).reshape(20, 4, 2)
    assert (rounds[:, :, 0] == rounds[:, :, 1]).all()
    orders = rounds[:, :, 0]
    assert (np.sort(orders, axis=1) == np.arange(4)).all()
    assert len(np.unique(orders, axis=0)) > 5


def test_a_slow_spell_of_the_machine_falls_on_all_networks() -> None:
    # The machine takes twice the time during the middle half of the measurement, whoever is asked.
    clock = iter(range(10_000))

    def times(base_ms: float) -> Iterator[float]:
        while True:
            yield base_ms * (2.0 if 60 <= next(clock) < 140 else 1.0)

    first, second = measure(Cold(times(1.0), times(1.0)), models(2), SHAPE, blocks=100, max_tries=1)
    assert first.median_ms / second.median_ms == pytest.approx(1.0)
    assert first.is_noisy == second.is_noisy


def wide(seed: int) -> Iterator[float]:
    """Times whose quartiles are far apart."""
    rng = generator(seed, "test")
    while True:
        yield float(rng.uniform(1, 3))


@pytest.mark.parametrize("max_tries", [1, 3])
def test_noise_is_repeated_and_then_flagged(max_tries: int) -> None:
    device = Cold(wide(0), repeat(2.0))
    noisy, steady = measure(device, models(2), SHAPE, max_tries=max_tries)
    assert noisy.is_noisy
    assert noisy.iqr_ms > 0.1 * noisy.median_ms
    assert not steady.is_noisy
    assert device.asked.count(0) == 20 * max_tries
    assert device.asked.count(1) == 20


def test_a_steady_repetition_takes_the_place_of_a_noisy_one() -> None:
    spell = wide(0)
    device = Cold(chain((next(spell) for _ in range(20)), repeat(7.0)))
    assert measure(device, models(1), SHAPE) == [Latency(7.0, 0.0, 20, device.threads, False)]
    assert len(device.asked) == 40


def test_of_noisy_tries_the_steadiest_is_kept() -> None:
    spells = [[1.0, 2.0, 3.0], [1.0, 1.2, 1.4], [1.0, 5.0, 9.0]]
    device = Cold(chain.from_iterable(spells))
    (latency,) = measure(device, models(1), SHAPE, blocks=3)
    assert latency == Latency(pytest.approx(1.2), pytest.approx(0.2), 3, device.threads, True)


def test_the_threshold_is_a_tenth_of_the_median() -> None:
    for width, is_noisy in ((0.099, False), (0.101, True)):
        device = Cold(chain.from_iterable(repeat([1 - width, 1.0, 1 + width])))
        (latency,) = measure(device, models(1), SHAPE, blocks=3, max_tries=1)
        assert latency.is_noisy == is_noisy


def test_every_network_may_have_its_own_shape_and_all_are_closed() -> None:
    device = Cold(repeat(1.0), repeat(1.0))
    measure(device, models(2), [(1, 4, 4), (8, 2, 2)])
    assert device.shapes == [(1, 4, 4), (8, 2, 2)]
    assert device.closed == 2
    with pytest.raises(UserError, match="got 1 for 2"):
        measure(device, models(2), [(1, 4, 4)])


@pytest.mark.parametrize("wrong", [math.nan, 0.0, -1.0, math.inf])
def test_a_time_that_is_none_ends_the_measurement(wrong: float) -> None:
    device = Cold(chain([1.0, 1.0, wrong], repeat(1.0)))
    with pytest.raises(UserError, match="a time must be finite and over 0 ms"):
        measure(device, models(1), SHAPE)
    assert device.closed == 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"blocks": 1}, "blocks must be 2 or more, but got 1"),
        ({"repeats": 0}, "repeats must be 1 or more, but got 0"),
        ({"max_tries": 0}, "max_tries must be 1 or more, but got 0"),
    ],
)
def test_numbers_that_are_too_small(settings: dict[str, int], message: str) -> None:
    with pytest.raises(UserError, match=message):
        measure(Cold(repeat(1.0)), models(1), SHAPE, **settings)


def test_nothing_to_measure() -> None:
    assert measure(Cold(), [], SHAPE) == []


def test_a_device_that_is_not_here_is_not_asked() -> None:
    class Absent(Cold):
        missing: Callable[[object], str] = lambda _self: "it is at home"

    with pytest.raises(ConfigurationError, match="scripted is not: it is at home"):
        measure(Absent(repeat(1.0)), models(1), SHAPE)
