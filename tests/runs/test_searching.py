"""What a search has evaluated is stored at once: a kill costs no evaluation but the one at work."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from onepath.estimate import Estimate
from onepath.methods import Trial
from onepath.record import TrialRow
from onepath.runs import searching
from onepath.runs.searching import Replay
from onepath.space import Choice, SearchSpace

SPACE = SearchSpace([Choice("size", [1, 2, 3])])


class Killed(BaseException):
    """The process ends here."""


class Log:
    """A run, an estimator and a store that note what happens in which order, and end at one of it."""

    def __init__(self, killed_at: str | None = None) -> None:
        self.events: list[str] = []
        self.rows: list[TrialRow] = []
        self.killed_at = killed_at
        nothing = SimpleNamespace(advance=lambda *_: None, begin=lambda *_: None)
        self.run: Any = SimpleNamespace(
            cost=self.cost,
            directory=SimpleNamespace(store=SimpleNamespace(add_trial=self.add_trial)),
            progress=nothing,
            config=SimpleNamespace(proxy=None),
            facts={"validation": 10},
        )
        self.clock: Any = SimpleNamespace(tick=lambda: self.note("clock"))

    def note(self, event: str) -> None:
        self.events.append(event)
        if event == self.killed_at:
            raise Killed

    def cost(self, architecture: Any) -> tuple[int, int]:
        self.note("cost")
        return 100 * (1 + architecture.indices[0]), 7

    def estimate(self, architecture: Any) -> Estimate:
        self.note("evaluate")
        return Estimate(0.5, 1.0, 0.1, 10)

    def add_trial(self, row: TrialRow) -> None:
        self.rows.append(row)
        self.note("store")


def evaluated(log: Log, monkeypatch: pytest.MonkeyPatch, stored: list[TrialRow]) -> Replay:
    monkeypatch.setattr(searching, "make_estimator", lambda run: log)
    replay = Replay(log.run, log.clock, stored)
    for architecture in SPACE.enumerate():
        estimate = replay.estimate(architecture)
        replay.on_trial(Trial(architecture, estimate, "random", 0))
    return replay


def test_nothing_stands_between_an_evaluation_and_its_storage(monkeypatch: pytest.MonkeyPatch) -> None:
    log = Log()
    evaluated(log, monkeypatch, [])
    assert log.events == ["cost", "evaluate", "store", "clock"] * 3
    assert [(row.macs, row.params) for row in log.rows] == [(100, 7), (200, 7), (300, 7)]


@pytest.mark.parametrize(("moment", "num_lost"), [("cost", 0), ("evaluate", 1), ("store", 0), ("clock", 0)])
def test_a_kill_at_any_moment_costs_at_most_the_evaluation_at_work(
    monkeypatch: pytest.MonkeyPatch, moment: str, num_lost: int
) -> None:
    first = Log(moment)
    with pytest.raises(Killed):
        evaluated(first, monkeypatch, [])
    second = Log()
    evaluated(second, monkeypatch, list(first.rows))
    num = (first.events + second.events).count("evaluate")
    assert num == 3 + num_lost
    assert [str(row.architecture) for row in first.rows + second.rows] == ["0", "1", "2"]
