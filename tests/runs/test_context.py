"""The clock of a stage."""

from __future__ import annotations

from pathlib import Path

import pytest

from onepath.record import RunDirectory
from onepath.runs.opened import StageClock


def test_time_adds_up_over_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    with RunDirectory(tmp_path, create=True) as directory:
        directory.write_config({})
        clock = StageClock(directory, "train")
        clock.record["a"] = 1
        now += 0.5
        clock.tick()
        assert directory.store.stage("train").seconds == 0.0  # not every step is worth a write
        now += 2.0
        clock.tick()
        assert directory.store.stage("train").seconds == 2.5
        now += (
            100.0  # killed here; what was not kept is lost, and the time between the processes does not count
        )
        clock = StageClock(directory, "train")
        assert clock.record == {"a": 1}
        now += 4.0
        clock.save(done=True)
        row = directory.store.stage("train")
    assert (row.seconds, row.done, row.record) == (6.5, True, {"a": 1})
