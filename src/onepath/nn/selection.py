"""The active options and gates of one supernet, which its elastic layers and choice blocks read."""

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
    """The active option of every choice, and the gates that replace the option at some choices.

    All modules of a supernet share one object, so that activating an architecture is one assignment for any number of
    layers.

    Attributes:
        options: choice -> its active option; empty before an architecture is active.
        gates: choice -> the gate that replaces its option.
    """

    def __init__(self) -> None:
        self.options: dict[Choice, Option] = {}
        self.gates: dict[Choice, Gate] = {}


class ModuleWithChoices(Protocol):
    """A module that reads the selection: an elastic layer, an elastic depth or a choice block."""

    path: str
    selection: Selection

    def own_choices(self) -> tuple[Choice, ...]:
        """Return the choices that this module itself reads, without those of its children."""

    def extracted(self, *, inherit: bool) -> nn.Module:
        """Return the plain module that replaces this one under the active options; its children are not yet extracted.

        Args:
            inherit: whether weights and statistics are inherited, or fresh ones follow.
        """


def has_choices(module: object) -> TypeIs[ModuleWithChoices]:
    """Tell whether a module reads a selection; a single look-up, because extraction asks it of every module."""
    return isinstance(getattr(module, "selection", None), Selection)


def active_size(size: Size, selection: Selection) -> int:
    """Return the size under the active options; the largest size if no architecture is active."""
    if isinstance(size, int):
        return size
    if all(choice in selection.options for choice in size_choices(size)):
        return size_value(size, selection.options)
    return size_max(size)


def check_sizes(layer: str, **sizes: Size) -> None:
    """Raise unless every value of every size is a whole number of 1 or more.

    Args:
        layer: name of the layer's class, for the message.
        sizes: name of an argument -> its size.

    Raises:
        BindingError: a size has another value; the message names the argument and the value.
    """
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
    """Return all values of a size over the joint options of its choices; they are not checked."""
    if isinstance(size, Choice):
        return size.options
    return size.values() if isinstance(size, Expression) else (size,)


def joint_sizes(*sizes: Size) -> Iterator[tuple[int, ...]]:
    """Iterate over the values that sizes take together: one tuple for each joint option of their choices."""
    choices = dict.fromkeys(choice for size in sizes for choice in size_choices(size))
    for options in itertools.product(*(choice.options for choice in choices)):
        chosen = dict(zip(choices, options, strict=True))
        yield tuple(size_value(size, chosen) for size in sizes)


def check_channels(layer: str, path: str, expected: int, came: int) -> None:
    """Raise unless an input has the active number of channels.

    Args:
        layer: name of the layer's class, for the message.
        path: path of the layer; "" if it is not bound.
        expected: active number of channels.
        came: number of channels of the input.

    Raises:
        ShapeError: the numbers differ; the message names the path.
    """
    if came != expected:
        raise ShapeError(
            f"{path or layer}: the input must have {expected} channels under the active architecture, but it has "
            f"{came}; let the layer before it share the same choice"
        )
