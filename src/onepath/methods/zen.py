"""Zen-NAS.

Source: Lin et al., "Zen-NAS: A Zero-Shot NAS for High-Performance Image Recognition", ICCV 2021 (arXiv 2102.01063),
Algorithm 1: networks of a population are mutated; networks that exceed the budget are thrown away, the others are
scored without training, and the worst leaves the population; the best network at the end is trained. Differs from it:
limits are hard and the first population is drawn inside them; 4,096 networks are scored where the paper scores
480,000; a mutation changes one choice; any score can take the place of Zen-score; the training is scaled to the size of
the data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from torch import nn

from onepath import option_types as types
from onepath.errors import ConfigurationError
from onepath.estimate import score_definition
from onepath.methods.functions import function_of
from onepath.methods.sampled import SearchingMethod
from onepath.methods.supernet_search import Found
from onepath.option_types import option

if TYPE_CHECKING:
    from onepath.estimate import Estimator
    from onepath.methods.job import Job, Trained
    from onepath.space import SearchSpace
    from onepath.train import Phase

# 4,096 networks take minutes on two cores if a network has 20 million macs.
POPULATION, GENERATIONS = 512, 7


@dataclass(frozen=True)
class Scored:
    """The result of a search by a score without training.

    Attributes:
        found: every scored architecture. The `accuracy` of its estimates is the score: higher is better, without a
            unit, and minus infinity for a degenerate network.
        model: the trained network of the best architecture, of plain torch layers, in eval mode. Other networks,
            untrained, are `found.model(architecture)`.
        num_degenerate: number of networks about which the score says nothing.
    """

    found: Found
    model: nn.Module
    num_degenerate: int


class Zen(SearchingMethod):
    """Search by a score without training, then train the network found; no supernet is trained."""

    name = "zen"
    space: ClassVar[str] = "zennas"
    trains_supernet: ClassVar[bool] = False
    default_algorithm: ClassVar[str] = "mutation-evolution"
    other_names: ClassVar[Mapping[str, str]] = {
        "score": "proxy",
        "epochs": "retrain_epochs",
        "batch_size": "score_batch_size",
    }

    population: types.Population | None = option(POPULATION, "Architectures per generation.", group="Search")
    generations: types.Generations | None = option(
        GENERATIONS, "Generations after the first.", group="Search"
    )
    proxy: types.Text = option(
        "zen", "Score without training that the search maximises, one of `onepath score`.", group="Search"
    )
    score_batch_size: types.BatchSize | None = option(
        None,
        "Examples from which a score is computed; default: 16, or 64 for scores that read data.",
        group="Search",
        metavar="N",
    )

    @property
    def score(self) -> str:
        """See `Method.score`; the score of the option `proxy`."""
        return self.proxy

    def check(self, space: SearchSpace) -> None:  # noqa: ARG002
        """See `Method.check`; the score must exist.

        Raises:
            ConfigurationError: there is no such score.
        """
        score_definition(self.proxy)

    def phases(self, job: Job) -> Sequence[Phase]:  # noqa: ARG002
        """Return no phases: there is no supernet to train."""
        return ()

    def estimator(self, job: Job, trained: Trained) -> Estimator:  # noqa: ARG002
        """Return the estimator that scores stand-alone networks with fresh weights."""
        return job.scorer(self.proxy, self.score_batch_size, total=min(self.num_planned, job.space.size))

    def outcome(self, job: Job, trained: Trained, found: Found) -> Scored:  # noqa: ARG002
        """Train the best network, and return the result.

        Raises:
            ConfigurationError: every scored network is degenerate.
        """
        num_degenerate = sum(trial.estimate.accuracy == -float("inf") for trial in found.trials)
        if num_degenerate == len(found.trials):
            raise ConfigurationError(
                f"{self.proxy} must tell something about some network, but all {num_degenerate:,} scored are "
                "degenerate; take another score"
            )
        return Scored(found, job.finished(found.best), num_degenerate)


zen = function_of(Zen, "Every scored architecture, and the best one trained; see `Scored`.")
