"""The choice under a limit on latency, with searches and measurements that are made up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from onepath.errors import InfeasibleError
from onepath.latency import Latency
from onepath.runs import SilentProgress
from onepath.runs.measuring import Chosen, choose_within

LIMIT_MS = 1.0


class Bench:
    """Networks named by their predicted latency in ms, of which a larger one is more accurate.

    Args:
        slowness: number of a measurement, from 0 -> measured latency over predicted latency.
    """

    def __init__(self, slowness: Callable[[int], float]) -> None:
        self.slowness = slowness
        self.screens: list[float] = []
        self.measured: dict[str, Latency] = {}
        self.told: dict[str, Any] = {}
        latencies = SimpleNamespace(
            predicted=lambda names: [float(name) for name in names],
            measure=self._measure,
            is_within=lambda latency: latency.is_within(LIMIT_MS),
            device=SimpleNamespace(name="fake"),
        )
        self.run: Any = SimpleNamespace(
            config=SimpleNamespace(limit_ms=LIMIT_MS, finalists=1),
            blank=SimpleNamespace(space=SimpleNamespace(parse=str)),
            latencies=latencies,
            progress=SilentProgress(),
        )

    def _measure(self, name: str) -> Latency:
        if name not in self.measured:
            ms = float(name) * self.slowness(len(self.measured))
            self.measured[name] = Latency(ms, 0.0, 10, 1, False)
        return self.measured[name]

    def search(self, step: int, screen_ms: float) -> Sequence[Any]:
        """The ten largest networks within the screen, in steps of a hundredth of a ms."""
        self.screens.append(screen_ms)
        most = int(100 * screen_ms + 1e-9)
        if most < 10:
            raise InfeasibleError("no network is as small")
        for place in range(most - 9, most + 1):
            name = f"{place / 100:.2f}"
            self.told[name] = SimpleNamespace(architecture=name, origin="mutation", accuracy=place / 100)
        return sorted(self.told.values(), key=lambda trial: -trial.accuracy)

    def chosen(self) -> Chosen:
        return choose_within(self.run, self.search)


def test_predictions_that_hold_need_one_search() -> None:
    bench = Bench(lambda _: 1.0)
    assert bench.chosen().trials[0].architecture == "1.00"
    assert bench.screens == [1.0]


def test_predictions_that_are_all_too_small_tighten_the_screen_once() -> None:
    bench = Bench(lambda _: 1.25)
    assert bench.chosen().trials[0].architecture == "0.80"
    assert bench.screens == pytest.approx([1.0, 0.8])


def test_a_slow_moment_does_not_cost_the_winner_its_room() -> None:
    bench = Bench(lambda number: 1.4 if number < 8 else 1.1)  # the first eight are measured in it
    found = bench.chosen()
    assert bench.screens == pytest.approx([1.0, 1 / 1.4, 1 / 1.1])
    assert found.trials[0].architecture == "0.90"
    assert found.screen_ms == pytest.approx(1 / 1.1)


def test_what_was_found_is_kept_where_a_looser_screen_finds_nothing() -> None:
    bench = Bench(lambda number: 1.1 if number == 8 else 1.4)
    found = bench.chosen()
    assert len(bench.screens) == 3
    assert found.trials[0].architecture == "0.71"


def test_several_finalists_are_the_best_of_both_searches() -> None:
    bench = Bench(lambda number: 1.4 if number < 9 else 1.1)
    bench.run.config.finalists = 2
    found = bench.chosen()
    assert [trial.architecture for trial in found.trials] == ["0.90", "0.89"]


def test_a_limit_that_nothing_meets_is_an_error() -> None:
    bench = Bench(lambda _: 20.0)
    with pytest.raises(
        InfeasibleError, match=r"the smallest measured is 18\.6 ms with its spread, of 8 networks"
    ):
        bench.chosen()
