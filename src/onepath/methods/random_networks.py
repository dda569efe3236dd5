"""Stand-alone training of random architectures under the limits, without a search.

This is the baseline that a search must beat at an equal budget: the number of networks asked for is trained from
scratch, and the best one on the validation split wins.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from onepath import option_types as types
from onepath.estimate import StandaloneEstimator
from onepath.methods.functions import function_of
from onepath.methods.sampled import SearchingMethod
from onepath.option_types import option

if TYPE_CHECKING:
    from onepath.estimate import Estimator
    from onepath.methods.job import Job, Trained
    from onepath.train import Phase


class RandomNetworks(SearchingMethod):
    """Train random architectures by themselves, without a supernet, and take the best on the validation split."""

    name = "random"
    trains_supernet: ClassVar[bool] = False
    default_algorithm: ClassVar[str] = "random"

    population: types.Population | None = option(4, "Architectures per generation.", group="Search")
    generations: types.Generations | None = option(0, "Generations after the first.", group="Search")

    def phases(self, job: Job) -> Sequence[Phase]:  # noqa: ARG002
        """Return no phases: there is no supernet to train."""
        return ()

    def estimator(self, job: Job, trained: Trained) -> Estimator:  # noqa: ARG002
        """Return the estimator of stand-alone accuracy; it trains with the recipe that finishes a winner."""
        recipe = job.recipe(job.settings.retrain_epochs, retrain=True)
        return StandaloneEstimator(job.supernet, job.task, recipe=recipe, device=job.device, seed=job.seed)


random_networks = function_of(RandomNetworks, "Every trained architecture, with the best; see `Found`.")
