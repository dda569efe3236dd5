"""A job: the supernet, the data, the limits and the settings that a method works on."""

from __future__ import annotations

import dataclasses
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from pydantic import BaseModel, ConfigDict, StrictBool

from onepath import option_types as types
from onepath.data import Task
from onepath.errors import ConfigurationError
from onepath.estimate import (
    AccuracyPredictor,
    ScoreEstimator,
    StandaloneEstimator,
    SupernetEstimator,
    score_definitions,
    spread,
)
from onepath.estimate.grown import WeightStore
from onepath.estimate.proxy import Proxy
from onepath.methods.finishing import (
    Teacher,
    check_teacher,
    finish_network,
    finishing_objective,
    finishing_recipe,
    initial_network,
    network_seed,
)
from onepath.nn import Supernet
from onepath.option_types import option
from onepath.randomness import generator
from onepath.record.kept_weights import MemoryWeights
from onepath.train import Recipe
from onepath.train.checks import check_fresh, check_supernet
from onepath.train.recipe import Precision
from onepath.train.training import num_updates

if TYPE_CHECKING:
    from torch import nn

    from onepath.counting import CostTable
    from onepath.estimate import Estimate, Estimator
    from onepath.methods.method import Method
    from onepath.methods.supernet_search import Found, Search
    from onepath.search import FeasibleSet
    from onepath.search.feasible import Costs
    from onepath.space import Architecture, SearchSpace
    from onepath.train import BeforeUpdate, Phase, TrainingPoint

# The first is that of the released code of Zen-NAS, the second that of the papers of scores that read data.
RANDOM_BATCH, DATA_BATCH = 16, 64
_NUM_REFERENCE = 32
_AIMED_FIRST = ("ms", "macs")


