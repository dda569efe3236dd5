"""End a command with one line at SIGINT, SIGTERM or SIGHUP. This file is imported first, so it imports very little."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Sequence
from types import FrameType, TracebackType
from typing import Any, NoReturn, Self

from onepath.signals import SIGNALS

CONTINUED = ("run", "train", "search", "retrain", "export", "report", "rank", "score", "profile")
"""Commands that continue where they stopped."""

# As in `onepath.train.interruption`, whose package would take seconds to import.
_SHOW_CURSOR = "\x1b[?25h"


class Interrupts:
    """While entered, the first signal raises KeyboardInterrupt in the main thread, and a second ends the process.

    The first signal also ends the process while a module is being imported, because Python would lose the exception or
    turn it into another one; at that time there is no unsaved work. A signal that is ignored, such as SIGHUP under
    nohup, stays ignored.

    Args:
        arguments: arguments of the command.
        is_process: whether the process ends with the command; if so, a signal after the command ends the process
            without a line.

    Attributes:
        number: number of the signal that came, or None.
        ends_process: tells a training that this handler ends the process, so that the training saves before it acts.
    """

    ends_process = True

    def __init__(self, arguments: Sequence[str], *, is_process: bool) -> None:
        self.number: int | None = None
        self._arguments = arguments
        self._is_process = is_process
        self._previous: dict[int, Any] = {}
        self._hook = sys.unraisablehook

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                previous = signal.getsignal(number)
                if previous not in (signal.SIG_IGN, None):
                    self._previous[number] = previous
                    signal.signal(number, self)
            sys.unraisablehook = self._receive_lost
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        sys.unraisablehook = self._hook
        for number, previous in self._previous.items():
            signal.signal(number, signal.SIG_DFL if self._is_process else previous)

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Receive a signal; see `signal.signal`."""
        if self.number is not None or _is_loading(frame):
            self._leave(number)
        self.number = number
        raise KeyboardInterrupt

    def line(self, number: int) -> str:
        """Return the line that is shown when a signal ends the command.

        Args:
            number: number of the signal.
        """
        by = "" if number == signal.SIGINT else f" by {signal.Signals(number).name}"
        is_continued = any(argument in CONTINUED for argument in self._arguments[:2])
        return f"interrupted{by}" + (": the same command continues where it stopped" if is_continued else "")

    def _leave(self, number: int) -> NoReturn:
        """End the process at once; the line goes to the descriptor, because Python's own stream may be in use."""
        try:
            cursor = _SHOW_CURSOR if os.isatty(2) else ""
            os.write(2, f"{cursor}{self.line(number)}\n".encode())
        except OSError:  # the terminal has gone
            pass
        os._exit(128 + number)

    def _receive_lost(self, lost: sys.UnraisableHookArgs) -> None:
        """Receive an exception that Python cannot raise, as in a finaliser, so that no interruption gets lost there."""
        if lost.exc_type is KeyboardInterrupt and self.number is not None:
            self._leave(self.number)
        self._hook(lost)


def _is_loading(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False
