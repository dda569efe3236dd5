"""The base class of methods: a method has options, trains, searches, and says how its winner is finished.

A function such as `onepath.spos` and the command `onepath run --method spos` use the same class. Only the `Job`
differs: a job in memory trains and searches at once; the job of a run directory also saves, resumes and reports.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence, Set
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from onepath import option_types as types
from onepath.errors import ConfigurationError
from onepath.methods.finishing import Teacher
from onepath.most import EVALUATED
from onepath.option_types import one_line, option
from onepath.verdict import Ties

if TYPE_CHECKING:
    from onepath.estimate import Estimator
    from onepath.methods.job import Job, Trained
    from onepath.methods.supernet_search import Found, Search
    from onepath.nn import Supernet
    from onepath.nn.weight_source import WeightSource
    from onepath.space import Architecture, SearchSpace
    from onepath.train import Phase

Finish = Literal["scratch", "inherited", "fine-tuned", "as-is", "both", "halving"]
"""How the winner's weights are made.

- "scratch": trained from fresh weights.
- "inherited": trained on from the supernet's weights.
- "fine-tuned": trained on from the supernet's weights for a quarter of the epochs at a tenth of the rate.
- "as-is": the supernet's weights with recalibrated normalisation, without training.
- "both": "scratch" and "inherited"; the network that is better on the validation split is taken.
- "halving": the best networks of the search are trained from fresh weights for a part of the epochs, the better half of
  them on the validation split goes on, and so forth; the one that is left is trained to the end.
