"""Progress on stderr: a bar with time left on a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import sys
import time
from typing import TYPE_CHECKING, TextIO, cast

from onepath.cli.output import plain, say

if TYPE_CHECKING:
    from rich.progress import TaskID

    from onepath.runs import Progress

_SECONDS_BETWEEN_LINES = 15.0


def make_progress() -> Progress:
    """Return the progress for this process's stderr: a bar on a terminal, plain lines elsewhere."""
    return BarProgress() if sys.stderr.isatty() else LineProgress(sys.stderr)


class LineProgress:
    """Progress as lines: one at the first step of a piece of work, one every 15 seconds, and one at its end.

    Args:
        stream: stream to write to.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._title = ""
        self._total = self._first = self._done = 0
        self._detail = ""
        self._is_shown = False
        self._began = self._written = 0.0

    def begin(self, title: str, total: int, done: int = 0) -> None:
        """See `Progress`."""
        self.finish()
        self._title, self._total, self._first, self._done, self._detail = title, total, done, done, ""
        self._began = self._written = time.monotonic()
        self._is_shown = False

    def advance(self, done: int, detail: str = "") -> None:
        """See `Progress`."""
        self._done, self._detail = done, detail
        if not self._is_shown:
            # Not in `begin`, so that work without any step, such as loading data that do not exist, shows nothing.
            self._is_shown = True
            self._write(
                f"{self._title}: {self._first} of {self._total} done already" if self._first else self._title
            )
        now = time.monotonic()
        if now - self._written >= _SECONDS_BETWEEN_LINES:
            self._written = now
            left = (now - self._began) / max(done - self._first, 1) * max(self._total - done, 0)
            self._write(f"{self._state()}, {_duration(left)} left")

    def finish(self) -> None:
        """See `Progress`."""
        if self._title and self._is_shown:
            self._write(f"{self._state()}, took {_duration(time.monotonic() - self._began)}")
        self._title = ""

    def note(self, text: str) -> None:
        """See `Progress`."""
        self._write(text)

    def _state(self) -> str:
        detail = f", {self._detail}" if self._detail else ""
        return f"{self._title}: {self._done} of {self._total}{detail}"

    def _write(self, text: str) -> None:
        say(text, self._stream)


class BarProgress:
    """Progress as a bar with the time left, on a terminal's stderr."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[detail]}", markup=False),
            console=Console(file=cast(TextIO, _Lasting(sys.stderr))),
        )
        self._task: TaskID | None = None

    def begin(self, title: str, total: int, done: int = 0) -> None:
        """See `Progress`."""
        self.finish()
        self._task = self._bar.add_task(plain(title), total=total, detail="")
        self._bar.start()
        # Steps of an earlier process must not count as speed.
        self._bar.update(self._task, completed=done)
        self._bar.reset(self._task, total=total, completed=done, detail="")

    def advance(self, done: int, detail: str = "") -> None:
        """See `Progress`."""
        if self._task is not None:
            self._bar.update(self._task, completed=done, detail=plain(detail))

    def finish(self) -> None:
        """See `Progress`."""
        if self._task is not None:
            self._bar.stop()
            self._bar.remove_task(self._task)
            self._task = None

    def note(self, text: str) -> None:
        """See `Progress`."""
        self._bar.console.print(plain(text), markup=False, highlight=False)


class _Lasting:
    """A stream for the bar that ignores errors, so that a terminal that has gone ends no training."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.encoding = getattr(stream, "encoding", None) or "utf-8"

    def isatty(self) -> bool:
        return self._stream.isatty()

    def fileno(self) -> int:
        return self._stream.fileno()

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(text.encode(self.encoding, "backslashreplace").decode(self.encoding))
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._stream.flush()


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
