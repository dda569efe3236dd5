"""Neural architecture search with reinforcement learning.

Source: Zoph and Le, "Neural Architecture Search with Reinforcement Learning", ICLR 2017 (arXiv 1611.01578). An LSTM
controller proposes architectures, each of which is trained by itself, from fresh weights, at a proxy budget; its
accuracy on the validation split rewards the controller. Differs from the paper: the controller makes the
choices of any declared space, under hard limits; the reward is the accuracy; the best architecture is trained once
more, in full.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, Self

from pydantic import Field

from onepath import option_types as types
from onepath.estimate.proxy import Proxy
from onepath.methods.functions import function_of
from onepath.methods.sampled import SearchingMethod
from onepath.option_types import option
from onepath.search import Algorithm, Reinforce

if TYPE_CHECKING:
    from onepath.estimate import Estimator
    from onepath.methods.job import Job, Trained
    from onepath.train import Phase

_SHORT = 0.25  # of the epochs of a whole training
_NUM, _NUM_SMALL, _SMALL_DATA = 100, 50, 10_000


class Rl(SearchingMethod):
    """Train what a controller proposes, each network by itself, and train the controller on their accuracies."""

    name = "rl"
    trains_supernet: ClassVar[bool] = False
    estimated: ClassVar[str] = "proxy"
    default_algorithm: ClassVar[str] = "reinforce"

    proxy_epochs: types.EpochsOrPart | None = option(
        None,
        "Epochs of each network that the search trains; default: a quarter of those of a whole training.",
        group="Search",
    )
    proxy_subset: Annotated[float, types.Number, Field(gt=0, le=1, allow_inf_nan=False)] = option(
        1.0, "Share of the training examples on which the search trains networks.", group="Search"
    )
    proxy_width: types.Width = option(
        1.0,
        "Factor of the width of the networks that the search trains; needs a space that is built by its name.",
        group="Search",
    )
    proxy_resolution: types.Pixels | None = option(
        None, "Pixels of the shorter side of the images in the search; default: their own.", group="Search"
    )
    controller_batch: types.Parts = option(
        10, "Architectures that the controller proposes for each of its updates.", group="Search", metavar="N"
    )
    controller_rate: types.Rate = option(0.0035, "Learning rate of the controller.", group="Search")
    controller_entropy: types.Share = option(
        1e-4, "Weight of the entropy of the controller's policy, which keeps it random.", group="Search"
    )
    controller_temperature: types.Rate = option(
        1.0, "Temperature of the controller: above 1, its choices are more random.", group="Search"
    )
    controller_bound: types.Rate | None = option(
        None,
        "Bound of the controller's logits by a hyperbolic tangent, which keeps every option possible; default: none.",
        group="Search",
    )

    def resolved(self, job: Job) -> Self:
        """See `Method.resolved`; the search evaluates 50 architectures below 10,000 training examples, else 100."""
        whole = job.recipe(job.settings.retrain_epochs, retrain=True).epochs
        method = self.filled(proxy_epochs=max(1, round(_SHORT * whole)))
        if self.num is None and self.population is None and self.generations is None:
            is_small = job.task.num_examples("train") < _SMALL_DATA
            method = method.filled(num=_NUM_SMALL if is_small else _NUM)
        return super(Rl, method).resolved(job)

    def phases(self, job: Job) -> Sequence[Phase]:  # noqa: ARG002
        """Return no phases: there is no supernet to train."""
        return ()

    def made_algorithm(self, job: Job, trained: Trained) -> Algorithm:
        """Return the controller with its options, or another algorithm that was asked for."""
        if (self.algorithm or self.default_algorithm) != Reinforce.name:
            return super().made_algorithm(job, trained)
        return Reinforce(
            job.space,
            job.search_seed,
            self.num_planned,
            self.controller_batch,
            learning_rate=self.controller_rate,
            entropy=self.controller_entropy,
            temperature=self.controller_temperature,
            tanh_bound=self.controller_bound,
        )

    def estimator(self, job: Job, trained: Trained) -> Estimator:  # noqa: ARG002
        """Return the estimator that trains each network by itself."""
        return job.trained_alone(
            Proxy(self.proxy_epochs, self.proxy_subset, self.proxy_width, self.proxy_resolution)
        )


rl = function_of(Rl, "Every trained architecture, with the best; see `Found`.")
