"""Efficient architecture search by network transformation.

Source: Cai et al., "Efficient Architecture Search by Network Transformation", AAAI 2018 (arXiv 1707.04873), and its
released code. A small network grows: a controller makes it wider and deeper, and each child begins with what its parent
computes and is trained on for a short time. The accuracy on the validation split rewards the controller, and the best
network is the next to grow. Differs from them: the space is declared, and an action raises the width or the depth of a
stage (`onepath.policy.growth`); growth ends at hard limits; the winner is trained once more from fresh weights, like
the random networks that it is compared with; growth by plain evolution and at random are options.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Self

from onepath import option_types as types
from onepath.estimate.grown import GrownEstimator
from onepath.methods.finishing import network_seed
from onepath.methods.functions import function_of
from onepath.methods.method import Method
from onepath.methods.supernet_search import Search
from onepath.option_types import option
from onepath.policy.growth import growing_columns
from onepath.search.growth import Grower, Growth

if TYPE_CHECKING:
    from onepath.estimate import Estimator
    from onepath.methods.job import Job, Trained
    from onepath.space import SearchSpace
    from onepath.train import Phase

_SHORT = 0.25  # of the epochs of a whole training
_NUM, _NUM_SMALL, _SMALL_DATA = 50, 30, 10_000


class Eas(Method):
    """Let a small network grow by function-preserving steps, each child trained on from its parent's weights."""

    name = "eas"
    space: ClassVar[str] = "eas"
    trains_supernet: ClassVar[bool] = False
    estimated: ClassVar[str] = "grown"

    num: types.Evaluated | None = option(
        None,
        "Networks trained in all; default: 30 below 10,000 training examples, else 50.",
        group="Search",
        metavar="N",
    )
    grower: Grower = option(
        "controller",
        "What decides how a network grows: controller, evolution (random children of the better of two networks) or "
        "random.",
        group="Search",
    )
    child_epochs: types.EpochsOrPart | None = option(
        None, "Epochs of each network; default: a quarter of those of a whole training.", group="Search"
    )
    child_rate: types.Share = option(
        0.4, "Learning rate of a network that has grown, as a share of that of a fresh one.", group="Search"
    )
    children: types.Parts = option(
        10, "Children of a network between two updates of the controller.", group="Search", metavar="N"
    )
    most_steps: types.Parts = option(
        2, "Largest number of options by which a width or a depth grows at once.", group="Search", metavar="N"
    )
    noise: types.Share = option(
        0.01, "Noise on the copies of channels, in proportion to the weights.", group="Search"
    )

    def check(self, space: SearchSpace) -> None:
        """See `Method.check`; the space needs sizes or depths.

        Raises:
            ConfigurationError: nothing in the space can grow.
        """
        growing_columns(space)

    def resolved(self, job: Job) -> Self:
        """See `Method.resolved`."""
        whole = job.recipe(job.settings.retrain_epochs, retrain=True).epochs
        is_small = job.task.num_examples("train") < _SMALL_DATA
        num = _NUM_SMALL if is_small else _NUM
        return super().resolved(job).filled(num=num, child_epochs=max(1, round(_SHORT * whole)))

    def phases(self, job: Job) -> Sequence[Phase]:  # noqa: ARG002
        """Return no phases: there is no supernet to train."""
        return ()

    @property
    def num_planned(self) -> int:
        """Largest number of networks that are trained in the search."""
        return self.num or 1

    def search(self, job: Job, trained: Trained) -> Search:
        """Return the growth of the smallest network, whose children are trained from their parents' weights."""
        growth = Growth(
            job.space,
            job.search_seed,
            self.num_planned,
            self.children,
            grower=self.grower,
            most_steps=self.most_steps,
        )
        return Search(growth, self.estimator(job, trained), self.num_planned, self.ties)

    def estimator(self, job: Job, trained: Trained) -> Estimator:  # noqa: ARG002
        """Return the estimator that trains each network on from its parent's weights."""
        first = job.recipe(self.child_epochs, retrain=True)
        further = dataclasses.replace(
            first,
            learning_rate=self.child_rate * first.learning_rate,
            final_rate=self.child_rate * first.final_rate,
            schedule="cosine",
        )
        return GrownEstimator(
            job.supernet,
            job.task,
            job.kept_weights("grown"),
            first=first,
            further=further,
            device=job.device,
            seed=network_seed(job.seed, 0),
            noise=self.noise,
        )


eas = function_of(Eas, "Every trained architecture, with the best; see `Found`.")
