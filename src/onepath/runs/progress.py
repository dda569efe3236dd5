"""How a run tells where it is, without knowing a terminal."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Receives what a run has to say; called from one thread."""

    def begin(self, title: str, total: int, done: int = 0) -> None:
        """A piece of work of `total` steps begins, `done` of which an earlier process has made."""
        ...

    def advance(self, done: int, detail: str = "") -> None:
        """`done` steps of the current piece are made; called often."""
        ...

    def finish(self) -> None:
        """The current piece of work has ended."""
        ...

    def note(self, text: str) -> None:
        """Something worth one line."""
        ...


class SilentProgress:
    """Says nothing."""

    def begin(self, title: str, total: int, done: int = 0) -> None:
        """See `Progress`."""

    def advance(self, done: int, detail: str = "") -> None:
        """See `Progress`."""

    def finish(self) -> None:
        """See `Progress`."""

    def note(self, text: str) -> None:
        """See `Progress`."""
