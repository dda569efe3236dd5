"""Processes that take turns, each in an environment of its own; shared by benchmarks against another package.

Imports the standard library alone, because onepath is not installed in the other environment.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import venv
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}

_replies = 1


def start_answering() -> None:
    """Prepare a worker to answer; call it before anything else, so that no library prints into the replies."""
    global _replies  # noqa: PLW0603
    _replies = os.dup(1)
    os.dup2(2, 1)


def answer(message: Any) -> Any:
    """In a worker: send a message and return the next request; the process ends if none comes."""
    os.write(_replies, (json.dumps(message) + "\n").encode())
    line = sys.stdin.readline()
    if not line:
        os._exit(0)
    return json.loads(line)


class Worker:
    """A process that computes only between a request and its reply.

    Args:
        python: interpreter of the process.
        script: script of the process. It calls `start_answering`, then `answer`, whose first message has "versions".
        arguments: arguments of the script.
        threads: number of threads of the process.
    """

    def __init__(self, python: str, script: str, arguments: Sequence[str], threads: int) -> None:
        self._process = subprocess.Popen(
            [python, script, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": str(threads)},
        )
        self.versions = self._receive()["versions"]

    def ask(self, **request: Any) -> Any:
        """Send a request and wait for its reply."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return self._receive()

    def _receive(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"worker ended with status {self._process.wait()}")
        return json.loads(line)

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def add_process_options(add: Callable[..., Any]) -> None:
    """Add the options that name the environments, the number of threads and the clock."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    add("--environment", type=Path, default=cache / "onepath" / "benchmarks" / "nni")
    add("--python", help="interpreter of an environment that has NNI, instead of --environment")
    add("--onepath-python", default=sys.executable, help="interpreter of the environment that has onepath")
    add("--torch", default="2.13.0", help="version of torch to install in a new environment")
    add("--threads", type=int, default=os.cpu_count())
    add(
        "--clock",
        choices=tuple(CLOCKS),
        default="wall",
        help="wall time or CPU time; cpu is for a busy machine, with --threads 1",
    )


def environment_python(folder: Path, torch_version: str) -> str:
    """Return the interpreter of the environment in `folder`, which is made or completed if needed."""
    python = str(folder / "bin" / "python")
    if not Path(python).exists():
        venv.create(folder, with_pip=True)
    search = "import importlib.util as u, sys; sys.exit(not (u.find_spec('nni') and u.find_spec('torch')))"
    if subprocess.run([python, "-c", search], check=False).returncode:
        packages = ["nni==3.0", "pytorch-lightning", f"torch=={torch_version}", "setuptools<81"]
        subprocess.run([python, "-m", "pip", "install", "-q", *packages], check=True)
    return python
