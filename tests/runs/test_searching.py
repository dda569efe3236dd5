"""What a search has evaluated is stored at once: a kill costs no evaluation but the one at work."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from onepath.estimate import Estimate
from onepath.methods import Trial
from onepath.record import TrialRow
from onepath.runs.replay import Replay
from onepath.space import Choice, SearchSpace

SPACE = SearchSpace([Choice("size", [1, 2, 3])])


class Killed(BaseException):
    """The process ends here."""


class Log:
    """A run, an estimator and a store that note what happens in which order, and end at one of it."""

    def __init__(self, killed_at: str | None = None, stored: Sequence[TrialRow] = ()) -> None:
        self.events: list[str] = []
        self.rows: list[TrialRow] = []
        self.killed_at = killed_at
        nothing = SimpleNamespace(advance=lambda *_: None, begin=lambda *_: None)
        self.run: Any = SimpleNamespace(
            directory=SimpleNamespace(
                store=SimpleNamespace(add_trial=self.add_trial, trials=lambda: list(stored))
            ),
            progress=nothing,
            config=SimpleNamespace(options=SimpleNamespace(score=None)),
            metric_name="accuracy",
            facts={"validation": 10},
        )
        self.clock: Any = SimpleNamespace(tick=lambda: self.note("clock"))

    def note(self, event: str) -> None:
        self.events.append(event)
        if event == self.killed_at:
            raise Killed

    def costs(self, architecture: Any) -> dict[str, float]:
        self.note("cost")
        return {"macs": 100 * (1 + architecture.indices[0]), "params": 7}

    def estimate(self, architecture: Any) -> Estimate:
        self.note("evaluate")
        return Estimate(0.5, 1.0, 0.1, 10)

    def add_trial(self, row: TrialRow) -> None:
        self.rows.append(row)
        self.note("store")


def evaluated(log: Log) -> Replay:
    replay = Replay(log.run, log.clock, log.costs)
    search: Any = SimpleNamespace(estimator=log, total=3)
    replay.begin("searching", search)
    for architecture in SPACE.enumerate():
        estimate = replay.estimate(architecture)
        replay.on_trial(Trial(architecture, estimate, "random", 0))
    return replay


def test_nothing_stands_between_an_evaluation_and_its_storage() -> None:
    log = Log()
    evaluated(log)
    assert log.events == ["cost", "evaluate", "store", "clock"] * 3
    assert [row.costs for row in log.rows] == [{"macs": macs, "params": 7} for macs in (100, 200, 300)]


@pytest.mark.parametrize(("moment", "num_lost"), [("cost", 0), ("evaluate", 1), ("store", 0), ("clock", 0)])
def test_a_kill_at_any_moment_costs_at_most_the_evaluation_at_work(moment: str, num_lost: int) -> None:
    first = Log(moment)
    with pytest.raises(Killed):
        evaluated(first)
    second = Log(stored=first.rows)
    evaluated(second)
    num = (first.events + second.events).count("evaluate")
    assert num == 3 + num_lost
    assert [str(row.architecture) for row in first.rows + second.rows] == ["0", "1", "2"]
