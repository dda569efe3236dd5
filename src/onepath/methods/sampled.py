"""What the methods share that train paths of a supernet and then search its fixed weights."""

from __future__ import annotations

import dataclasses
import math
import re
from abc import abstractmethod
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

from pydantic import AfterValidator, model_validator

from onepath import option_types as types
from onepath.estimate.accuracy_predictor import FEWEST_PAIRS
from onepath.methods.method import Method
from onepath.methods.supernet_search import Search
from onepath.option_types import option
from onepath.search import ALGORITHMS, Budget, Predicted, Prefilter

if TYPE_CHECKING:
    from onepath.estimate import Estimator
    from onepath.methods.job import Job, Trained
    from onepath.search import Algorithm

PREDICTED_BUDGET, NUM_VERIFIED = (100, 100), 10
"""Population and generations of a search on predictions, of the 500 of Once-for-All; and what is evaluated after it."""

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
        "Architectures evaluated in all; default: population * (generations + 1), or the 10 best with a predictor.",
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
    """Train a supernet on sampled paths, then search it by inherited accuracy.

    Attributes:
        default_pairs: of the accuracy predictor.
    """

    default_pairs: ClassVar[int] = 0

    epochs: types.Epochs | None = option(
        None, "Epochs of the supernet's training; default: by the size of the data."
    )
    predictor: types.Pairs | None = option(
        None,
        "Architectures of the whole space whose inherited accuracy an accuracy predictor learns, 10 or more; the "
        "search then goes by it, under any limit, and the best that it finds are evaluated; 0: none; default: 300 for "
        "sandwich and ofa in spaces with more, else 0.",
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
                f"prefilter leaves out what would be evaluated, but with predictor={self.predictor} nothing is while "
                "the search goes on; give one of them"
            )
        return self

    def resolved(self, job: Job) -> Self:
        """Also the length of the training; and with a predictor the budget of the search on predictions."""
        method = self.filled(predictor=0 if self.prefilter is not None else self.default_pairs)
        if self.predictor is None and job.space.size <= (method.predictor or 0):
            method = method.model_copy(update={"predictor": 0})
        if method.predictor:
            population, generations = PREDICTED_BUDGET
            method = method.filled(population=population, generations=generations, num=NUM_VERIFIED)
        return super(SampledMethod, method).resolved(job).filled(epochs=job.recipe().epochs)

    def search(self, job: Job, trained: Trained) -> Search:
        """Also by an accuracy predictor."""
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
        """Also on predictions, where `num` counts what is evaluated after them."""
        num = (self.population or 1) * ((self.generations or 0) + 1)
        return num if self.predictor else super().num_planned

    def estimator(self, job: Job, trained: Trained) -> Estimator:
        """Inherited accuracy."""
        return job.inherited(trained)
