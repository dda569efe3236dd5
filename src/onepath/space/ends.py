"""The largest and the smallest architecture of a space."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from onepath.space.choice import Option

if TYPE_CHECKING:
    from onepath.space.architecture import Architecture
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