"""

_SMALL_DATA, _SMALL_BUDGET, _BUDGET = 10_000, (16, 5), (50, 20)


class Method(BaseModel, ABC):
    """A method of neural architecture search.

    A subclass declares its options as fields (`option`). Its `phases` define the training, its `search` the search.
    It does not need to know whether its job works in memory or in a run directory.

    Attributes:
        name: name that users write.
        space: name of the ready-made space that a run uses by default.
        trains_supernet: whether the method trains shared weights, from which its winner could start.
        adds_candidates: whether the method adds the outputs of candidates, so that they must have one shape.
        estimated: one word for the accuracy by which the search ranks architectures: "inherited" from a supernet, or
            for example "proxy", of a short training.
        finish: how the winner is finished unless the user says otherwise.
        finish_teacher: what it learns from then unless the user says otherwise.
        ties: which of equally good architectures wins; see `Search`.
        num_trainings: number of supernets trained, of which the best is searched.
        other_names: name of an argument of the Python function -> the field, or the job's setting, that it sets.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)

    name: ClassVar[str]
    space: ClassVar[str] = "shufflenet"
    trains_supernet: ClassVar[bool] = True
    adds_candidates: ClassVar[bool] = False
    estimated: ClassVar[str] = "inherited"
    finish: ClassVar[Finish] = "scratch"
    finish_teacher: ClassVar[Teacher] = "labels"
    ties: ClassVar[Ties] = "loss"
    other_names: ClassVar[Mapping[str, str]] = {}

    population: types.Population | None = option(
        None,
        "Architectures per generation; default: 16 below 10,000 training examples, else 50.",
        group="Search",
    )
    generations: types.Generations | None = option(
        None,
        "Generations after the first; default: 5 below 10,000 training examples, else 20.",
        group="Search",
    )

    @model_validator(mode="after")
    def _check_budget(self) -> Self:
        planned = (self.population or 2) * ((self.generations or 0) + 1)
        if planned > EVALUATED:
            raise ValueError(
                f"population * (generations + 1) must be at most {EVALUATED:,}, but got {planned:,}; lower one of them"
            )
        return self

    @property
    def num_trainings(self) -> int:
        """Number of supernets trained, with consecutive seeds from the job's on; the best of them is searched."""
        return 1

    @property
    def num_finalists(self) -> int | None:
        """Number of the search's best networks that are finished, of which the best wins; None for the usual number."""
        return None

    @property
    def score(self) -> str | None:
        """Name of the score without training that the search maximises; None for the metric of the task."""
        return None

    @property
    def scores(self) -> tuple[str, ...]:
        """Names of all scores without training that the method uses; they must exist before a run begins."""
        return () if self.score is None else (self.score,)

    def wanted(self, supernet: Supernet) -> Sequence[Architecture]:  # noqa: ARG002
        """Return the architectures to whose cost a run fits the width of a space; none fit it to the whole space."""
        return ()

    def check(self, space: SearchSpace) -> None:
        """Raise unless the method can search this space; called before anything is trained.

        Raises:
            ConfigurationError: the method cannot search the space.
        """

    def check_aims(self, aims: Mapping[str, float]) -> None:
        """Raise unless the options fit the limits; called as soon as the limits are known.

        Args:
            aims: unit -> limit, for the limits whose costs are additive over the choices; see `Job.aims`.

        Raises:
            ConfigurationError: an option does not fit the limits.
        """

    def resolved(self, job: Job) -> Self:
        """Return a copy of the method in which options that are None have the defaults for this job.

        Raises:
            ConfigurationError: the options do not fit the job.
        """
        is_small = job.task.num_examples("train") < _SMALL_DATA
        population, generations = _SMALL_BUDGET if is_small else _BUDGET
        return self.filled(population=population, generations=generations)

    def filled(self, **defaults: Any) -> Self:
        """Return a copy in which each of these options takes its value if it is None."""
        return self.model_copy(
            update={name: value for name, value in defaults.items() if getattr(self, name) is None}
        )

    @property
    def total_epochs(self) -> int | None:
        """Epochs of the whole training, once the method is resolved; None if it has no such number."""
        epochs: int | None = getattr(self, "epochs", None)
        return epochs

    def of_length(self, total: int, given: Set[str]) -> dict[str, Any]:  # noqa: ARG002
        """Return the options with which the whole training has so many epochs.

        Args:
            total: epochs of the whole training.
            given: names of the options that the user gave, which stay as they are; epochs are none of them.
        """
        return {"epochs": total}

    @abstractmethod
    def phases(self, job: Job) -> Sequence[Phase]:
        """Return the phases of the training, in order; without any, no supernet is trained."""

    def weights(
        self,
        supernet: Supernet,  # noqa: ARG002
        input_shape: tuple[int, ...],  # noqa: ARG002
        seed: int,  # noqa: ARG002
    ) -> WeightSource | None:
        """Return what makes the weights of a supernet that is trained; None if the supernet holds them itself.

        Args:
            supernet: the supernet with its initial weights; not changed.
            input_shape: shape of one example, without the batch.
            seed: seed of every random draw.

        Raises:
            ConfigurationError: no weight of the supernet can be made.
        """
        return None

    def timed_phases(self, job: Job) -> Sequence[Phase]:
        """Return `phases` for a timing in which each of them is begun at its recipe's first update."""
        return self.phases(job)

    def estimator(self, job: Job, trained: Trained) -> Estimator:
        """Return the estimator that scores what the search proposes; by default that of inherited accuracy.

        Args:
            job: the job of the search.
            trained: the result of the training.
        """
        return job.inherited(trained)

    @abstractmethod
    def search(self, job: Job, trained: Trained) -> Search:
        """Return the search of the trained supernet; every call makes a new one.

        Args:
            job: its `feasible` set holds the architectures that may be proposed, and `search_seed` is the seed.
            trained: the result of the training by `phases`.
        """

    def run(self, job: Job) -> Any:
        """Run the whole method on a job, and return what its Python function returns; see `outcome`.

        Raises:
            BindingError: a module cannot be called with one input, or cannot initialise its own parameters.
            ConfigurationError: the method cannot search the space, or an option does not fit.
            InfeasibleError: no architecture meets the limits.
            ShapeError: shapes do not fit, see `check_supernet`.
        """
        job.prepare(self)
        method = self.resolved(job)
        trained = job.train(method)
        found = job.search(method.search(job, trained))
        return method.outcome(job, trained, found)

    def outcome(self, job: Job, trained: Trained, found: Found) -> Any:  # noqa: ARG002
        """Return the result of the Python function; by default the result of the search."""
        return found


def give_weights(method: Method, supernet: Supernet, input_shape: tuple[int, ...], seed: int) -> Supernet:
    """Let a supernet that is trained take its weights from the method's source, if it has one; return the supernet.

    The arguments are those of `Method.weights`.

    Raises:
        ConfigurationError: no weight of the supernet can be made, or another source makes them already.
    """
    source = method.weights(supernet, input_shape, seed)
    if source is not None:
        supernet.take_weights_from(source)
    return supernet


def make_method(kind: type[Method], options: Mapping[str, Any]) -> Method:
    """Return a method with these options.

    Args:
        kind: class of the method.
        options: name -> value; options that are left out take their defaults.

    Raises:
        ConfigurationError: an option does not exist, is out of its range, or does not fit the others.
    """
    try:
        return kind(**options)
    except ValidationError as error:
        raise ConfigurationError(one_line(error, kind.model_fields)) from error
