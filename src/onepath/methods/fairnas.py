"""FairNAS.

Source: Chu et al., "FairNAS: Rethinking Evaluation Fairness of Weight Sharing Neural Architecture Search" (arXiv
1907.01845). A supernet is trained with strict fairness, then NSGA-II searches its fixed weights for the front of
accuracy, multiply-accumulates (macs) and parameters, of which the most accurate architecture is the winner. Differs
from it: limits are hard; scores come from a split of the training data; the training is scaled to the size of the
data, and a short training starts from one path.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Self

from onepath.methods.functions import function_of
from onepath.methods.sampled import SampledMethod
from onepath.option_types import option
from onepath.train import Phase, Recipe, Reduction, StrictFairnessSampler, path_phases
from onepath.verdict import Ties

if TYPE_CHECKING:
    from onepath.methods.job import Job
    from onepath.space import SearchSpace


class Fairnas(SampledMethod):
    """Train all candidates of every block in every update, then search for a front; see `front_of`.

    An epoch costs as many passes over the data as a block has candidates. By default the whole training costs as many
    passes as that of `spos`.
    """

    name = "fairnas"
    default_algorithm: ClassVar[str] = "nsga2"
    ties: ClassVar[Ties] = "front"

    reduction: Reduction = option(
        "sum",
        "How the gradients of an update's paths are combined for weights that they share, such as the stem: sum or "
        "mean.",
    )

    def check(self, space: SearchSpace) -> None:
        """See `Method.check`; strict fairness needs choices that are always active.

        Raises:
            ConfigurationError: a choice of the space depends on another choice.
        """
        StrictFairnessSampler(space)

    def resolved(self, job: Job) -> Self:
        """See `Method.resolved`; the default of `epochs` is divided by the number of paths per update."""
        num_paths = StrictFairnessSampler(job.space).num_paths
        epochs = fair_recipe(job.recipe(), num_paths).epochs
        return super(Fairnas, self.filled(epochs=epochs)).resolved(job)

    def phases(self, job: Job) -> Sequence[Phase]:
        """Return phases in which the paths of each update together train all candidates of every block."""
        sampler = StrictFairnessSampler(job.space)
        recipe = job.recipe(self.epochs)
        return path_phases(job.supernet, job.task, recipe, sampler, reduction=self.reduction)


def fair_recipe(recipe: Recipe, num_paths: int) -> Recipe:
    """Return a recipe for `num_paths` paths per update that costs about as many passes as `recipe` with one path.

    Its epochs, and its warm-up with them, are divided by `num_paths`; epochs are rounded up.
    """
    epochs = math.ceil(recipe.epochs / num_paths)
    return dataclasses.replace(
        recipe, epochs=epochs, warmup_epochs=recipe.warmup_epochs * epochs / recipe.epochs
    )


fairnas = function_of(
    Fairnas, "Every evaluated architecture, with the best of the front; see `Found` and `front_of`."
)