class Settings(BaseModel):
    """How networks are trained and scored with any method: options of a run and of a Python function."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    batch_size: types.BatchSize | None = option(
        None, "Examples per update; default: by the size of the data."
    )
    learning_rate: types.Rate | None = option(
        None, "Peak learning rate of the schedule; default: by the size of the data."
    )
    retrain_epochs: types.EpochsOrPart | None = option(
        None,
        "Epochs of each stand-alone training, of which the last may be a part; default: by the size of the data.",
    )
    precision: Precision = option("float32", "Precision of forward passes: float32 or bfloat16.")
    compile: StrictBool = option(False, "Whether candidate blocks are compiled.")
    calibration_images: types.Images = option(
        2000, "Training examples on which a candidate's normalisation is recalibrated.", group="Search"
    )
    validation_images: types.Images | None = option(
        None, "Validation examples on which a candidate is scored; default: all.", group="Search"
    )
    finish_teacher: Teacher | None = option(
        None,
        "What networks learn from while they are finished: the labels alone (labels), or also the outputs of the given "
        "model with its original weights (model); default: the method's, mostly labels.",
        group="Finishing",
    )
    seed: types.Seed = option(0, "Seed of every random draw.")


@dataclass(frozen=True)
class Trained:
    """The result of a method's training.

    Attributes:
        supernet: the supernet with its trained weights; unchanged if the method trains none.
        phases: the phases of the training; empty if nothing was trained.
        curve: curve of the whole training.
    """

    supernet: Supernet
    phases: tuple[Phase, ...] = ()
    curve: tuple[TrainingPoint, ...] = ()

    @property
    def before(self) -> BeforeUpdate:
        """The `before` of the last phase, such as the training of architecture parameters; there must be one."""
        found = self.phases[-1].before
        assert found is not None, "the method trains something beside the weights"
        return found


class Job(ABC):
    """The supernet, the data and the limits of a method, and the way in which its training and search are run.

    A method uses this interface alone. `MemoryJob` works in memory; the job of a run directory saves, resumes and
    reports.

    Attributes:
        supernet: the supernet whose space is searched.
        task: the data.
        settings: how networks are trained and scored.
        device: torch device on which networks are trained and scored.
    """

    supernet: Supernet
    task: Task
    settings: Settings
    device: str | torch.device

    @property
    def space(self) -> SearchSpace:
        """The search space."""
        return self.supernet.space

    @property
    def space_name(self) -> str:
        """Name of the space in messages."""
        return type(self.supernet.module).__name__

    @property
    def seed(self) -> int:
        """Seed of every random draw."""
        return self.settings.seed

    @property
    @abstractmethod
    def given_model(self) -> nn.Module | None:
        """The model with its original weights if networks learn from it while they are finished, else None."""

    @property
    @abstractmethod
    def search_seed(self) -> int:
        """Seed of the search; a search that is repeated under a tightened limit has another seed."""

    @property
    @abstractmethod
    def feasible(self) -> FeasibleSet:
        """The architectures that the search may propose."""

    @property
    @abstractmethod
    def loosest(self) -> FeasibleSet:
        """The architectures that meet the loosest limits for which the supernet is trained."""

    @abstractmethod
    def counter(self, name: str) -> Costs:
        """Return a cost by its name: a function from a matrix of architectures to a vector of costs.

        Args:
            name: name of a cost, such as "macs" or "params".
        """

    @abstractmethod
    def scorer(self, name: str, num_examples: int | None = None, *, total: int = 0) -> Estimator:
        """Return an estimator that scores stand-alone networks of the space without training.

        Args:
            name: name of the score, one of `onepath score`.
            num_examples: number of examples in the batch of the score; None takes 16 for scores that read no data, 64
                for others.
            total: number of networks that will be scored; a job may divide the work among processes by it.
        """

    def kept_weights(self, purpose: str) -> WeightStore:  # noqa: ARG002
        """Return a store of the weights of networks, which in a run directory outlasts the process.

        Args:
            purpose: one word; each purpose has a store of its own.
        """
        return MemoryWeights()

    def trained_alone(self, proxy: Proxy) -> Estimator:
        """Return an estimator that trains each architecture by itself, from fresh weights.

        Args:
            proxy: what the trainings are cut down by.

        Raises:
            ConfigurationError: the networks of the job cannot be made narrower, or the data cannot be cut down.
        """
        if proxy.width != 1:
            raise ConfigurationError(
                f"another width needs a space that a run builds by its name, but a supernet came with the width "
                f"{proxy.width:g}; leave the width out"
            )
        return standalone_estimator(self.supernet, self.task, proxy, self.settings, self.device)

    @abstractmethod
    def ranked(self, name: str) -> Callable[[Architecture], float]:
        """Return a score without training as a function from an architecture to a number; higher is better.

        Args:
            name: name of the score, one of `onepath score`.
        """

    @abstractmethod
    def train(self, method: Method) -> Trained:
        """Run the method's training, and return its result; of `num_trainings` trainings, return the best.

        Every training begins with the initial weights, and has another seed. The best training is the one whose first
        proposed architecture has the highest inherited accuracy; of equal ones, the one with the lower loss, then the
        first one.
        """

    @abstractmethod
    def search(self, search: Search) -> Found:
        """Run a search to its end, and return all evaluated architectures."""

    def recipe(
        self, epochs: float | None = None, *, retrain: bool = False, given: Recipe | None = None
    ) -> Recipe:
        """Return the recipe of weights: scaled to the size of the data, or a given one, with the job's settings.

        Args:
            epochs: replaces the epochs of the scaling rule, or of `given`; None keeps them.
            retrain: True for a stand-alone training, False for a supernet's; not used with `given`.
            given: a recipe in place of the scaled one; only its epochs and its batch size follow the job.
        """
        settings = self.settings
        if given is not None:
            return dataclasses.replace(
                given, epochs=epochs or given.epochs, batch_size=settings.batch_size or given.batch_size
            )
        return scaled_recipe(settings, self.task, epochs, retrain=retrain)

    def num_updates(self, recipe: Recipe) -> int:
        """Return the number of updates of a whole training by a recipe."""
        return num_updates(self.task, recipe)

    def aims(self) -> dict[str, float]:
        """Return unit -> limit, for the limits whose costs are additive over the choices.

        Units are in lower case; milliseconds come first, then macs.
        """
        found = {
            limit.unit.lower(): float(limit.maximum)
            for limit in self.loosest.limits
            if limit.table is not None
        }
        return dict(sorted(found.items(), key=lambda item: (*_AIMED_FIRST, item[0]).index(item[0])))

    def aimed(self, unit: str) -> CostTable:
        """Return the additive cost table of a limit by its unit, one of those of `aims`."""
        tables = (limit.table for limit in self.loosest.limits if limit.unit.lower() == unit)
        return next(table for table in tables if table is not None)

    def inherited(self, trained: Trained) -> SupernetEstimator:
        """Return the estimator of inherited accuracy: accuracy with the weights of a trained supernet."""
        settings = self.settings
        return SupernetEstimator(
            trained.supernet,
            self.task,
            calibration_images=settings.calibration_images,
            validation_images=settings.validation_images,
            device=self.device,
            seed=self.seed,
            precision=settings.precision,
        )

    @abstractmethod
    def evaluated(self, trained: Trained, architectures: Sequence[Architecture]) -> list[Estimate]:
        """Return the estimate of inherited accuracy of each architecture, whether it meets the limits or not."""

    def accuracy_predictor(self, trained: Trained, num: int) -> AccuracyPredictor:
        """Return a predictor that has learned inherited accuracy from architectures of the whole space.

        The architectures depend on the seed of the job alone, so that a search under other limits uses the same ones.

        Args:
            trained: the result of the training.
            num: number of architectures from which the predictor learns.
        """
        architectures = self.space.architectures(spread(self.space, num, generator(self.seed, "pairs")))
        accuracies = [estimate.accuracy for estimate in self.evaluated(trained, architectures)]
        return AccuracyPredictor.fit(architectures, accuracies, seed=self.seed)

    def finished(self, architecture: Architecture, start: str = "scratch") -> nn.Module:
        """Return the finished stand-alone network of an architecture, in eval mode.

        Args:
            architecture: an architecture of the space.
            start: how the network is finished: "scratch", "inherited", "fine-tuned" or "as-is", see `Finish`. A
                method's `finish` says how its winner is finished.
        """
        seed = network_seed(self.seed, 0)
        model = initial_network(self.supernet, architecture, start, seed)
        recipe = finishing_recipe(self.recipe(self.settings.retrain_epochs, retrain=True), start)
        num = self.settings.calibration_images
        finish_network(
            model,
            self.task,
            recipe,
            seed=seed,
            device=self.device,
            calibration_images=num,
            objective=finishing_objective(self.given_model, recipe),
        )
        return model.eval()

    def prepare(self, method: Method) -> None:
        """Raise now for every known mistake that would otherwise end the job after the training.

        Raises:
            BindingError: the network takes other than one input, or a module cannot initialise its own parameters.
            ConfigurationError: the method trains a supernet and the space has none, or the method cannot search the
                space.
            InfeasibleError: no architecture meets the limits.
            ShapeError: shapes do not fit, see `check_supernet`.
        """
        if not method.trains_supernet:
            check_fresh(self.supernet)
        elif not self.supernet.shares_weights:
            raise ConfigurationError(
                f"method {method.name} needs a space with a supernet, but {self.space_name} has none; use method zen, "
                "or another space"
            )
        method.check(self.space)
        method.weights(self.supernet, self.task.input_shape, self.seed)
        check_supernet(self.supernet, self.task, adds=method.adds_candidates)
        if self.settings.finish_teacher == "model":
            check_teacher(self.supernet, self.task)
        self.loosest.sample(1, generator(self.seed, "feasible"))


def judged(method: Method, job: Job, trained: Trained) -> tuple[Architecture, Estimate]:
    """Return the first architecture that a method proposes, and its estimate of inherited accuracy.

    The trainings of several seeds are compared by this estimate.
    """
    (proposal, *_) = method.search(job, trained).algorithm.ask(job.feasible)
    return proposal.architecture, job.inherited(trained).estimate(proposal.architecture)


def standard_scorer(job: Job, name: str, num_examples: int | None) -> ScoreEstimator:
    """Return an estimator that scores a job's stand-alone networks in this process; see `Job.scorer`."""
    definitions = score_definitions(name)
    reads_data = any(definition.reads_data for definition in definitions)
    reference = None
    if len(definitions) > 1:
        reference = job.space.architectures(
            job.loosest.sample(_NUM_REFERENCE, generator(job.seed, "score reference"))
        )
    return ScoreEstimator(
        name,
        job.supernet,
        job.task,
        batch_size=num_examples or (DATA_BATCH if reads_data else RANDOM_BATCH),
        device=job.device,
        # One thread gives the same score as several processes, and small networks gain nothing from a second thread.
        num_threads=None if reads_data else 1,
        seed=job.seed,
        reference=reference or (),
    )


