"""The trial store: once, in order, durable."""

from __future__ import annotations

import os
import resource
import signal
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from onepath.errors import RunDirectoryError
from onepath.record import CurvePoint, NetworkRow, StageRow, Store, TrialRow

TRIAL = TrialRow(0, "2,1,0", 0, "random", 0.1 + 0.2, 1e-17, {"macs": 10**12, "params": 5, "energy": 0.1}, 0.5)
NETWORK = NetworkRow("winner", "scratch", "2,1,0", 3, {"macs": 10, "params": 20}, 0.5, 0.75, None, 1.0)
POINT = CurvePoint("supernet", 0, 10, 1.0, 2.0, 0.5, 0.1, 3.0)


def test_trials_come_back_exactly_and_in_order(tmp_path: Path) -> None:
    second = replace(TRIAL, number=1, architecture="0,0,0", origin="mutation", accuracy=1 / 3)
    with Store(tmp_path / "t.sqlite") as store:
        store.add_trial(TRIAL)
        store.add_trial(second)
    with Store(tmp_path / "t.sqlite") as store:
        assert store.trials() == [TRIAL, second]


def test_an_architecture_is_stored_once(tmp_path: Path) -> None:
    with Store(tmp_path / "t.sqlite") as store:
        store.add_trial(TRIAL)
        with pytest.raises(RunDirectoryError, match="UNIQUE"):
            store.add_trial(replace(TRIAL, number=1))
        assert store.trials() == [TRIAL]


def test_what_is_not_finite_is_null(tmp_path: Path) -> None:
    with Store(tmp_path / "t.sqlite") as store:
        store.add_trial(replace(TRIAL, accuracy=float("nan"), loss=float("inf")))
        assert store.trials() == [replace(TRIAL, accuracy=None, loss=None)]


def test_networks_are_replaced_by_role_and_start(tmp_path: Path) -> None:
    with Store(tmp_path / "t.sqlite") as store:
        for number in (10, 2, 0):
            store.put_network(replace(NETWORK, role=f"baseline-{number}"))
        store.put_network(NETWORK)
        store.put_network(replace(NETWORK, start="inherited"))
        store.put_network(replace(NETWORK, retrained_test=0.7))
        found = [(row.role, row.start, row.retrained_test) for row in store.networks()]
    assert found == [
        ("winner", "scratch", 0.7),
        ("winner", "inherited", None),
        ("baseline-0", "scratch", None),
        ("baseline-2", "scratch", None),
        ("baseline-10", "scratch", None),
    ]


def test_a_point_reported_again_leaves_the_same_curve(tmp_path: Path) -> None:
    points = [replace(POINT, point=index, update_number=10 * (index + 1)) for index in range(4)]
    with Store(tmp_path / "t.sqlite") as store:
        for index in (0, 1, 2, 1, 2, 3):
            store.add_point(replace(points[index], point=-1))
        store.add_point(replace(POINT, curve="winner-scratch"))
        curves = store.curves()
    assert curves["supernet"] == points
    assert list(curves) == ["supernet", "winner-scratch"]


def test_stages(tmp_path: Path) -> None:
    with Store(tmp_path / "t.sqlite") as store:
        assert store.stage("train") == StageRow("train", 0.0, False, {})
        store.put_stage(StageRow("train", 1.5, False, {"a": [1, "ä", None]}))
        assert store.stage("train").record == {"a": [1, "ä", None]}
        store.put_stage(StageRow("train", 2.5, True))
        assert store.stages() == {"train": StageRow("train", 2.5, True, {})}


@pytest.mark.parametrize("content", [b"no database at all" * 100, b"\0" * 4096])
def test_damaged_store_is_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "t.sqlite").write_bytes(content)
    with pytest.raises(RunDirectoryError) as caught, Store(tmp_path / "t.sqlite"):
        pass
    assert "\n" not in str(caught.value)


def test_store_of_another_version_is_refused(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "t.sqlite")
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(RunDirectoryError, match="version 99"):
        Store(tmp_path / "t.sqlite")


FILL = """
import sys
from pathlib import Path
from onepath.record import Store, TrialRow
with Store(Path(sys.argv[1])) as store:
    print(len(store.trials()), flush=True)
    for number in range(len(store.trials()), 100000):
        store.add_trial(TrialRow(number, "a" * 200 + str(number), 0, "random", 0.5, 0.5, {"macs": 1}, 0.1))
        print(number, flush=True)
"""


def test_nothing_written_is_lost_when_the_disk_is_full(tmp_path: Path) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))

    command = [sys.executable, "-c", FILL, str(tmp_path / "t.sqlite")]
    done = subprocess.run(command, preexec_fn=limit, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "RunDirectoryError" in done.stderr
    last = int(done.stdout.split()[-1])
    assert last > 40
    with Store(tmp_path / "t.sqlite") as store:
        assert [trial.number for trial in store.trials()] == list(range(last + 1))
        store.add_trial(replace(TRIAL, number=last + 1))


def test_every_trial_announced_before_a_kill_is_there(tmp_path: Path) -> None:
    last = -1
    for _ in range(3):
        command = [sys.executable, "-c", FILL, str(tmp_path / "t.sqlite")]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            begun_with = int(process.stdout.readline())
            assert begun_with >= last + 1
            for _ in range(25):
                last = int(process.stdout.readline())
            os.kill(process.pid, signal.SIGKILL)
        with Store(tmp_path / "t.sqlite") as store:
            numbers = [trial.number for trial in store.trials()]
            assert numbers == list(range(len(numbers)))
            assert len(numbers) > last
