"""A search that was killed is replayed: an estimator answers from the stored trials first, and stores what is new."""

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
    """An estimator that answers from the stored trials first, and stores what it evaluates; for a `with`."""

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
        """A search begins; its generations are counted on from those of the searches before it."""
        self._first, self._estimator = self._num, search.estimator
        self._first_generation = 1 + max((trial.generation for trial in self._told.values()), default=-1)
        total = search.total
        self._run.progress.begin(title, total, min(max(len(self._stored) - self._first, 0), total))

    def told(self) -> list[TrialRow]:
        """The trials that the searches so far have asked for, in their order."""
        return list(self._told.values())

    def anticipate(self, proposals: Sequence[Proposal]) -> None:
        """Several processes begin to score what is not stored, where that is worth it."""
        new = [each for each in proposals if str(each.architecture) not in self._by_architecture]
        if new and isinstance(self._estimator, AnticipatingEstimator):
            self._estimator.anticipate(new)

    def estimate(self, asked: Proposal | Architecture) -> Estimate:
        """The stored estimate, to the bit, or a new one."""
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
        """Store a trial, unless it was stored by an earlier process; then check that it is the same.

        What an earlier search asked for as well is no new trial; it counts as derived if either derived it.
        """
        architecture = str(trial.architecture)
        self._best = max(self._best, trial.estimate.accuracy)
        if architecture in self._told:
            if trial.origin == "derived":
                # Drawn for comparison by an earlier search, and under a tightened screen the most probable one.
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
        self._run.progress.advance(self._num - self._first, f"best {what} {self._best:.4f}")

    def check_all_used(self) -> None:
        """Every stored trial must have been asked for again."""
        if self._num < len(self._stored):
            raise self._mismatch()

    def _mismatch(self) -> RunDirectoryError:
        return RunDirectoryError(
            f"a search continues from its own trials, but trial {self._num} in {self._run.directory.path} is not the "
            "one that this onepath would evaluate; continue with the onepath that began it, or start over with --fresh"
        )


def searched_by(run: Workspace) -> str:
    """What the scores of the search are: the metric of the data, or the name of a score without training."""
    return run.config.options.score or run.metric_name
