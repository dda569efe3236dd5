"""The distinct networks of a benchmark's table: each once, even where several architectures describe it."""

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
    """A notation of a space in which several architectures can compute the same function, or ignore their input."""

    def canonical(self, options: Mapping[str, Option]) -> str:
        """Return a text that is equal for architectures that compute the same function."""

    def is_connected(self, options: Mapping[str, Option]) -> bool:
        """Whether the output depends on the input."""


@dataclass(frozen=True)
class Networks:
    """Distinct networks whose true quality is known.

    Attributes:
        architectures: one architecture for each of the n networks: the stand-alone form of its first row.
        truth: (n,) known quality, higher is better; mean over the rows that are the same network.
        num_rows: number of rows of the table.
        num_disconnected: number of rows left out because their output does not depend on their input. They all tie at
            the accuracy of guessing, any score tells them from the rest, and no search would choose one.
    """

    architectures: tuple[Architecture, ...]
    truth: Floats
    num_rows: int
    num_disconnected: int

    def __len__(self) -> int:
        """The number of networks."""
        return len(self.architectures)

    def draw(self, num: int, rng: np.random.Generator) -> Networks:
        """Draw `num` networks at random, or all if there are fewer.

        They are in the order drawn: with the same state of `rng`, a smaller `num` gives the first of a larger one's.
        """
        order = rng.permutation(len(self))[:num]
        return Networks(
            tuple(self.architectures[place] for place in order),
            self.truth[order],
            self.num_rows,
            self.num_disconnected,
        )

    def where(self, kept: Sequence[bool]) -> Networks:
        """Return the networks whose entry in `kept` is true; one entry per network."""
        places = np.flatnonzero(kept)
        return Networks(
            tuple(self.architectures[place] for place in places),
            self.truth[places],
            self.num_rows,
            self.num_disconnected,
        )


def one_row_per_network(architectures: Sequence[Architecture], truth: Sequence[float] | Floats) -> Networks:
    """Group the rows of a table by the network that they describe.

    Two architectures are one network where their stand-alone forms are equal (`SearchSpace.standalone_form`), or
    where their cells compute the same function. The table of NAS-Bench-201 has a separate training for each such
    cell, so that the mean is less noisy than one row. Counted twice, a network would tie with itself in nearly every
    score.

    Args:
        architectures: architecture of each row, all of one space.
        truth: known quality of each row, higher is better.

    Returns:
        The networks in the order of their first rows; rows that ignore their input are left out.

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
    """Return a text that is equal for architectures that are one network; None for one that ignores its input."""
    notation: object = architecture.space.notation
    if isinstance(notation, CellNotation):
        options = architecture.options
        return notation.canonical(options) if notation.is_connected(options) else None
    return str(standing_for(architecture))


def standing_for(architecture: Architecture) -> Architecture:
    """Return the stand-alone form: of several paths of a supernet that are one network, the path to evaluate."""
    return architecture.space.standalone_form(architecture)
