"""Replay of a killed search: stored trials are answered from the store, and only new architectures are evaluated."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Self

from onepath.errors import RunDirectoryError
from onepath.estimate import AnticipatingEstimator, Estimate, architecture_of
from onepath.record import TrialRow
from onepath.verdict import loss_of, score_of

if TYPE_CHECKING:
    from onepath.estimate import Estimator
    from onepath.methods import Search, Trial
    from onepath.runs.workspace import StageClock, Workspace
    from onepath.search import Proposal
    from onepath.space import Architecture


class Replay:
    """An estimator that answers from the stored trials first, and stores what it evaluates; for a `with`.

    Args:
        run: the run whose search is at work.
        clock: clock of the stage.
        costs: architecture -> its costs by name, which are stored with its trial.
    """

    def __init__(
        self, run: Workspace, clock: StageClock, costs: Callable[[Architecture], dict[str, float]]
    ) -> None:
        self._run, self._costs_of = run, costs
        stored = run.directory.store.trials()
        self._clock = clock
        self._stored = stored
        self._by_architecture = {trial.architecture: trial for trial in stored}
        self._estimator: Estimator | None = None
        self._told: dict[str, TrialRow] = {}
        self._costs: dict[str, float] = {}  # of the architecture that is being evaluated
        self._first = self._first_generation = 0
        self._best = -math.inf

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        close = getattr(self._estimator, "close", None)
        if close is not None:
            close()

    @property
    def _num(self) -> int:
        return len(self._told)

    def begin(self, title: str, search: Search) -> None:
        """Begin a search; its generations are numbered on from those of the searches before it.

        Args:
            title: title of the progress.
            search: the search; its estimator evaluates what is not stored.
        """
        self._first, self._estimator = self._num, search.estimator
        self._first_generation = 1 + max((trial.generation for trial in self._told.values()), default=-1)
        total = search.total
        self._run.progress.begin(title, total, min(max(len(self._stored) - self._first, 0), total))

    def told(self) -> list[TrialRow]:
        """Return the trials that the searches so far have asked for, in that order."""
        return list(self._told.values())

    def anticipate(self, proposals: Sequence[Proposal]) -> None:
        """Announce what will be asked for, so that an estimator of several processes begins with what is not stored."""
        new = [each for each in proposals if str(each.architecture) not in self._by_architecture]
        if new and isinstance(self._estimator, AnticipatingEstimator):
            self._estimator.anticipate(new)

    def estimate(self, asked: Proposal | Architecture) -> Estimate:
        """Return the stored estimate, equal to the bit, or evaluate the architecture.

        Raises:
            RunDirectoryError: the search asks for something new before it has asked for all stored trials.
        """
        architecture = architecture_of(asked)
        row = self._by_architecture.get(str(architecture))
        if row is not None:
            num = self._run.facts["validation"]
            return Estimate(score_of(row), loss_of(row), row.seconds, num)
        if self._num < len(self._stored):
            raise self._mismatch()
        # Before the evaluation: the tables of costs take seconds, and a kill in them would lose what was evaluated.
        self._costs = self._costs_of(architecture)
        assert self._estimator is not None, "a search has begun"
        return self._estimator.estimate(asked)

    def on_trial(self, trial: Trial) -> None:
        """Store a trial; if an earlier process has stored it, check that it is the same.

        An architecture that an earlier search has asked for is no new trial; its origin is "derived" if any of the
        searches derived it.

        Raises:
            RunDirectoryError: the stored trial at this position has another architecture.
        """
        architecture = str(trial.architecture)
        self._best = max(self._best, trial.estimate.accuracy)
        if architecture in self._told:
            if trial.origin == "derived":
                # An earlier search drew it for comparison; under a tightened screen it is the most probable one.
                self._told[architecture] = dataclasses.replace(self._told[architecture], origin="derived")
            return
        if self._num < len(self._stored):
            row = self._stored[self._num]
            if row.architecture != architecture:
                raise self._mismatch()
            self._told[architecture] = row
            return
        estimate, generation = trial.estimate, self._first_generation + trial.generation
        row = TrialRow(
            number=self._num,
            architecture=architecture,
            generation=generation,
            origin=trial.origin,
            accuracy=estimate.accuracy,
            loss=estimate.loss,
            costs=self._costs,
            seconds=estimate.seconds,
        )
        self._run.directory.store.add_trial(row)
        self._clock.tick()
        self._told[architecture] = row
        self._by_architecture[architecture] = row
        what = searched_by(self._run)
        # A search that only draws has no best.
        best = f"best {what} {self._best:.4f}" if math.isfinite(self._best) else ""
        self._run.progress.advance(self._num - self._first, best)

    def check_all_used(self) -> None:
        """Raise RunDirectoryError unless the searches have asked for every stored trial again."""
        if self._num < len(self._stored):
            raise self._mismatch()

    def _mismatch(self) -> RunDirectoryError:
        return RunDirectoryError(
            f"a search continues from its own trials, but trial {self._num} in {self._run.directory.path} is not the "
            "one that this onepath would evaluate; continue with the onepath that began it, or start over with --fresh"
        )


def searched_by(run: Workspace) -> str:
    """Return the name of what the search scores by: the metric of the data, or a score without training."""
    return run.config.options.score or run.metric_name
