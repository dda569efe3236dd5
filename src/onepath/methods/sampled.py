"""What the methods share that train paths of a supernet and then search its fixed weights."""

from __future__ import annotations

import math
import re
from abc import abstractmethod
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

from pydantic import AfterValidator

from onepath import option_types as types
from onepath.methods.method import Method
from onepath.methods.supernet_search import Search
from onepath.option_types import option
from onepath.search import ALGORITHMS, Budget, Prefilter

if TYPE_CHECKING:
    from onepath.estimate import Estimator
    from onepath.methods.job import Job, Trained
    from onepath.search import Algorithm

AlgorithmName = Literal["evolution", "regularized-evolution", "mutation-evolution", "nsga2", "random"]


def parse_prefilter(value: str) -> tuple[str, float]:
    """The score's name and the share of "nwot:0.2".

    Raises:
        ValueError: it is not NAME:SHARE with a share above 0 and at most 1.
    """
    name, _, share = value.rpartition(":")
    if not name or not re.fullmatch(r"[0-9]*\.?[0-9]+", share) or not 0 < float(share) <= 1:
        raise ValueError("must be a score and the share that is evaluated, such as nwot:0.2")
    return name, float(share)


def _checked_prefilter(value: str) -> str:
    parse_prefilter(value)
    return value


class SearchingMethod(Method):
    """A method with a search of its own choice of algorithm.

    Attributes:
        default_algorithm: the paper's.
    """

    default_algorithm: ClassVar[str]

    algorithm: AlgorithmName | None = option(
        None,
        "Search algorithm: evolution, regularized-evolution, mutation-evolution, nsga2 or random; default: "
        "the method's own.",
        group="Search",
    )
    num: types.Evaluated | None = option(
        None,
        "Architectures evaluated in all; default: population * (generations + 1).",
        group="Search",
        metavar="N",
    )
    prefilter: Annotated[types.Text, AfterValidator(_checked_prefilter)] | None = option(
        None,
        "Evaluate only this share of each generation, the best by a score of `onepath score`, as in nwot:0.2.",
        group="Search",
        metavar="SCORE:SHARE",
    )

    def search(self, job: Job, trained: Trained) -> Search:
        """The algorithm over what the method estimates by."""
        algorithm: Algorithm = self.made_algorithm(job)
        total = self.num_planned
        if self.prefilter is not None:
            name, share = parse_prefilter(self.prefilter)
            algorithm = Prefilter(algorithm, job.ranked(name), share)
            total = math.ceil(share * (self.population or 1) - 1e-9) * ((self.generations or 0) + 1)
        total = min(total, job.space.size)
        return Search(algorithm, self.estimator(job, trained), total, self.ties)

    @property
    def scores(self) -> tuple[str, ...]:
        """Also that of the prefilter."""
        return (
            super().scores
            if self.prefilter is None
            else (*super().scores, parse_prefilter(self.prefilter)[0])
        )

    @property
    def num_planned(self) -> int:
        """Architectures proposed in all, at most."""
        return self.num or (self.population or 1) * ((self.generations or 0) + 1)

    def made_algorithm(self, job: Job) -> Algorithm:
        """The algorithm of the option, or of the paper, for the method's budget."""
        assert self.population is not None, "the method is resolved"
        kind = ALGORITHMS[self.algorithm or self.default_algorithm]
        costs = [job.counter(cost) for cost in ("macs", "params")] if kind.takes_costs else []
        return kind.for_budget(job.space, job.search_seed, Budget(self.population, self.num_planned, costs))

    @abstractmethod
    def estimator(self, job: Job, trained: Trained) -> Estimator:
        """What the search asks for."""


class SampledMethod(SearchingMethod):
    """Train a supernet on sampled paths, then search it by inherited accuracy."""

    epochs: types.Epochs | None = option(
        None, "Epochs of the supernet's training; default: by the size of the data."
    )

    def resolved(self, job: Job) -> Self:
        """Also the length of the training."""
        return super().resolved(job).filled(epochs=job.recipe().epochs)

    def estimator(self, job: Job, trained: Trained) -> Estimator:
        """Inherited accuracy."""
        return job.inherited(trained)
