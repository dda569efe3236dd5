"""The largest and the smallest architecture of a space, and the ones that differ from an architecture in one option."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from onepath.space.choice import Option

if TYPE_CHECKING:
    from onepath.space.architecture import Architecture
    from onepath.space.choice import Choice
    from onepath.space.search_space import SearchSpace


def end_of(space: SearchSpace, kind: Callable[[Sequence[Option]], Option]) -> Architecture:
    """Return the architecture with the largest or smallest option of each choice that has an order.

    Choices between operations take their first option.

    Args:
        space: search space of the architecture.
        kind: `max` for the largest options, `min` for the smallest.
    """
    return space.architecture(
        [choice.options.index(kind(choice.options)) if choice.is_ordered else 0 for choice in space.choices]
    )


def swaps_of(
    architecture: Architecture, choices: Sequence[Choice] | None = None
) -> dict[tuple[str, Option], Architecture]:
    """Return (name of a choice, option) -> the architecture with this option in the place of its own.

    Choices that become active with the option take their first one. An option of an inactive choice changes nothing.

    Args:
        architecture: the architecture that is changed.
        choices: choices of its space whose options are put in; None takes all.
    """
    space = architecture.space
    found = {}
    for choice in space.choices if choices is None else choices:
        column = space.column(choice.name)
        for index, option in enumerate(choice.options):
            indices = [*architecture.indices[:column], index, *architecture.indices[column + 1 :]]
            found[choice.name, option] = space.architecture(indices)
    return found
