"""FairNAS.

Source: Chu et al., "FairNAS: Rethinking Evaluation Fairness of Weight Sharing Neural Architecture Search" (arXiv
1907.01845). A supernet is trained with strict fairness, then NSGA-II searches its fixed weights for the front of
accuracy, multiply-accumulates and parameters, of which the most accurate architecture is the winner. Differs from it:
limits are hard; scores come from a split of the training data; the training is scaled to the size of the data, and
short ones start from one path.
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

    An epoch costs as many passes over the data as a block has candidates; the default length is as many passes in all
    as that of `spos`.
    """

    name = "fairnas"
    default_algorithm: ClassVar[str] = "nsga2"
    ties: ClassVar[Ties] = "front"

    reduction: Reduction = option(
        "sum",
        "How gradients of what the paths of an update share, such as the stem, are joined: sum or mean.",
    )

    def check(self, space: SearchSpace) -> None:
        """Strict fairness needs choices that are always active."""
        StrictFairnessSampler(space)

    def resolved(self, job: Job) -> Self:
        """Also the length, by the number of paths of an update."""
        num_paths = StrictFairnessSampler(job.space).num_paths
        epochs = fair_recipe(job.recipe(), num_paths).epochs
        return super(Fairnas, self.filled(epochs=epochs)).resolved(job)

    def phases(self, job: Job) -> Sequence[Phase]:
        """As many paths an update as a block has candidates, which they share out."""
        sampler = StrictFairnessSampler(job.space)
        recipe = job.recipe(self.epochs)
        return path_phases(job.supernet, job.task, recipe, sampler, reduction=self.reduction)


def fair_recipe(recipe: Recipe, num_paths: int) -> Recipe:
    """A recipe for `num_paths` paths per update that costs about as many passes as `recipe` with one."""
    epochs = math.ceil(recipe.epochs / num_paths)
    return dataclasses.replace(
        recipe, epochs=epochs, warmup_epochs=recipe.warmup_epochs * epochs / recipe.epochs
    )


fairnas = function_of(
    Fairnas, "Every evaluated architecture, with the best of the front; see `Found` and `front_of`."
)
