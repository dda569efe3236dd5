"""A method is one class: its options, what it trains, how it searches, and how its winner is finished.

The same object stands behind a function such as `onepath.spos` and behind `onepath run --method spos`. What differs is
the `Job`: in memory it trains and searches at once; in a run directory it also keeps, resumes and reports.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from onepath import option_types as types
from onepath.errors import ConfigurationError
from onepath.most import EVALUATED
from onepath.option_types import one_line, option
from onepath.verdict import Ties

if TYPE_CHECKING:
    from onepath.methods.job import Job, Trained
    from onepath.methods.supernet_search import Found, Search
    from onepath.space import SearchSpace
    from onepath.train import Phase

Finish = Literal["scratch", "inherited", "fine-tuned", "as-is", "both"]
"""How the winner's weights come about: from scratch; from the supernet's and trained on; trained on for a quarter of
the epochs at a tenth of the rate; the supernet's alone, with recalibrated normalisation; or from scratch and inherited,
of which the better one on the validation split is handed over."""

_SMALL_DATA, _SMALL_BUDGET, _BUDGET = 10_000, (16, 5), (50, 20)


class Method(BaseModel, ABC):
    """A technique of architecture search.

    A subclass states its options as fields (`option`), says what it trains by `phases` and how it searches by `search`.
    A method never learns whether a run directory stands behind its job.

    Attributes:
        name: what users call it.
        space: the ready-made space that a run takes if none is asked for.
        trains_supernet: whether it trains shared weights, from which its winner could start.
        adds_candidates: whether outputs of candidates are added, so that they must have one shape.
        finish: how its winner is finished unless the user says otherwise.
        ties: which of equally good architectures wins; see `Search`.
        num_trainings: supernets trained, of which the best goes on.
        other_names: names of options in Python functions that stand for one of the fields or of the job's settings.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)

    name: ClassVar[str]
    space: ClassVar[str] = "shufflenet"
    trains_supernet: ClassVar[bool] = True
    adds_candidates: ClassVar[bool] = False
    finish: ClassVar[Finish] = "scratch"
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
        """Supernets trained, with seeds from the job's on, of which the best goes on."""
        return 1

    @property
    def score(self) -> str | None:
        """The score without training that its search goes by; None for the metric of the task."""
        return None

    @property
    def scores(self) -> tuple[str, ...]:
        """Every score without training that it reads, which must exist before a run begins."""
        return () if self.score is None else (self.score,)

    def check(self, space: SearchSpace) -> None:
        """Refuse a space that the method cannot serve, before anything is trained.

        Raises:
            ConfigurationError: it cannot.
        """

    def check_aims(self, aims: Mapping[str, float]) -> None:
        """Refuse options that do not fit the limits, as soon as these are known.

        Args:
            aims: unit of a cost that adds up over the choices -> limit.

        Raises:
            ConfigurationError: they do not.
        """

    def resolved(self, job: Job) -> Self:
        """The same method with the defaults that depend on the job filled in.

        Raises:
            ConfigurationError: the options do not fit the job.
        """
        is_small = job.task.num_examples("train") < _SMALL_DATA
        population, generations = _SMALL_BUDGET if is_small else _BUDGET
        return self.filled(population=population, generations=generations)

    def filled(self, **defaults: Any) -> Self:
        """A copy in which these options, where they are None, take these values."""
        return self.model_copy(
            update={name: value for name, value in defaults.items() if getattr(self, name) is None}
        )

    @abstractmethod
    def phases(self, job: Job) -> Sequence[Phase]:
        """What is trained, in order; empty trains no supernet."""

    @abstractmethod
    def search(self, job: Job, trained: Trained) -> Search:
        """The search of what was trained; a new one at every call.

        Args:
            job: its `feasible` set holds what may be proposed, its `search_seed` what is drawn from.
            trained: what `phases` made.
        """

    def run(self, job: Job) -> Any:
        """The whole method on a job; what the function of its name returns.

        Raises:
            ConfigurationError: the method cannot serve the space, or an option does not fit.
            InfeasibleError: no architecture meets the limits.
        """
        job.prepare(self)
        method = self.resolved(job)
        trained = job.train(method)
        found = job.search(method.search(job, trained))
        return method.outcome(job, trained, found)

    def outcome(self, job: Job, trained: Trained, found: Found) -> Any:  # noqa: ARG002
        """What the Python function returns of what was found."""
        return found


def make_method(kind: type[Method], options: Mapping[str, Any]) -> Method:
    """A method with these options.

    Raises:
        ConfigurationError: an option does not exist, is out of its range, or does not fit the others.
    """
    try:
        return kind(**options)
    except ValidationError as error:
        raise ConfigurationError(one_line(error, kind.model_fields)) from error
