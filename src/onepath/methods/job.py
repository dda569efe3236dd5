"""A job: the supernet, the data, the limits and the settings that a method works on."""

from __future__ import annotations

import dataclasses
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from pydantic import BaseModel, ConfigDict, StrictBool

from onepath import option_types as types
from onepath.data import Task
from onepath.errors import ConfigurationError
from onepath.estimate import (
    AccuracyPredictor,
    ScoreEstimator,
    SupernetEstimator,
    recalibrate_on_task,
    score_definition,
    spread,
)
from onepath.nn import Supernet
from onepath.option_types import option
from onepath.randomness import generator
from onepath.train import Recipe, train_model
from onepath.train.checks import check_fresh, check_supernet
from onepath.train.recipe import Precision

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

# As in the released code of Zen-NAS; and as the papers of scores that read data.
RANDOM_BATCH, DATA_BATCH = 16, 64
_FINE_TUNED_EPOCHS, _FINE_TUNED_RATE = 0.25, 0.1
_AIMED_FIRST = ("ms", "macs")


class Settings(BaseModel):
    """How networks are trained and scored, whatever the method; the options of a run and of a Python function."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    batch_size: types.BatchSize | None = option(
        None, "Examples per update; default: by the size of the data."
    )
    learning_rate: types.Rate | None = option(
        None, "Peak learning rate of the schedule; default: by the size of the data."
    )
    retrain_epochs: types.Epochs | None = option(
        None, "Epochs of each stand-alone training; default: by the size of the data."
    )
    precision: Precision = option("float32", "Precision of forward passes: float32 or bfloat16.")
    compile: StrictBool = option(False, "Whether candidate blocks are compiled.")
    calibration_images: types.Images = option(
        2000, "Training examples that recompute a candidate's normalisation.", group="Search"
    )
    validation_images: types.Images | None = option(
        None, "Validation examples that score a candidate; default: all.", group="Search"
    )
    seed: types.Seed = option(0, "Seed of everything that is drawn.")


@dataclass(frozen=True)
class Trained:
    """What a method's phases have made.

    Attributes:
        supernet: with its trained weights; of a method that trains none, as it came.
        phases: that trained it.
        curve: of the whole training.
    """

    supernet: Supernet
    phases: tuple[Phase, ...] = ()
    curve: tuple[TrainingPoint, ...] = ()

    @property
    def before(self) -> BeforeUpdate:
        """What the last phase trains beside the weights, such as architecture parameters."""
        found = self.phases[-1].before
        assert found is not None, "the method trains something beside the weights"
        return found


class Job(ABC):
    """What a method works on: what it may ask, and where its training and its search are carried out.

    A method asks and never learns who answers. `MemoryJob` keeps nothing; the job of a run directory stores, resumes
    and reports.

    Attributes:
        supernet: as it was made; its space is searched.
        task: the data.
        settings: how networks are trained and scored.
        device: where, a device of torch.
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
        """What messages call the space."""
        return type(self.supernet.module).__name__

    @property
    def seed(self) -> int:
        """Of everything that is drawn."""
        return self.settings.seed

    @property
    @abstractmethod
    def search_seed(self) -> int:
        """Of the search; one that follows another under a tightened limit draws differently."""

    @property
    @abstractmethod
    def feasible(self) -> FeasibleSet:
        """What the search may propose."""

    @property
    @abstractmethod
    def loosest(self) -> FeasibleSet:
        """What meets the loosest of the limits that one supernet is trained for."""

    @abstractmethod
    def counter(self, name: str) -> Costs:
        """A cost of architectures by its name: matrix of architectures -> vector."""

    @abstractmethod
    def scorer(self, name: str, num_examples: int | None = None, *, total: int = 0) -> Estimator:
        """A score without training, for the stand-alone networks of the space.

        Args:
            name: of the score.
            num_examples: in its batch; None takes 16 for scores that read no data, else 64.
            total: networks that will be scored, by which a job may share the work.
        """

    @abstractmethod
    def ranked(self, name: str) -> Callable[[Architecture], float]:
        """A score without training as a function of the architecture; higher is better."""

    @abstractmethod
    def train(self, method: Method) -> Trained:
        """Train what the method says; of several trainings, the best.

        Every training begins with initial weights. The seed is taken whose first proposed architecture has the highest
        inherited accuracy, of equal ones that of less loss, of equal ones the first.
        """

    @abstractmethod
    def search(self, search: Search) -> Found:
        """Drive a search to its end."""

    def recipe(
        self, epochs: int | None = None, *, retrain: bool = False, given: Recipe | None = None
    ) -> Recipe:
        """How weights are trained: scaled to the data, or as given, with the settings of the job.

        Args:
            epochs: instead of the rule's.
            retrain: whether a network is trained by itself.
            given: in place of the rule; only its epochs and batch size follow the job.
        """
        settings = self.settings
        if given is not None:
            return dataclasses.replace(
                given, epochs=epochs or given.epochs, batch_size=settings.batch_size or given.batch_size
            )
        return scaled_recipe(settings, self.task, epochs, retrain=retrain)

    def num_updates(self, recipe: Recipe) -> int:
        """Of a whole training."""
        return recipe.epochs * self.task.updates_per_epoch(recipe.batch_size)

    def aims(self) -> dict[str, float]:
        """Unit -> limit, for the limits whose costs add up over the choices; milliseconds first, then MACs."""
        found = {
            limit.unit.lower(): float(limit.maximum)
            for limit in self.loosest.limits
            if limit.table is not None
        }
        return dict(sorted(found.items(), key=lambda item: (*_AIMED_FIRST, item[0]).index(item[0])))

    def aimed(self, unit: str) -> CostTable:
        """The additive cost of a limit, by its unit."""
        tables = (limit.table for limit in self.loosest.limits if limit.unit.lower() == unit)
        return next(table for table in tables if table is not None)

    def inherited(self, trained: Trained) -> SupernetEstimator:
        """Accuracy with the weights of a trained supernet."""
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
    def accuracies(self, trained: Trained, architectures: Sequence[Architecture]) -> list[float]:
        """Inherited accuracy of each, whether it meets the limits or not."""

    def accuracy_predictor(self, trained: Trained, num: int) -> AccuracyPredictor:
        """What predicts inherited accuracy, from as many architectures of the whole space.

        They depend on the seed of the job alone, so that a search under other limits learns from the same.
        """
        architectures = self.space.architectures(spread(self.space, num, generator(self.seed, "pairs")))
        return AccuracyPredictor.fit(architectures, self.accuracies(trained, architectures), seed=self.seed)

    def finished(self, architecture: Architecture, start: str = "scratch") -> nn.Module:
        """The stand-alone network of an architecture, in eval mode.

        Args:
            architecture: of the space.
            start: how it is finished, see `Finish`; what a method's winner is finished by is its `finish`.
        """
        seed = network_seed(self.seed, 0)
        model = initial_network(self.supernet, architecture, start, seed)
        recipe = finishing_recipe(self.recipe(self.settings.retrain_epochs, retrain=True), start)
        num = self.settings.calibration_images
        finish_network(model, self.task, recipe, seed=seed, device=self.device, calibration_images=num)
        return model.eval()

    def prepare(self, method: Method) -> None:
        """Find now what would otherwise end the job after the training.

        Raises:
            BindingError: a module cannot initialise its own parameters.
            ConfigurationError: the space has no supernet, which the method trains.
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
        check_supernet(self.supernet, self.task, adds=method.adds_candidates)
        self.loosest.sample(1, generator(self.seed, "feasible"))


def judged(method: Method, job: Job, trained: Trained) -> tuple[Architecture, Estimate]:
    """What the trainings of several seeds are compared by: the first one proposed, and its inherited accuracy."""
    (proposal, *_) = method.search(job, trained).algorithm.ask(job.feasible)
    return proposal.architecture, job.inherited(trained).estimate(proposal.architecture)


def standard_scorer(job: Job, name: str, num_examples: int | None) -> ScoreEstimator:
    """The score of a job's stand-alone networks in this process; see `Job.scorer`."""
    reads_data = score_definition(name).reads_data
    return ScoreEstimator(
        name,
        job.supernet,
        job.task,
        batch_size=num_examples or (DATA_BATCH if reads_data else RANDOM_BATCH),
        device=job.device,
        # As where several processes score: the same score, and small networks have no use for a second thread.
        num_threads=None if reads_data else 1,
        seed=job.seed,
    )


