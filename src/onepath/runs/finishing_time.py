"""What it takes to finish the networks of a run: seconds of an epoch, and of what surrounds a training."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from onepath.methods.finishing import (
    finish_network,
    finishing_objective,
    given_model,
    initial_network,
    starts_of,
)
from onepath.search.halving import longest
from onepath.train.timing import update_seconds

if TYPE_CHECKING:
    from onepath.runs.opened import Run
    from onepath.space import Architecture
    from onepath.train import Recipe

_TIMED_SHARE, _LEAST_TIMED, _MOST_TIMED = 0.005, 1.0, 8.0


@dataclass(frozen=True)
class Finishing:
    """What it takes to finish the networks of a run.

    Attributes:
        epoch: seconds of an epoch of one network.
        passes: trainings one after another, in trainings of one network; with several workers those of the busiest.
        part: seconds of everything beside the updates each time a training begins or continues: the network is built,
            its normalisation recalibrated, its weights stored, and it is scored on the validation split.
        num_parts: how often a training begins or continues.
        test: seconds of the scores on the test set.
    """

    epoch: float
    passes: float
    part: float
    num_parts: int
    test: float

    def seconds(self, epochs: float) -> float:
        """Return the seconds that it takes to train the networks for so many epochs."""
        return epochs * self.epoch * self.passes + self.fixed

    @property
    def fixed(self) -> float:
        """Seconds that do not grow with the number of epochs."""
        return self.part * self.num_parts + self.test

    def epochs(self, seconds: float) -> float:
        """Return the number of epochs for which so many seconds are enough."""
        return (seconds - self.fixed) / (self.epoch * self.passes)


def played(run: Run, finish: Finishing, num_finalists: int) -> Finishing:
    """Return what it takes with another number of finalists."""
    config = run.config
    others = (config.finish == "both") + config.num_baselines
    workers = (config.workers or 1) if run.is_loadable else 1
    passes, parts = longest(num_finalists, config.finish or "", others, workers)
    return replace(finish, passes=passes, num_parts=parts)


def finishing(run: Run, architectures: Sequence[Architecture], num_finalists: int) -> Finishing | None:
    """Return what it takes to finish the networks of a run; None if nothing is trained.

    Args:
        run: the run.
        architectures: networks that are timed, for the mean of all.
        num_finalists: number of networks among which the finals choose.
    """
    config, task = run.config, run.task
    start, *others = starts_of(config.finish)
    recipe, whole = run.finishing_recipe(start), run.finishing_recipe("scratch")
    if recipe is None:
        return None
    assert whole is not None, "a training from scratch has a recipe"
    times = [_network_seconds(run, architecture, recipe) for architecture in architectures]
    update, part, scored = (sum(values) / len(times) for values in zip(*times, strict=True))
    share = task.num_examples("test") / max(1, task.num_examples("validation"))
    tests = 1 + len(others) + config.num_baselines
    epoch = update * task.updates_per_epoch(recipe.batch_size) * recipe.epochs / whole.epochs
    return played(run, Finishing(epoch, 1.0, part + scored, 1, scored * share * tests), num_finalists)


def _network_seconds(run: Run, architecture: Architecture, recipe: Recipe) -> tuple[float, float, float]:
    """Return the seconds of a network's update, of what surrounds its training, and of its validation."""
    from onepath.train import evaluate

    config, task = run.config, run.task
    began = time.perf_counter()
    model = initial_network(run.blank, architecture, "scratch", config.seed)
    built = time.perf_counter() - began
    finish = partial(
        finish_network,
        model,
        task,
        seed=config.seed,
        device=config.train_on,
        calibration_images=config.calibration_images,
    )
    objective = finishing_objective(given_model(config.finish_teacher, run.blank), recipe)
    assert config.budget is not None, "there is a budget"
    times = update_seconds(
        lambda on_update: finish(recipe, objective=objective, on_update=on_update),
        timed_seconds(config.budget),
    )
    began = time.perf_counter()
    evaluate(model, task, "validation", device=config.train_on, precision=config.precision)
    scored = time.perf_counter() - began
    began = time.perf_counter()
    finish(None)
    return times.each, built + times.start + time.perf_counter() - began, scored


def timed_seconds(budget: float) -> float:
    """Return the seconds for which updates are timed."""
    return min(max(_TIMED_SHARE * budget, _LEAST_TIMED), _MOST_TIMED)
