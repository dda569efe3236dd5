"""The lock that outlives a killed process for as long as its workers do."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from onepath.errors import RunDirectoryError
from onepath.record import RunDirectory, directory
from onepath.record.lock import WorkersLock, wait_for_workers

# Takes the lock, starts a worker that sleeps, and is gone.
ORPHAN = """
import os, subprocess, sys
from pathlib import Path
from onepath.record import RunDirectory
directory = RunDirectory(Path(sys.argv[1]), create=True)
directory.write_config({})
lock = directory.lock_for_workers()
worker = subprocess.Popen(["sleep", sys.argv[2]], pass_fds=[lock.descriptor], stdout=subprocess.DEVNULL)
print(worker.pid, flush=True)
os.kill(os.getpid(), 9)
"""


def orphan(path: Path, seconds: float) -> int:
    """The process id of a worker whose parent has been killed."""
    with subprocess.Popen(
        [sys.executable, "-c", ORPHAN, str(path), str(seconds)], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        return int(process.stdout.readline())


def test_the_next_owner_waits_for_the_workers(tmp_path: Path) -> None:
    orphan(tmp_path, 1.0)
    began = time.monotonic()
    assert (tmp_path / ".workers.lock").exists()
    with RunDirectory(tmp_path):
        assert time.monotonic() - began > 0.3
        assert not (tmp_path / ".workers.lock").exists()


def test_a_worker_that_does_not_leave_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pid = orphan(tmp_path, 30.0)
    monkeypatch.setattr(directory, "WAIT_SECONDS", 0.1)
    try:
        for _ in range(2):  # the refusal has freed the directory's own lock, and left the workers' alone
            with pytest.raises(RunDirectoryError, match="a worker of an earlier one still works") as caught:
                RunDirectory(tmp_path)
            assert "\n" not in str(caught.value)
    finally:
        subprocess.run(["kill", "-9", str(pid)], check=True)
    with RunDirectory(tmp_path):
        pass


def test_without_workers_there_is_no_wait_and_no_file(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    wait_for_workers(path, 0.0)
    with WorkersLock(path) as lock:
        assert lock.descriptor > 0
        with pytest.raises(RunDirectoryError, match="still works"):
            wait_for_workers(path, 0.0)
    assert not path.exists()
    with pytest.raises(ZeroDivisionError), WorkersLock(path):
        raise ZeroDivisionError
    assert path.exists()  # after an error a worker may still hold it
    wait_for_workers(path, 0.0)
    assert not path.exists()