def scaled_recipe(settings: Settings, task: Task, epochs: int | None, *, retrain: bool) -> Recipe:
    """The recipe for the size of the data, with what the settings say instead; see `Recipe.for_task`."""
    recipe = Recipe.for_task(task, retrain=retrain, epochs=epochs)
    batch_size = settings.batch_size or recipe.batch_size
    # With the square root of a batch size that was asked for, between no scaling and the linear rule.
    rate = settings.learning_rate or recipe.learning_rate * math.sqrt(batch_size / recipe.batch_size)
    return dataclasses.replace(
        recipe, batch_size=batch_size, learning_rate=rate, precision=settings.precision
    )


def network_seed(seed: int, number: int) -> int:
    """The seed of a network that is trained by itself; the winner is number 0."""
    return int(generator(seed, "retrain", number).integers(2**31))


def initial_network(supernet: Supernet, architecture: Architecture, start: str, seed: int) -> nn.Module:
    """The stand-alone network before it is finished: fresh weights from a seed, or the supernet's."""
    if start == "scratch":
        return supernet.extract(architecture, inherit=False, seed=seed)
    return supernet.extract(architecture, inherit=True)


def finishing_recipe(recipe: Recipe, start: str) -> Recipe | None:
    """How a network is trained on from a start; None for one that is left as it is."""
    if start == "as-is":
        return None
    if start != "fine-tuned":
        return recipe
    epochs = max(1, round(_FINE_TUNED_EPOCHS * recipe.epochs))
    return dataclasses.replace(
        recipe,
        epochs=epochs,
        learning_rate=_FINE_TUNED_RATE * recipe.learning_rate,
        final_rate=_FINE_TUNED_RATE * recipe.final_rate,
        warmup_epochs=recipe.warmup_epochs * epochs / recipe.epochs,
    )


def finish_network(
    model: nn.Module,
    task: Task,
    recipe: Recipe | None,
    *,
    seed: int,
    device: str | torch.device,
    calibration_images: int,
    **training: Any,
) -> list[TrainingPoint]:
    """Train a plain network where there is a recipe, and recalibrate its normalisation; its curve.

    Args:
        model: changed in place.
        task: the data.
        recipe: None trains nothing.
        seed: of the training.
        device: where to train.
        calibration_images: training examples that recompute normalisation.
        training: checkpoint and hooks; see `train_model`.
    """
    curve = []
    if recipe is not None:
        curve = train_model(model, task, recipe=recipe, seed=seed, device=device, **training)
    precision = "float32" if recipe is None else recipe.precision
    recalibrate_on_task(model, task, calibration_images, device=device, precision=precision, seed=seed)
    return curve
