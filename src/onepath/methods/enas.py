"""Efficient neural architecture search.

Source: Pham et al., "Efficient Neural Architecture Search via Parameter Sharing", ICML 2018 (arXiv 1802.03268),
and the released code. Shared weights are trained on paths that a controller draws, one for each batch; after each
epoch the controller takes 30 steps, each rewarded by the accuracy of 10 paths on a validation batch. At the end many
architectures are drawn from the controller, and the best one on the whole validation split is trained by itself.
Differs from them: the controller is that of `onepath.policy`, over any declared space and under hard limits; weights
are trained by the recipe for the size of the data, not by 150 epochs of cosine restarts; the prior of the released
code on separable convolutions is an option that is off.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, Self

import torch
from pydantic import Field, StrictBool

from onepath import option_types as types
from onepath.methods.functions import function_of
from onepath.methods.sampled import SampledMethod
from onepath.option_types import option
from onepath.policy import Controller, LegalPolicy, PolicyGradient
from onepath.search.policy_search import PolicySearch
from onepath.train import Phase
from onepath.train.controller_training import ControllerTraining

if TYPE_CHECKING:
    from onepath.methods.job import Job, Trained
    from onepath.search import Algorithm
    from onepath.space import Choice, SearchSpace

_BOUND, _REDUCTION = 1.1, 2.5
_PRIOR, _BONUS = 10.0, 0.25
_BASELINE_DECAY, _HIDDEN = 0.99, 100
_NUM_DERIVED, _TEXT_SCALE = 100, 80.0


class Enas(SampledMethod):
    """Train shared weights on what a controller draws, and the controller on their accuracy, in turn."""

    name = "enas"
    space: ClassVar[str] = "enas-micro"
    default_algorithm: ClassVar[str] = "policy"

    controller_steps: types.Parts = option(
        30, "Steps of the controller after each epoch of the shared weights.", metavar="N"
    )
    controller_samples: types.Parts = option(
        10, "Architectures that reward each step of the controller.", metavar="N"
    )
    controller_rate: types.Rate = option(0.0035, "Learning rate of the controller.")
    controller_entropy: types.Share = option(1e-4, "Weight of the entropy of the controller's policy.")
    reward_scale: types.Rate | None = option(
        None,
        "Factor of the score in the controller's rewards; default: 80 for perplexity, whose score is its reciprocal, "
        "else 1.",
    )
    skip_target: Annotated[float, types.Number, Field(gt=0, lt=1, allow_inf_nan=False)] = option(
        0.4, "Probability that each skip connection should have, where a choice is between none and skip."
    )
    skip_weight: types.Share = option(
        0.8, "Weight of the divergence of the skip connections' probabilities from that one."
    )
    separable_prior: StrictBool = option(
        False, "Whether the controller begins with the released code's preference for separable convolutions."
    )

    def resolved(self, job: Job) -> Self:
        """See `Method.resolved`; by default 100 architectures are drawn from the trained controller."""
        if self.population is None and self.generations is None:
            return super(Enas, self.filled(num=_NUM_DERIVED)).resolved(job)
        return super().resolved(job)

    def phases(self, job: Job) -> Sequence[Phase]:
        """Return one phase, in which weights and controller are trained in turn."""
        controller = make_controller(job.space, job.seed)
        if self.separable_prior:
            prefer_separable(controller)
        aim_at_skips(controller, self.skip_target)
        gradient = PolicyGradient(
            controller,
            learning_rate=self.controller_rate,
            entropy=self.controller_entropy,
            baseline_decay=_BASELINE_DECAY,
            target=self.skip_weight,
        )
        training = ControllerTraining(
            job.supernet,
            LegalPolicy(controller, job.loosest.is_legal, job.loosest.sample),
            gradient,
            seed=job.seed,
            num_steps=self.controller_steps,
            num_samples=self.controller_samples,
            reward_scale=self.reward_scale or (_TEXT_SCALE if job.task.metric_name == "perplexity" else 1.0),
        )
        return [Phase("shared weights", job.recipe(self.epochs), training, before=training)]

    def made_algorithm(self, job: Job, trained: Trained) -> Algorithm:
        """Return the draws from the trained controller, or another algorithm that was asked for."""
        if self.algorithm is not None:
            return super().made_algorithm(job, trained)
        training = trained.before
        assert isinstance(training, ControllerTraining), "the method trained a controller"
        return PolicySearch(training.policy.controller, job.search_seed, self.num_planned)


def make_controller(space: SearchSpace, seed: int) -> Controller:
    """Return a controller with the bounds of the released code: 1.1 for inputs, 0.44 for operations."""
    bounds = [_BOUND / _REDUCTION if _is_operation(choice) else _BOUND for choice in space.choices]
    return Controller(space, hidden=_HIDDEN, tanh_bound=bounds, seed=seed)


@torch.no_grad()
def prefer_separable(controller: Controller) -> None:
    """Let a controller begin with a preference for separable convolutions, which stays in normal cells."""
    for choice, options in zip(controller.space.choices, controller.options, strict=True):
        if not _is_operation(choice):
            continue
        sign = torch.tensor([1.0 if str(option).startswith("sep") else -1.0 for option in choice.options])
        controller.head.bias[options] = _PRIOR * (sign > 0)
        if "normal" in choice.name:
            controller.bonus[options] = _BONUS * sign


def aim_at_skips(controller: Controller, target: float) -> None:
    """Set the probability that a controller should give to each skip connection."""
    for choice, options in zip(controller.space.choices, controller.options, strict=True):
        if _is_skip(choice):
            aims = [target if option == "skip" else 1 - target for option in choice.options]
            controller.targets[options] = torch.tensor(aims)


def _is_operation(choice: Choice) -> bool:
    is_named = any(isinstance(option, str) and not option.isdecimal() for option in choice.options)
    return is_named and not _is_skip(choice)


def _is_skip(choice: Choice) -> bool:
    return set(choice.options) == {"none", "skip"}


enas = function_of(Enas, "Every evaluated architecture, with the best; see `Found`.")
