"""What a supernet can run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from onepath.errors import SpaceError
from onepath.nn.gates import Gate
from onepath.space import Architecture


@dataclass(frozen=True, eq=False)
class GatedPath:
    """An architecture, with gates in place of its single candidates at some choice blocks.

    Unlike gates alone it does not depend on what was active before.

    Attributes:
        architecture: decides every choice that has no gate, such as sizes and depths.
        gates: choice name -> gate.
    """

    architecture: Architecture
    gates: Mapping[str, Gate]


@dataclass(frozen=True, eq=False)
class GhostBatches:
    """Equal parts of one batch, in its order, each run along a path of its own.

    A normalisation layer sees one part at a time. A batch of fewer examples than paths runs one example along
    each of the first paths.

    Attributes:
        paths: one per part, at least one.

    Raises:
        SpaceError: there is no path.
    """

    paths: Sequence[Path]

    def __post_init__(self) -> None:
        if not self.paths:
            raise SpaceError("ghost batches need at least one path, but got none; give one per part")


Path = Architecture | Mapping[str, Gate] | GatedPath | GhostBatches
"""An architecture; gates by choice name on top of what is active; both; or one path per part of the batch."""
