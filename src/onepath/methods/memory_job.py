"""A job in memory: it trains and searches in this process and saves nothing by itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from pydantic import ValidationError

from onepath.cost import Constraint, counter
from onepath.data import Task
from onepath.errors import ConfigurationError
from onepath.methods.finishing import given_model
from onepath.methods.job import Job, Settings, Trained, judged, standard_scorer
from onepath.methods.method import give_weights
from onepath.methods.supernet_search import Found, Trial, feasible_set, searched
from onepath.nn import Supernet
from onepath.option_types import one_line
from onepath.train import train_phases
from onepath.train.checks import warn_unless_fresh

if TYPE_CHECKING:
    from torch import nn

    from onepath.estimate import Estimate, ScoreEstimator
    from onepath.methods.method import Method
    from onepath.methods.supernet_search import Search
    from onepath.search import FeasibleSet
    from onepath.search.feasible import Costs
    from onepath.space import Architecture
    from onepath.train.training import Checkpoint, OnPoint, OnUpdate


class MemoryJob(Job):
    """The job of Python functions such as `onepath.spos`.

    Args:
        supernet: the supernet to search; trained in place if the method trains one.
        task: the data.
        constraints: hard limits on the architectures.
        device: torch device on which networks are trained and scored.
        checkpoint: keeps the state of the training, which continues from it; see `train_supernet`. It is used only if
            the method trains a single supernet.
        on_point: see `train_supernet`.
        on_update: see `train_supernet`.
        on_trial: called with each evaluated `Trial`.
        settings: fields of `Settings` by name.

    Attributes:
        HOOKS: names of the keyword arguments that are not options.
        SETTINGS: names of the fields of `Settings` and of `HOOKS`.

    Raises:
        ConfigurationError: a setting does not exist or is out of its range.
    """

    HOOKS: ClassVar = ("device", "checkpoint", "on_point", "on_update", "on_trial")
    SETTINGS: ClassVar = (*Settings.model_fields, *HOOKS)

    def __init__(
        self,
        supernet: Supernet,
        task: Task,
        *,
        constraints: Sequence[Constraint] = (),
        device: str | torch.device = "cpu",
        checkpoint: Checkpoint | None = None,
        on_point: OnPoint | None = None,
        on_update: OnUpdate | None = None,
        on_trial: Callable[[Trial], None] | None = None,
        **settings: Any,
    ) -> None:
        try:
            self.settings = Settings(**settings)
        except ValidationError as error:
            raise ConfigurationError(one_line(error, Settings.model_fields)) from error
        self.supernet, self.task, self.device = supernet, task, device
        self._given_model = given_model(
            self.settings.finish_teacher, supernet
        )  # the training changes the weights
        self._constraints, self._checkpoint, self._on_trial = tuple(constraints), checkpoint, on_trial
        self._on_point, self._on_update = on_point, on_update

    @property
    def given_model(self) -> nn.Module | None:
        """See `Job.given_model`."""
        return self._given_model

    @property
    def search_seed(self) -> int:
        """See `Job.search_seed`; here it is the seed of the job."""
        return self.seed

    @cached_property
    def feasible(self) -> FeasibleSet:
        """See `Job.feasible`; the architectures that meet every constraint."""
        return feasible_set(self.supernet, self.task.input_shape, self._constraints)

    @property
    def loosest(self) -> FeasibleSet:
        """See `Job.loosest`; here it equals `feasible`."""
        return self.feasible

    def counter(self, name: str) -> Costs:
        """See `Job.counter`; the cost is counted for the input shape of the task."""
        return counter(self.supernet, self.task.input_shape, name)[0]

    def scorer(self, name: str, num_examples: int | None = None, *, total: int = 0) -> ScoreEstimator:  # noqa: ARG002
        """See `Job.scorer`; scores are computed in this process."""
        return standard_scorer(self, name, num_examples)

    def ranked(self, name: str) -> Callable[[Architecture], float]:
        """See `Job.ranked`; scores are computed in this process."""
        return standard_scorer(self, name, None).value

    def evaluated(self, trained: Trained, architectures: Sequence[Architecture]) -> list[Estimate]:
        """See `Job.evaluated`; the architectures are evaluated in this process."""
        estimator = self.inherited(trained)
        return [estimator.estimate(architecture) for architecture in architectures]

    def train(self, method: Method) -> Trained:
        """See `Job.train`; trains in this process, from the present weights of the supernet."""
        if not method.trains_supernet:
            return Trained(self.supernet)
        warn_unless_fresh(self.supernet)
        give_weights(method, self.supernet, self.task.input_shape, self.seed)
        if method.num_trainings == 1:
            return self._trained(method)
        initial = _copied(self.supernet)
        found = []
        for number in range(method.num_trainings):
            self.supernet.load_state_dict(initial)
            one = self._seeded(self.seed + number)
            trained = one._trained(method)
            estimate = judged(method, one, trained)[1]
            found.append(((estimate.accuracy, -estimate.loss), trained, _copied(self.supernet)))
        _, trained, weights = max(found, key=lambda one: one[0])
        self.supernet.load_state_dict(weights)
        return trained

    def _seeded(self, seed: int) -> MemoryJob:
        """Return the same job with another seed, and without the checkpoint, which can keep only one training."""
        job = MemoryJob(self.supernet, self.task, constraints=self._constraints, device=self.device)
        job.settings = self.settings.model_copy(update={"seed": seed})
        job._on_point, job._on_update = self._on_point, self._on_update
        return job

    def _trained(self, method: Method) -> Trained:
        phases = tuple(method.phases(self))
        if not phases:
            return Trained(self.supernet)
        curve = train_phases(
            self.supernet,
            self.task,
            phases,
            seed=self.seed,
            device=self.device,
            checkpoint=self._checkpoint,
            on_point=self._on_point,
            on_update=self._on_update,
            compile=self.settings.compile,
        )
        return Trained(self.supernet, phases, tuple(curve))

    def search(self, search: Search) -> Found:
        """See `Job.search`; searches in this process."""
        return searched(self.feasible, search, on_trial=self._on_trial, counter=self.counter)


def _copied(supernet: Supernet) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in supernet.state_dict().items()}
