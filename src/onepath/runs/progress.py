"""The interface through which a run tells its progress, without knowing a terminal."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Receives the progress and the notes of a run; its methods are called from one thread."""

    def begin(self, title: str, total: int, done: int = 0) -> None:
        """Begin a piece of work of `total` steps, of which an earlier process has done `done`."""
        ...

    def advance(self, done: int, detail: str = "") -> None:
        """Tell that `done` steps of the current piece of work are done; called often.

        Args:
            done: number of steps done so far, those of earlier processes included.
            detail: text to show beside the number, such as the present loss.
        """
        ...

    def finish(self) -> None:
        """End the current piece of work; do nothing if there is none."""
        ...

    def note(self, text: str) -> None:
        """Show a note of one line."""
        ...


class SilentProgress:
    """A progress that shows nothing."""

    def begin(self, title: str, total: int, done: int = 0) -> None:
        """See `Progress`."""

    def advance(self, done: int, detail: str = "") -> None:
        """See `Progress`."""

    def finish(self) -> None:
        """See `Progress`."""

    def note(self, text: str) -> None:
        """See `Progress`."""
