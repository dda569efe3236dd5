"""The process of a pool: what it answers, and that it leaves."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from onepath.workers.messages import decode, encode


def start(workplace: str = "tiny_workplace:TinyWorkplace") -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "onepath.workers.worker", str(os.getpid()), workplace],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )


def answers(workplace: str, *jobs: Mapping[str, Any], setup: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One answer to each job; then the process has left by itself."""
    with start(workplace) as worker:
        assert worker.stdin is not None
        assert worker.stdout is not None
        worker.stdin.write(encode("setup", values=setup))
        for number, job in enumerate(jobs):
            worker.stdin.write(encode("job", number=number, **job))
        worker.stdin.flush()
        found = [decode(worker.stdout.readline()) for _ in jobs]
        worker.stdin.close()
        assert worker.wait(20) == 0
    return found


def test_it_goes_on_after_an_error() -> None:
    jobs: list[dict[str, Any]] = [
        {"kind": "fail", "arguments": {"text": "a rule; what came"}},
        {"kind": "add", "arguments": {"numbers": [0.1, 0.2]}},
    ]
    failed, added = answers("tiny_workplace:TinyWorkplace", *jobs, setup={"start": 1})
    assert (failed["message"], failed["name"], failed["text"]) == (
        "error",
        "ConfigurationError",
        jobs[0]["arguments"]["text"],
    )
    assert added == {"message": "result", "number": 1, "value": 1 + (0.1 + 0.2)}


@pytest.mark.parametrize("name", ["tiny_workplace:NoWorkplace", "builtins:print", "onepath.workers:Pool"])
def test_nothing_but_a_workplace_is_made(name: str) -> None:
    (failed,) = answers(name, {"kind": "add", "arguments": {}}, setup={})
    assert (failed["name"], failed["text"]) == ("TypeError", f"a worker needs a Workplace, but got {name}")


def test_it_leaves_when_its_pool_has_ended() -> None:
    with start() as worker:
        assert worker.stdin is not None
        worker.stdin.close()
        assert worker.wait(20) == 0


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the kernel does it on Linux")
@pytest.mark.parametrize("seconds", [0.05, 1.5])
def test_it_dies_with_its_parent_even_if_a_pipe_stays_open(seconds: float) -> None:
    """Another process that holds the pipe's end would hide that the parent has gone, before or after the kernel is
    asked to tell.
    """
    code = (
        "import os, subprocess, sys, time; r = subprocess.Popen([sys.executable, '-m', 'onepath.workers.worker', "
        "str(os.getpid()), 'tiny_workplace:TinyWorkplace'], stdin=0); print(r.pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        status = Path(f"/proc/{pid}/status")
        time.sleep(seconds)
        assert "\nState:\tZ" not in status.read_text()
        parent.send_signal(signal.SIGKILL)
        end = time.monotonic() + 20
        while status.exists() and "\nState:\tZ" not in status.read_text():
            assert time.monotonic() < end, "it lives on"
            time.sleep(0.05)
