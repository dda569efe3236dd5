"""One worker process as its pool sees it: the pool starts it, sends it lines, receives its messages and ends it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

from onepath.errors import UserError
from onepath.signals import SIGNALS
from onepath.workers.messages import decode
from onepath.workers.workplace import Workplace

_CHUNK_BYTES = 1 << 16

_start_process = subprocess.Popen


class WorkerProcess:
    """A process that runs `onepath.workers.worker`.

    Args:
        workplace: class of what the worker can do.
        kept_open: file descriptors that the process inherits.

    Attributes:
        answers: file descriptor of the worker's messages.
        number: number of the process.
    """

    def __init__(self, workplace: type[Workplace], kept_open: Sequence[int] = ()) -> None:
        # It sees the modules that this process sees, and not those that happen to lie in the working directory.
        path = os.pathsep.join(folder or os.getcwd() for folder in sys.path)
        name = f"{workplace.__module__}:{workplace.__name__}"
        with _without_interrupts():
            self._process = _start_process(
                [sys.executable, "-P", "-m", "onepath.workers.worker", str(os.getpid()), name],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                pass_fds=kept_open,
                env={**os.environ, "PYTHONPATH": path},
            )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._commands, self._answers = self._process.stdin, self._process.stdout
        self.answers = self._answers.fileno()
        self.number = self._process.pid
        self._rest = b""
        self._stopped: float | None = None
        self._most_stopped: float | None = None

    def send(self, line: bytes) -> None:
        """Send a message; if the worker has died, nothing is raised, and `receive` tells of it."""
        with contextlib.suppress(BrokenPipeError, ValueError):
            self._commands.write(line)
            self._commands.flush()

    def send_away(self) -> None:
        """Let the worker leave, because there is no more work."""
        with contextlib.suppress(BrokenPipeError):
            self._commands.close()

    def receive(self) -> list[dict[str, Any]] | None:
        """Wait for data and return the complete messages that have come, perhaps none; None if no more will come."""
        chunk = os.read(self.answers, _CHUNK_BYTES)
        if not chunk:
            return None
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        return [decode(line) for line in lines]

    def seconds_stopped(self) -> float | None:
        """Return the seconds since the worker was first seen stopped, as by SIGSTOP.

        None while it runs, and on systems that do not tell.
        """
        is_stopped = False
        if self._process.returncode is None and hasattr(os, "waitid"):
            with contextlib.suppress(ChildProcessError):
                # Neither flag takes away what `wait` will ask for.
                flags = os.WSTOPPED | os.WNOHANG | os.WNOWAIT
                is_stopped = os.waitid(os.P_PID, self.number, flags) is not None
        if not is_stopped:
            self._stopped = None
            return None
        if self._stopped is None:
            self._stopped = time.monotonic()
        return time.monotonic() - self._stopped

    def go_on(self) -> None:
        """Continue the worker after it was stopped."""
        self._process.send_signal(signal.SIGCONT)

    def end_stopped(self, seconds: float) -> None:
        """End the worker because it has been stopped for this many seconds; `death` says so."""
        self._most_stopped = seconds
        self._process.kill()

    def end(self, *, is_leaving: bool = False) -> None:
        """Wait until the process has ended, and close the pipes; the process is killed first unless it is leaving."""
        if not is_leaving:
            self._process.kill()
        self._process.wait()
        self.send_away()
        self._answers.close()

    def death(self, purpose: str) -> Exception:
        """Return the error for a worker that has ended before its work was done.

        Args:
            purpose: name of the job that it had, such as "winner-scratch".
        """
        if self._most_stopped is not None:
            return UserError(
                f"a worker must run until its work is done, but that of {purpose} (process {self.number}) was stopped "
                f"for {self._most_stopped:.0f} s; what it saved is kept: run the same command again"
            )
        status = self._process.returncode
        if status >= 0:
            return RuntimeError(f"the worker of {purpose} ended with status {status} and without a word")
        return UserError(
            f"a worker must live until its work is done, but that of {purpose} was ended by "
            f"{signal.Signals(-status).name} (SIGKILL often means that memory ran out); what it saved is kept: run the "
            "same command again"
        )


@contextlib.contextmanager
def _without_interrupts() -> Iterator[None]:
    """A context in which a started process ignores the signals that a terminal or scheduler sends to all processes.

    This process tells the started one to stop.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
