"""Ctrl-C, SIGTERM and SIGHUP deferred to the end of an update."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Self

from onepath.signals import SIGNALS


class DeferredInterrupt:
    """A context in which the first of `SIGNALS` only sets `requested`; the second acts at once, as it did before.

    SIGINT is deferred. SIGTERM and SIGHUP are deferred if they would end the process, by default or by a handler with a
    true attribute `ends_process`; another handler of the user's own for these two stays in place. A signal that is
    ignored stays ignored. In threads other than the main one nothing changes, because Python allows no handlers there.

    Attributes:
        requested: whether a deferred signal came.
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
        """Do what the deferred signal would have done, after the context has ended; without a signal do nothing.

        Raises:
            KeyboardInterrupt: a signal came, and its former handler did not raise something else or end the process.
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
