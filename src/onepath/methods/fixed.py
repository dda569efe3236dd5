"""Training of one given architecture, such as the network that an expert would take, without a search.

With the limits, the recipe, the random baseline and the report of every other method, it is what a search is compared
with.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from onepath import option_types as types
from onepath.errors import ConfigurationError, InfeasibleError
from onepath.methods.functions import function_of
from onepath.methods.random_networks import TrainedAlone
from onepath.methods.supernet_search import Search
from onepath.option_types import option
from onepath.search.driver import Draw, Evaluated, SearchAlgorithm
from onepath.space import Architecture

if TYPE_CHECKING:
    from onepath.methods.job import Job, Trained
    from onepath.nn import Supernet
    from onepath.search.feasible import FeasibleSet


class GivenArchitecture(SearchAlgorithm):
    """A search that proposes one given architecture, then none.

    Args:
        architecture: the architecture.
    """

    name = "given"

    def __init__(self, architecture: Architecture) -> None:
        super().__init__(architecture.space)
        self._architecture = architecture

    def propose(self, rng: np.random.Generator) -> Iterator[Draw]:  # noqa: ARG002
        """Yield the architecture in the first step.

        Raises:
            InfeasibleError: it does not meet the limits.
        """
        if self.generation == -1:
            check_legal(self._architecture, self.feasible)
            yield Draw("given", 1, lambda _: self.space.matrix([self._architecture]))

    def observe(self, evaluated: Evaluated) -> None:
        """Ignore the score: it does not change the search."""


def check_legal(architecture: Architecture, feasible: FeasibleSet) -> None:
    """Raise unless an architecture meets all limits.

    Raises:
        InfeasibleError: it does not; the message names the limit and its cost.
    """
    matrix = architecture.space.matrix([architecture])
    for limit in feasible.limits:
        cost = float(limit.costs(matrix)[0])
        if not cost <= limit.maximum:
            raise InfeasibleError(
                f"architecture must meet {limit.name}={limit.maximum:,.12g}, but {architecture} has {cost:,.12g} "
                f"{limit.unit}; give another one or a smaller width, or raise {limit.name}"
            )


class Fixed(TrainedAlone):
    """Train one given architecture by itself, without a search."""

    name = "fixed"

    architecture: types.Text | None = option(
        None,
        "The architecture: option indices (2,1,0), the space's own notation, or the architecture.json of a run; "
        "default: the network of the space that an expert would take, where it has one.",
        group="Search",
    )

    def search(self, job: Job, trained: Trained) -> Search:
        """Return a search that proposes the architecture alone."""
        return Search(GivenArchitecture(self.wanted(job.supernet)[0]), self.estimator(job, trained), 1)

    def wanted(self, supernet: Supernet) -> Sequence[Architecture]:
        """Return the architecture; see `Method.wanted`.

        Raises:
            ConfigurationError: none was given, and the space has none that is made by hand.
            SpaceError: the text does not fit the space.
        """
        written = self.architecture or getattr(supernet.module, "hand_made", None)
        if written is None:
            raise ConfigurationError(
                "method fixed needs an architecture where the space has none that is made by hand, as here; give "
                "architecture"
            )
        return [supernet.space.parse(written)]

    def resolved(self, job: Job) -> Fixed:
        """See `Method.resolved`; the architecture as option indices."""
        (architecture,) = self.wanted(job.supernet)
        check_legal(architecture, job.loosest)
        return super().resolved(job).model_copy(update={"architecture": str(architecture)})


fixed = function_of(Fixed, "The architecture with its accuracy; see `Found`.")
