"""The sandwich rule with in-place distillation.

Source: Yu et al., "BigNAS: Scaling Up Neural Architecture Search with Big Single-Stage Models", ECCV 2020 (arXiv
2003.11142). Every update trains the largest network on the labels, and random ones and the smallest on what the largest
gives; winners are used as they are, after their normalisation is recalibrated. Differs from it: the training is scaled
to the size of the data, gently where a trained model came in; gradients are clipped by value, as AttentiveNAS does.
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
from onepath.train import AttentiveSampler, Distillation, Phase, Recipe, SandwichSampler
from onepath.train.distillation import Divergence
from onepath.train.sandwich import Attention

if TYPE_CHECKING:
    from onepath.methods.job import Job
    from onepath.space import SearchSpace

CLIP_VALUE = 1.0
_TRAINED_RATE = 0.1  # of a recipe's rate, where the weights that came in are worth keeping


class Distilled(SampledMethod):
    """A supernet whose networks learn from larger ones, so that they are good as they are."""

    finish: ClassVar[Finish] = "as-is"
    default_algorithm: ClassVar[str] = "evolution"
    default_pairs: ClassVar[int] = 300

    teacher: Literal["largest", "model"] = option(
        "largest",
        "What the largest network itself learns from beside the labels: nothing more (largest), or the model that came "
        "in, as its weights were at first (model).",
    )
    divergence: Divergence = option(
        "cross-entropy", "How far two networks' scores are apart: cross-entropy, or alpha as in AlphaNet."
    )

    def check(self, space: SearchSpace) -> None:
        """There must be sizes or depths, of which one is the largest.

        Raises:
            ConfigurationError: there are none.
        """
        if not any(choice.is_ordered and choice.num_options > 1 for choice in space.choices):
            raise ConfigurationError(
                f"method {self.name} needs choices of sizes or depths, of which one is the largest, but this space has "
                "none; use spos"
            )

    def objective(self, job: Job, recipe: Recipe) -> Distillation:
        """The loss of an update's paths."""
        teacher = None
        if self.teacher == "model":
            teacher = job.supernet.extract(widest_path(job.supernet))
        return Distillation(recipe.label_smoothing, self.divergence, teacher)

    def base_recipe(self, job: Job) -> Recipe:
        """As long as that of other methods in passes of a network over the data, without a start from one path."""
        recipe = dataclasses.replace(job.recipe(self.epochs), one_path=0.0, clip_value=CLIP_VALUE)
        if job.supernet.conversion is None or job.settings.learning_rate is not None:
            return recipe
        return dataclasses.replace(recipe, learning_rate=recipe.learning_rate * _TRAINED_RATE)


class Sandwich(Distilled):
    """Train the largest, the smallest and random networks in every update, then search them as they are."""

    name = "sandwich"

    num_random: types.Parts = option(2, "Random networks of an update, beside the largest and the smallest.")
    attention: Attention | None = option(
        None,
        "Which random networks an update trains: the best of three of about equal multiply-accumulates by their loss "
        "on the batch (best-up), or the worst (worst-up); default: any.",
    )

    def resolved(self, job: Job) -> Self:
        """Also the length: an epoch trains several networks."""
        epochs = math.ceil(job.recipe().epochs / (self.num_random + 2))
        return super(Sandwich, self.filled(epochs=epochs)).resolved(job)

    def phases(self, job: Job) -> Sequence[Phase]:
        """One sandwich an update."""
        recipe = self.base_recipe(job)
        sampler = SandwichSampler(job.space, self.num_random)
        if self.attention is not None:
            sampler = AttentiveSampler(
                job.space, job.task, self.attention, self.num_random, costs=job.counter("macs")
            )
        return [Phase("sandwich", recipe, sampler, objective=self.objective(job, recipe))]


sandwich = function_of(Sandwich, "Every evaluated architecture, with the best; see `Found`.")
