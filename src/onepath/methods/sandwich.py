"""The sandwich rule with in-place distillation.

Source: Yu et al., "BigNAS: Scaling Up Neural Architecture Search with Big Single-Stage Models", ECCV 2020 (arXiv
2003.11142). Every update trains the largest network on the labels, and random networks and the smallest one on the
outputs of the largest. Winners use the supernet's weights as they are, after their normalisation is recalibrated.
Differs from it: the training is scaled to the size of the data, with a lower learning rate if a trained model was
given; otherwise the gradients of an update's networks are averaged and not added, since SGD at the rate of one network
would move what they share four times as far; gradients are clipped by value, as AttentiveNAS does.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from onepath import option_types as types
from onepath.errors import ConfigurationError
from onepath.methods.functions import function_of
from onepath.methods.method import Finish
from onepath.methods.sampled import SampledMethod
from onepath.nn.alignment import widest_path
from onepath.option_types import option
from onepath.train import AttentiveSampler, Distillation, Phase, Recipe, Reduction, SandwichSampler
from onepath.train.distillation import Divergence
from onepath.train.sandwich import Attention

if TYPE_CHECKING:
    from onepath.methods.job import Job
    from onepath.space import SearchSpace

CLIP_VALUE = 1.0
TRAINED_RATE = 0.1  # factor on a recipe's learning rate, to keep what a trained model has learned


class Distilled(SampledMethod):
    """A method whose networks learn from larger ones in the supernet; winners keep the supernet's weights."""

    finish: ClassVar[Finish] = "as-is"
    default_algorithm: ClassVar[str] = "evolution"
    default_pairs: ClassVar[int] = 300

    teacher: Literal["largest", "model"] = option(
        "largest",
        "What the largest network learns from: the labels alone (largest), or also the given model with its original "
        "weights (model).",
    )
    divergence: Divergence = option(
        "cross-entropy",
        "How the distance between two networks' outputs is measured: cross-entropy, or alpha as in AlphaNet.",
    )

    def check(self, space: SearchSpace) -> None:
        """Raise unless the space has choices of sizes or depths, so that one of its networks is the largest.

        Raises:
            ConfigurationError: the space has none.
        """
        if not any(choice.is_ordered and choice.num_options > 1 for choice in space.choices):
            raise ConfigurationError(
                f"method {self.name} needs choices of sizes or depths, of which one is the largest, but this space has "
                "none; use spos"
            )

    def objective(self, job: Job, recipe: Recipe) -> Distillation:
        """Return the loss of the paths of an update.

        Args:
            job: gives the supernet, whose largest network at present is copied as the teacher if `teacher` is "model".
            recipe: gives the label smoothing.
        """
        teacher = None
        if self.teacher == "model":
            teacher = job.supernet.extract(widest_path(job.supernet))
        return Distillation(recipe.label_smoothing, self.divergence, teacher)

    def base_recipe(self, job: Job) -> Recipe:
        """Return the job's recipe for `epochs`, with clipped gradients and without an initial training of one path.

        If the supernet is a converted model and the user gave no learning rate, the rate is a tenth of the recipe's.
        """
        recipe = dataclasses.replace(job.recipe(self.epochs), one_path=0.0, clip_value=CLIP_VALUE)
        if job.supernet.conversion is None or job.settings.learning_rate is not None:
            return recipe
        return dataclasses.replace(recipe, learning_rate=recipe.learning_rate * TRAINED_RATE)


class Sandwich(Distilled):
    """Train the largest, the smallest and random networks in every update; winners keep the supernet's weights."""

    name = "sandwich"

    num_random: types.Parts = option(2, "Random networks per update, besides the largest and the smallest.")
    attention: Attention | None = option(
        None,
        "How the random networks of an update are chosen: as the best (best-up) or the worst (worst-up) of three with "
        "about equal multiply-accumulates by their loss on the batch; default: without a comparison.",
    )

    def resolved(self, job: Job) -> Self:
        """Return the method with its defaults for the job filled in.

        The default of `epochs` is that of other methods divided by the number of networks per update, rounded up.
        """
        epochs = math.ceil(job.recipe().epochs / (self.num_random + 2))
        return super(Sandwich, self.filled(epochs=epochs)).resolved(job)

    def phases(self, job: Job) -> Sequence[Phase]:
        """Return the single phase, in which every update trains a sandwich of networks."""
        recipe = self.base_recipe(job)
        sampler = SandwichSampler(job.space, self.num_random)
        if self.attention is not None:
            sampler = AttentiveSampler(
                job.space, job.task, self.attention, self.num_random, costs=job.counter("macs")
            )
        # With the sum, the largest network of a new space ends 2 points lower; a trained model has a low rate anyway.
        reduction: Reduction = "mean" if job.supernet.conversion is None else "sum"
        return [
            Phase("sandwich", recipe, sampler, objective=self.objective(job, recipe), reduction=reduction)
        ]


sandwich = function_of(Sandwich, "Every evaluated architecture, with the best; see `Found`.")
