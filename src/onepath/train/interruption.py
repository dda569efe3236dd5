"""Ctrl-C, SIGTERM and SIGHUP between updates, not inside one."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Self

from onepath.signals import SIGNALS

"""What ends a process that is asked to end; Windows has no SIGHUP."""


class DeferredInterrupt:
    """While entered, the first of `SIGNALS` only sets `requested`; the second acts at once, as it would have before.

    A signal that is ignored stays so, and a handler of the user's own for SIGTERM or SIGHUP stays in place: deferred
    are SIGINT, and those two where they would end the process, by default or by a handler that says so with an
    attribute `ends_process`. Nothing is changed in threads other than the main one, where Python allows no handlers.
    """

    def __init__(self) -> None:
        self.requested = False
        self._number: int | None = None
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                previous = signal.getsignal(number)
                ends_process = previous is signal.SIG_DFL or getattr(previous, "ends_process", False)
                if callable(previous) if number == signal.SIGINT else ends_process:
                    self._previous[number] = previous
                    signal.signal(number, self._receive)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, previous in self._previous.items():
            signal.signal(number, previous)

    def act(self) -> None:
        """After exit: what the signal that came would have done; nothing without one.

        Raises:
            KeyboardInterrupt: a signal came; unless its former handler raises something else or ends the process.
        """
        if self._number is not None:
            self._pass_on(self._number, None)
            raise KeyboardInterrupt

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            signal.signal(number, self._previous[number])
            self._pass_on(number, frame)
        self.requested, self._number = True, number

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        previous = self._previous[number]
        if callable(previous):
            previous(number, frame)
        else:
            signal.raise_signal(number)
