"""Stand-alone training of random architectures under the limits, without a search.

This is the baseline that a search must beat at an equal budget: random networks are trained from scratch, and the best
one on the validation split wins.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from onepath import option_types as types
from onepath.estimate import Estimate
from onepath.estimate.estimator import architecture_of
from onepath.methods.functions import function_of
from onepath.methods.method import Method
from onepath.methods.sampled import SearchingMethod
from onepath.option_types import option
from onepath.train import evaluate

if TYPE_CHECKING:
    from torch import nn

    from onepath.estimate import Estimator
    from onepath.methods.job import Job, Trained
    from onepath.methods.supernet_search import Found
    from onepath.search import Proposal
    from onepath.space import Architecture
    from onepath.train import Phase


class Unrated:
    """An estimator of a search that only draws: it says nothing about any architecture, and evaluates none."""

    def estimate(self, asked: Proposal | Architecture) -> Estimate:  # noqa: ARG002
        """Return the same estimate for every architecture."""
        return Estimate(-math.inf, math.inf, 0.0, 0)


class Finished:
    """Estimates an architecture by its finished network, trained from fresh weights as a winner is.

    Args:
        job: gives the data, the recipe and the seed.
    """

    def __init__(self, job: Job) -> None:
        self._job = job

    def estimate(self, asked: Proposal | Architecture) -> Estimate:
        """Return the accuracy and the loss of the finished network on the validation split."""
        started = time.perf_counter()
        job = self._job
        model = self.model(architecture_of(asked))
        found = evaluate(model, job.task, "validation", device=job.device, precision=job.settings.precision)
        return Estimate(job.task.score(found.metric), found.loss, time.perf_counter() - started, found.num)

    def model(self, architecture: Architecture) -> nn.Module:
        """Train the network of an architecture and return it in eval mode; on a CPU its weights are always the same."""
        return self._job.finished(architecture)


class TrainedAlone(Method):
    """A method whose search evaluates nothing: the networks that it proposes are compared when they are trained."""

    trains_supernet: ClassVar[bool] = False

    def phases(self, job: Job) -> Sequence[Phase]:  # noqa: ARG002
        """Return no phases: there is no supernet to train."""
        return ()

    def estimator(self, job: Job, trained: Trained) -> Estimator:  # noqa: ARG002
        """Return an estimator that evaluates nothing."""
        return Unrated()

    def outcome(self, job: Job, trained: Trained, found: Found) -> Found:  # noqa: ARG002
        """Train the networks of all architectures that were proposed, and return them with their accuracies."""
        estimator = Finished(job)
        trials = [
            dataclasses.replace(trial, estimate=estimator.estimate(trial.architecture))
            for trial in found.trials
        ]
        return dataclasses.replace(found, trials=tuple(trials), estimator=estimator, order=())


class RandomNetworks(TrainedAlone, SearchingMethod):
    """Train random architectures by themselves, without a supernet, and take the best on the validation split.

    In a run they are the finalists, which are trained at the same time, or by successive halving.
    """

    name = "random"
    default_algorithm: ClassVar[str] = "random"

    population: types.Population | None = option(4, "Architectures per generation.", group="Search")
    generations: types.Generations | None = option(0, "Generations after the first.", group="Search")

    @property
    def num_finalists(self) -> int:
        """See `Method.num_finalists`; every architecture that is drawn."""
        return self.num_planned


random_networks = function_of(RandomNetworks, "Every trained architecture, with the best; see `Found`.")
