"""One point of a search space."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from onepath.space.choice import Option

if TYPE_CHECKING:
    from onepath.space.search_space import SearchSpace


class Architecture:
    """One option for every active choice of a search space; immutable and hashable.

    Two architectures are equal when their spaces have the same fingerprint and their indices agree. Make one with
    `SearchSpace.architecture`, `.random` or `.parse`, not by hand. `architecture[name]` is the option of one choice.

    Attributes:
        space: search space of the architecture.
        indices: one option index per choice, in the order of the space; canonical: an inactive choice has index 0.
    """

    __slots__ = ("_hash", "indices", "space")

    space: SearchSpace
    indices: tuple[int, ...]

    def __init__(self, space: SearchSpace, indices: tuple[int, ...]) -> None:
        object.__setattr__(self, "space", space)
        object.__setattr__(self, "indices", indices)
        object.__setattr__(self, "_hash", hash((space.fingerprint, indices)))

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"an architecture does not change; make a new one with another {name}")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"an architecture does not change; {name} stays")

    def __getitem__(self, name: str) -> Option:
        """Return the option of the choice with this name; an inactive choice has its first option.

        Raises:
            SpaceError: the space has no choice of this name.
        """
        column = self.space.column(name)
        return self.space.choices[column].options[self.indices[column]]

    @property
    def options(self) -> dict[str, Option]:
        """The active choices in the order of the space, as choice name -> option."""
        active = self.space.active_columns(self.indices)
        return {
            self.space.names[column]: self.space.choices[column].options[self.indices[column]]
            for column in active
        }

    def to_json(self) -> str:
        """Return the active choices as one JSON object, `{"name": option, ...}`."""
        return json.dumps(self.options)

    @classmethod
    def from_json(cls, space: SearchSpace, text: str) -> Architecture:
        """Return the architecture that `to_json` wrote.

        Raises:
            SpaceError: the text is no JSON object, or does not fit the space.
        """
        return space.from_json(text)

    def __str__(self) -> str:
        return ",".join(map(str, self.indices))

    def __repr__(self) -> str:
        return f"Architecture({self})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Architecture):
            return NotImplemented
        return self.indices == other.indices and self.space.fingerprint == other.space.fingerprint

    def __hash__(self) -> int:
        return self._hash  # type: ignore[attr-defined, no-any-return]

    def __copy__(self) -> Architecture:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Architecture:
        return self

    def __reduce__(self) -> tuple[type[Architecture], tuple[SearchSpace, tuple[int, ...]]]:
        return Architecture, (self.space, self.indices)
