"""The paths that a supernet can run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from onepath.errors import SpaceError
from onepath.nn.gates import Gate
from onepath.space import Architecture


@dataclass(frozen=True, eq=False)
class GatedPath:
    """An architecture with gates in place of the single option at some choices.

    Unlike gates alone, such a path does not depend on the options that were active before.

    Attributes:
        architecture: decides every choice that has no gate, such as sizes and depths.
        gates: choice name -> gate.
    """

    architecture: Architecture
    gates: Mapping[str, Gate]


@dataclass(frozen=True, eq=False)
class GhostBatches:
    """Paths for the equal parts of one batch: the batch is split in its order, and each part runs along its own path.

    A normalisation layer sees one part at a time. If a batch has fewer examples than there are paths, one example runs
    along each of the first paths.

    Attributes:
        paths: path of each part, at least one.

    Raises:
        SpaceError: there is no path.
    """

    paths: Sequence[Path]

    def __post_init__(self) -> None:
        if not self.paths:
            raise SpaceError("ghost batches need at least one path, but got none; give one per part")


Path = Architecture | Mapping[str, Gate] | GatedPath | GhostBatches
"""An architecture; gates by choice name, on top of the active options; both; or one path per part of the batch."""
