"""A worker process as its pool sees it: started, sent lines, heard, ended."""

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
    """A process of `onepath.workers.worker`.

    Args:
        workplace: what it does.
        kept_open: descriptors that it inherits.

    Attributes:
        answers: descriptor of its messages.
        number: of the process.
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
        """Send a message; a worker that has died is noticed by the end of its own."""
        with contextlib.suppress(BrokenPipeError, ValueError):
            self._commands.write(line)
            self._commands.flush()

    def send_away(self) -> None:
        """Let it leave: there is no more work."""
        with contextlib.suppress(BrokenPipeError):
            self._commands.close()

    def receive(self) -> list[dict[str, Any]] | None:
        """The whole messages that have come; None at their end."""
        chunk = os.read(self.answers, _CHUNK_BYTES)
        if not chunk:
            return None
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        return [decode(line) for line in lines]

    def seconds_stopped(self) -> float | None:
        """How long it has been seen stopped, as by SIGSTOP; None while it runs, and where the system does not say."""
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
        """Continue it after it was stopped."""
        self._process.send_signal(signal.SIGCONT)

    def end_stopped(self, seconds: float) -> None:
        """End it because it has been stopped for so long; `death` says so."""
        self._most_stopped = seconds
        self._process.kill()

    def end(self, *, is_leaving: bool = False) -> None:
        """Wait until the process has ended, and close the pipes; unless it is leaving, it is killed."""
        if not is_leaving:
            self._process.kill()
        self._process.wait()
        self.send_away()
        self._answers.close()

    def death(self, purpose: str) -> Exception:
        """The one line about a process that has ended before it had done its work.

        Args:
            purpose: what it had, such as "winner-scratch".
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
    """A process started inside never receives what a terminal or scheduler sends to all: this one tells it to stop."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
