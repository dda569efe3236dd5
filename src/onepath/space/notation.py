"""What a space's own notation may know of its architectures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from onepath.space.choice import Option


class Notation(Protocol):
    """A paper's own way to write an architecture of one space."""

    def parse(self, text: str) -> Mapping[str, Option] | None:
        """Choice name -> option, or None where the text is not in this notation."""

    def format(self, options: Mapping[str, Option]) -> str:
        """The text for these options."""


@runtime_checkable
class StandaloneForms(Protocol):
    """A notation of a space in which different architectures are one network when trained from scratch."""

    def standalone_form(self, options: Mapping[str, Option]) -> Mapping[str, Option]:
        """The options that stand for all that are the same stand-alone network; their own form is itself."""


@runtime_checkable
class Connectedness(Protocol):
    """A notation of a space in which some architectures have an output that does not depend on their input."""

    def is_connected(self, options: Mapping[str, Option]) -> bool:
        """Whether the output depends on the input."""