def standalone_estimator(
    supernet: Supernet, task: Task, proxy: Proxy, settings: Settings, device: str | torch.device
) -> StandaloneEstimator:
    """Return an estimator that trains networks in this process; see `Job.trained_alone`.

    Args:
        supernet: builds the networks, at the width of the proxy.
        task: the whole data.
        proxy: what the trainings are cut down by.
        settings: how networks are trained.
        device: torch device of the trainings.
    """
    task = proxy.task(task, settings.seed)
    recipe = scaled_recipe(settings, task, proxy.epochs or settings.retrain_epochs, retrain=True)
    return StandaloneEstimator(
        supernet, task, recipe=recipe, device=device, seed=network_seed(settings.seed, 0)
    )


def scaled_recipe(settings: Settings, task: Task, epochs: float | None, *, retrain: bool) -> Recipe:
    """Return the recipe of `Recipe.for_task`, with batch size, learning rate and precision of the settings.

    If the settings give a batch size alone, the learning rate is scaled by the square root of the ratio of batch sizes.

    Args:
        settings: batch size and learning rate that are None keep the values of the scaling rule.
        task: the data.
        epochs: replaces the epochs of the scaling rule; None keeps them.
        retrain: True for a stand-alone training, False for a supernet's.
    """
    recipe = Recipe.for_task(task, retrain=retrain, epochs=epochs)
    batch_size = settings.batch_size or recipe.batch_size
    # The square root of the batch size is between no scaling and the linear rule.
    rate = settings.learning_rate or recipe.learning_rate * math.sqrt(batch_size / recipe.batch_size)
    return dataclasses.replace(
        recipe, batch_size=batch_size, learning_rate=rate, precision=settings.precision
    )
