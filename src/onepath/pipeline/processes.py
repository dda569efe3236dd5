"""A worker process as its run sees it: started, sent lines, heard, ended."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from onepath.errors import UserError
from onepath.pipeline.messages import decode

_CHUNK_BYTES = 1 << 16
_start_process = subprocess.Popen


class WorkerProcess:
    """A process of `onepath.pipeline.worker`.

    Args:
        kept_open: descriptors that it inherits.

    Attributes:
        answers: descriptor of its messages.
    """

    def __init__(self, kept_open: Sequence[int] = ()) -> None:
        # It sees the modules that this process sees, and not those that happen to lie in the working directory.
        path = os.pathsep.join(folder or os.getcwd() for folder in sys.path)
        with _without_interrupts():
            self._process = _start_process(
                [sys.executable, "-P", "-m", "onepath.pipeline.worker", str(os.getpid())],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                pass_fds=kept_open,
                env={**os.environ, "PYTHONPATH": path},
            )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._commands, self._answers = self._process.stdin, self._process.stdout
        self.answers = self._answers.fileno()
        self._rest = b""

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

    def wait(self) -> None:
        """Until it has ended."""
        self._process.wait()

    def kill(self) -> None:
        """End the process if it lives, and close the pipes."""
        self._process.kill()
        self._process.wait()
        self.send_away()
        self._answers.close()

    def death(self, purpose: str) -> Exception:
        """The one line about a process that has ended before it had done its work.

        Args:
            purpose: what it had, such as "winner-scratch".
        """
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
    """A process started inside never receives the terminal's Ctrl-C: this one tells it when to stop."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
