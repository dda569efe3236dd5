"""Base class of the methods that search by a score without training, and train the best network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from torch import nn

from onepath import option_types as types
from onepath.errors import ConfigurationError
from onepath.estimate import score_definitions
from onepath.methods.sampled import SearchingMethod
from onepath.methods.supernet_search import Found
from onepath.option_types import option

if TYPE_CHECKING:
    from onepath.estimate import Estimator
    from onepath.methods.job import Job, Trained
    from onepath.space import SearchSpace
    from onepath.train import Phase


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


class ScoredMethod(SearchingMethod):
    """Search by a score without training, then train the network found; no supernet is trained."""

    trains_supernet: ClassVar[bool] = False
    other_names: ClassVar[Mapping[str, str]] = {
        "score": "proxy",
        "epochs": "retrain_epochs",
        "batch_size": "score_batch_size",
    }

    proxy: types.Text = option(
        "zen",
        "Score without training that the search maximises, one of `onepath score`, or the mean of several, such as "
        "nwot+layers.",
        group="Search",
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
        score_definitions(self.proxy)

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
