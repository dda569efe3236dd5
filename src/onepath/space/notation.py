"""What a search space's own notation may know about its architectures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from onepath.space.choice import Option


class Notation(Protocol):
    """A paper's own way to write an architecture of one search space as text."""

    def parse(self, text: str) -> Mapping[str, Option] | None:
        """Return choice name -> option, or None if the text is not in this notation."""

    def format(self, options: Mapping[str, Option]) -> str:
        """Return the text for these options (choice name -> option of every active choice)."""


@runtime_checkable
class StandaloneForms(Protocol):
    """A notation that knows which different architectures are the same network when trained from scratch."""

    def standalone_form(self, options: Mapping[str, Option]) -> Mapping[str, Option]:
        """Return the options that stand for all architectures with the same stand-alone network.

        Applying the method to its own result returns that result.
        """


@runtime_checkable
class Connectedness(Protocol):
    """A notation that knows which architectures have an output that does not depend on their input."""

    def is_connected(self, options: Mapping[str, Option]) -> bool:
        """Tell whether the output of the architecture with these options depends on its input."""
