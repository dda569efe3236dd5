"""Base classes of the methods that choose a search algorithm, and of those that train a supernet on sampled paths."""

from __future__ import annotations

import dataclasses
import math
import re
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

from pydantic import AfterValidator, model_validator

from onepath import option_types as types
from onepath.estimate.accuracy_predictor import FEWEST_PAIRS
from onepath.methods.method import Method
from onepath.methods.supernet_search import Search
from onepath.option_types import option
from onepath.search import ALGORITHMS, Budget, Predicted, Prefilter

if TYPE_CHECKING:
    from onepath.methods.job import Job, Trained
    from onepath.search import Algorithm

PREDICTED_BUDGET, NUM_VERIFIED = (100, 100), 10
"""Population and generations of a search on predictions, where Once-for-All has 500 generations; and the number of
architectures that are evaluated after it."""

AlgorithmName = Literal[
    "evolution", "regularized-evolution", "mutation-evolution", "nsga2", "reinforce", "random"
]


def parse_prefilter(value: str) -> tuple[str, float]:
    """Return the name and the share of a text such as "nwot:0.2".

    Raises:
        ValueError: the text is not NAME:SHARE with a share above 0 and at most 1.
    """
    name, _, share = value.rpartition(":")
    if not name or not re.fullmatch(r"[0-9]*\.?[0-9]+", share) or not 0 < float(share) <= 1:
        raise ValueError("must be a score and the share that is evaluated, such as nwot:0.2")
    return name, float(share)


def _checked_prefilter(value: str) -> str:
    parse_prefilter(value)
    return value


class SearchingMethod(Method):
    """A method whose search runs one of the algorithms in `onepath.search.ALGORITHMS`.

    Attributes:
        default_algorithm: name of the algorithm that the search runs unless the user chooses another.
    """

    default_algorithm: ClassVar[str]

    algorithm: AlgorithmName | None = option(
        None,
        "Search algorithm: evolution, regularized-evolution, mutation-evolution, nsga2, reinforce or random; default: "
        "the method's own.",
        group="Search",
    )
    num: types.Evaluated | None = option(
        None,
        "Architectures evaluated in all; default: population * (generations + 1), or the 10 best with a predictor.",
        group="Search",
        metavar="N",
    )
    prefilter: Annotated[types.Text, AfterValidator(_checked_prefilter)] | None = option(
        None,
        "Evaluate only a share of each generation: the best by a score of `onepath score`, for example nwot:0.2.",
        group="Search",
        metavar="SCORE:SHARE",
    )

    def search(self, job: Job, trained: Trained) -> Search:
        """See `Method.search`; the option's algorithm runs on the method's estimator, behind the prefilter if any."""
        algorithm: Algorithm = self.made_algorithm(job, trained)
        total = self.num_planned
        if self.prefilter is not None:
            name, share = parse_prefilter(self.prefilter)
            algorithm = Prefilter(algorithm, job.ranked(name), share)
            total = math.ceil(share * (self.population or 1) - 1e-9) * ((self.generations or 0) + 1)
        total = min(total, job.space.size)
        return Search(algorithm, self.estimator(job, trained), total, self.ties)

    @property
    def scores(self) -> tuple[str, ...]:
        """See `Method.scores`; with a prefilter its score is one of them."""
        return (
            super().scores
            if self.prefilter is None
            else (*super().scores, parse_prefilter(self.prefilter)[0])
        )

    @property
    def num_planned(self) -> int:
        """Largest number of architectures that the algorithm proposes."""
        return self.num or (self.population or 1) * ((self.generations or 0) + 1)

    def made_algorithm(self, job: Job, trained: Trained) -> Algorithm:  # noqa: ARG002
        """Return the algorithm of the option, or the default one, with the method's budget and the job's seed."""
        assert self.population is not None, "the method is resolved"
        kind = ALGORITHMS[self.algorithm or self.default_algorithm]
        costs = [job.counter(cost) for cost in ("macs", "params")] if kind.takes_costs else []
        return kind.for_budget(job.space, job.search_seed, Budget(self.population, self.num_planned, costs))


class SampledMethod(SearchingMethod):
    """Train a supernet on sampled paths, then search it by inherited accuracy.

    Attributes:
        default_pairs: number of architectures from which the accuracy predictor learns by default; 0 uses no predictor.
    """

    default_pairs: ClassVar[int] = 0

    epochs: types.Epochs | None = option(
        None, "Epochs of the supernet's training; default: by the size of the data."
    )
    predictor: types.Pairs | None = option(
        None,
        "Number of architectures, 10 or more, from whose inherited accuracy an accuracy predictor learns; the search "
        "then runs on predictions, under any limit, and the best architectures that it finds are evaluated. 0 uses no "
        "predictor. Default: 300 for sandwich and ofa in spaces with more architectures, else 0.",
        group="Search",
    )

    @model_validator(mode="after")
    def _check_predictor(self) -> Self:
        if self.predictor and self.predictor < FEWEST_PAIRS:
            raise ValueError(
                f"predictor must be 0 or at least {FEWEST_PAIRS}, but got {self.predictor}; raise it"
            )
        if self.predictor and self.prefilter is not None:
            raise ValueError(
                f"prefilter selects the architectures to evaluate, but with predictor={self.predictor} the search "
                "evaluates none; give one of the two"
            )
        return self

    def resolved(self, job: Job) -> Self:
        """See `Method.resolved`; with a predictor the default budget is that of a search on predictions."""
        method = self.filled(predictor=0 if self.prefilter is not None else self.default_pairs)
        if self.predictor is None and job.space.size <= (method.predictor or 0):
            method = method.model_copy(update={"predictor": 0})
        if method.predictor:
            population, generations = PREDICTED_BUDGET
            method = method.filled(population=population, generations=generations, num=NUM_VERIFIED)
        return super(SampledMethod, method).resolved(job).filled(epochs=job.recipe().epochs)

    def search(self, job: Job, trained: Trained) -> Search:
        """See `Method.search`; with a predictor the algorithm runs on predictions, and its best are evaluated."""
        search = super().search(job, trained)
        if not self.predictor:
            return search
        predict = job.accuracy_predictor(trained, self.predictor)
        num = self.num or NUM_VERIFIED
        return dataclasses.replace(
            search, algorithm=Predicted(search.algorithm, predict, num), total=min(num, job.space.size)
        )

    @property
    def num_planned(self) -> int:
        """See `SearchingMethod.num_planned`; with a predictor, `num` does not limit the search on predictions."""
        num = (self.population or 1) * ((self.generations or 0) + 1)
        return num if self.predictor else super().num_planned
