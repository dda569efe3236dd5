"""The networks of a benchmark's table: each once, whatever the number of architectures that describe it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from onepath.errors import ConfigurationError
from onepath.rank_correlation import Floats
from onepath.space import Architecture, Option


@runtime_checkable
class CellNotation(Protocol):
    """A notation of a space whose architectures can be the same function, or none of their input."""

    def canonical(self, options: Mapping[str, Option]) -> str:
        """A text that is equal for architectures that compute the same."""

    def is_connected(self, options: Mapping[str, Option]) -> bool:
        """Whether the output depends on the input."""


@dataclass(frozen=True)
class Networks:
    """Distinct networks with known truth.

    Attributes:
        architectures: one for each network: its stand-alone form, or the first of the rows that are it.
        truth: (n,) higher is better; the mean of the rows that are the same network.
        num_rows: of the table.
        num_disconnected: rows left out because their output does not depend on their input: they all tie at chance,
            any score tells them from the rest, and no search would take one.
    """

    architectures: tuple[Architecture, ...]
    truth: Floats
    num_rows: int
    num_disconnected: int

    def __len__(self) -> int:
        """The number of networks."""
        return len(self.architectures)

    def draw(self, num: int, rng: np.random.Generator) -> Networks:
        """`num` of them at random, in the order drawn, so that fewer are the first of more; all if there are fewer."""
        order = rng.permutation(len(self))[:num]
        return Networks(
            tuple(self.architectures[place] for place in order),
            self.truth[order],
            self.num_rows,
            self.num_disconnected,
        )

    def where(self, kept: Sequence[bool]) -> Networks:
        """Those whose entry is true."""
        places = np.flatnonzero(kept)
        return Networks(
            tuple(self.architectures[place] for place in places),
            self.truth[places],
            self.num_rows,
            self.num_disconnected,
        )


def one_row_per_network(architectures: Sequence[Architecture], truth: Sequence[float] | Floats) -> Networks:
    """Group the rows of a table by the network they are.

    Two architectures are one network where their stand-alone forms are equal (`SearchSpace.standalone_form`), or
    where their cells compute the same function (NAS-Bench-201, whose table has a training of its own for each of
    them, so that their mean is less noisy). Counted twice, they would tie in nearly everything.

    Args:
        architectures: of one space.
        truth: one value each, higher is better.

    Raises:
        ConfigurationError: the lengths differ.
    """
    if len(architectures) != len(truth):
        raise ConfigurationError(
            f"every architecture needs a truth, but got {len(architectures)} architectures and {len(truth)} values; "
            "give one each"
        )
    groups: dict[str, list[int]] = {}
    num_disconnected = 0
    for row, architecture in enumerate(architectures):
        key = network_key(architecture)
        if key is None:
            num_disconnected += 1
        else:
            groups.setdefault(key, []).append(row)
    values = np.asarray(truth, dtype=np.float64)
    return Networks(
        tuple(standing_for(architectures[rows[0]]) for rows in groups.values()),
        np.array([values[rows].mean() for rows in groups.values()]),
        len(architectures),
        num_disconnected,
    )


def network_key(architecture: Architecture) -> str | None:
    """A text that is equal for architectures that are one network; None for one that ignores its input."""
    notation: object = architecture.space.notation
    if isinstance(notation, CellNotation):
        options = architecture.options
        return notation.canonical(options) if notation.is_connected(options) else None
    return str(standing_for(architecture))


def standing_for(architecture: Architecture) -> Architecture:
    """The stand-alone form: of several paths of a supernet that are one network, the one to evaluate."""
    return architecture.space.standalone_form(architecture)
