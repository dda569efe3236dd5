"""One-shot search with path dropout.

Source: Bender et al., "Understanding and Simplifying One-Shot Architecture Search", ICML 2018. All candidates of a
block are trained together. Some candidates are dropped at random, and more of them as the training goes on. Then random
architectures are scored with the fixed weights. Differs from it: limits are hard; normalisation is recalibrated for
each architecture; a block whose candidates are all dropped keeps one; the training is scaled to the size of the data.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from onepath import option_types as types
from onepath.methods.functions import function_of
from onepath.methods.sampled import SampledMethod
from onepath.option_types import option
from onepath.train import PathDropoutSampler, Phase

if TYPE_CHECKING:
    from onepath.methods.job import Job
    from onepath.space import SearchSpace


class OneShot(SampledMethod):
    """Train all candidates together with path dropout, then score random architectures."""

    name = "one-shot"
    adds_candidates: ClassVar[bool] = True
    default_algorithm: ClassVar[str] = "random"

    rate: types.Share = option(
        0.1, "Probability, at the end of the training, that all candidates of a block are dropped."
    )
    num_ghost_batches: types.Parts = option(
        1, "Number of parts of each batch that have paths of their own.", metavar="N"
    )

    def check(self, space: SearchSpace) -> None:
        """See `Method.check`; no size may depend on a choice block.

        Raises:
            ConfigurationError: a size depends on a choice block.
        """
        PathDropoutSampler(space, num_updates=1)

    def phases(self, job: Job) -> Sequence[Phase]:
        """Return one phase of sums of candidates, from the first update on.

        A start from one path would train weights of another scale.
        """
        recipe = dataclasses.replace(job.recipe(self.epochs), one_path=0.0)
        sampler = PathDropoutSampler(
            job.space, job.num_updates(recipe), rate=self.rate, num_ghost_batches=self.num_ghost_batches
        )
        return [Phase("supernet", recipe, sampler)]


one_shot = function_of(OneShot, "Every evaluated architecture, with the best; see `Found`.")
