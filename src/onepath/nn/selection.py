"""What is active at this moment in one supernet, read by its elastic layers and choice blocks."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from torch import nn

from onepath.errors import BindingError, ShapeError, shown
from onepath.nn.gates import Gate
from onepath.space import Choice, Option, Size
from onepath.space.choice import Expression, size_choices, size_max, size_value

if TYPE_CHECKING:
    from typing_extensions import TypeIs


class Selection:
    """The active option of every choice, and the gates that replace a single path.

    One object is shared by all modules of a supernet, so that activating an architecture is one assignment,
    whatever the number of layers.
    """

    def __init__(self) -> None:
        self.options: dict[Choice, Option] = {}
        self.gates: dict[Choice, Gate] = {}


class ModuleWithChoices(Protocol):
    """A module that reads the selection: an elastic layer, an elastic depth or a choice block."""

    path: str
    selection: Selection

    def own_choices(self) -> tuple[Choice, ...]:
        """The choices this module itself reads, children excluded."""

    def extracted(self, *, inherit: bool) -> nn.Module:
        """The plain module that stands in its place for the active options; children not yet extracted."""


def has_choices(module: object) -> TypeIs[ModuleWithChoices]:
    """Whether a module reads a selection; asked of every module of every extracted network, so in one look."""
    return isinstance(getattr(module, "selection", None), Selection)


def active_size(size: Size, selection: Selection) -> int:
    """The size under the active options; the largest one where no supernet has activated anything."""
    if isinstance(size, int):
        return size
    if all(choice in selection.options for choice in size_choices(size)):
        return size_value(size, selection.options)
    return size_max(size)


def check_sizes(layer: str, **sizes: Size) -> None:
    """Reject a size that can become something else than a whole number of 1 or more."""
    for name, size in sizes.items():
        wrong = [
            value
            for value in possible_sizes(size)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1
        ]
        if wrong:
            raise BindingError(
                f"{layer}: every value of {name} must be a whole number of 1 or more, but it can be {shown(wrong[0])}; "
                "change the options, or round the expression with round_to"
            )


def possible_sizes(size: Size) -> Sequence[Any]:
    """All values of a size over the options of its choices; not yet checked."""
    if isinstance(size, Choice):
        return size.options
    return size.values() if isinstance(size, Expression) else (size,)


def joint_sizes(*sizes: Size) -> Iterator[tuple[int, ...]]:
    """The values that sizes take together, one tuple for each joint option of their choices."""
    choices = dict.fromkeys(choice for size in sizes for choice in size_choices(size))
    for options in itertools.product(*(choice.options for choice in choices)):
        chosen = dict(zip(choices, options, strict=True))
        yield tuple(size_value(size, chosen) for size in sizes)


def check_channels(layer: str, path: str, expected: int, came: int) -> None:
    """Reject an input whose channels differ from the active size, naming the layer's path."""
    if came != expected:
        raise ShapeError(
            f"{path or layer}: the input must have {expected} channels under the active architecture, but it has "
            f"{came}; let the layer before it share the same choice"
        )
