"""Architectures scored at the same time, in the worker processes of a pool."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from onepath.estimate import Estimate, architecture_of, score_definition
from onepath.methods.catalogue import GIVEN_IN_PYTHON
from onepath.methods.job import RANDOM_BATCH
from onepath.runs.run_workplace import RunWorkplace, setup_of
from onepath.workers import Pool

if TYPE_CHECKING:
    from onepath.runs.definition import RunDefinition
    from onepath.search import Proposal
    from onepath.space import Architecture
    from onepath.workers import Future

FEWEST_SCORED = 128
"""Networks for which a process is worth its start of some seconds."""


class PooledScores:
    """An estimator whose scores are made by several processes, each of one thread.

    What each architecture gets does not depend on their number. They start with the first architecture that is asked
    for, and end with `close` or with this process; one that is ended from outside, or stopped for a minute, is done
    without.

    Args:
        run: what the processes make their own of.
        options: of `RunWorkplace.score`.
        num_workers: processes.
    """

    def __init__(self, run: RunDefinition, options: Mapping[str, Any], num_workers: int) -> None:
        self._options = options
        self._pool = Pool(RunWorkplace, setup_of(run, 1), num_workers, num_ahead=2, hands_over=True)
        self._asked: dict[str, Future] = {}

    def anticipate(self, asked: Sequence[Proposal | Architecture]) -> None:
        """Begin to score what will be asked for."""
        for text in (str(architecture_of(each)) for each in asked):
            if text not in self._asked:
                job = {"architecture": text, **self._options}
                self._asked[text] = self._pool.submit("score", job, name="scores")

    def estimate(self, asked: Proposal | Architecture) -> Estimate:
        """The score as one process makes it, as soon as it is there.

        Raises:
            UserError: all processes were ended from outside; or what one raised, as if it had been raised here.
        """
        self.anticipate([asked])
        return Estimate(*self._asked[str(architecture_of(asked))].result())

    def close(self) -> None:
        """End the processes."""
        self._pool.kill_workers()


def num_scoring(run: RunDefinition, name: str, num_left: int) -> int:
    """Processes that are worth their start: one for few networks, and where each would have to load the data.

    Args:
        run: whose space is scored.
        name: of the score.
        num_left: networks that are not scored yet.
    """
    has_names = run.objects.space is None and not run.config.method.startswith(GIVEN_IN_PYTHON)
    if score_definition(name).reads_data or len(run.input_shape) != 3 or not has_names:
        return 1
    return min(run.config.workers or 1, num_left // FEWEST_SCORED)


def pooled_scores(run: RunDefinition, name: str, num_examples: int | None, num_workers: int) -> PooledScores:
    """A score that reads no data as the estimator of a search, by several processes; see `Job.scorer`."""
    shape = (min(num_examples or RANDOM_BATCH, run.facts["train"]), *run.input_shape)
    return PooledScores(run, {"name": name, "shape": shape, "seed": run.config.seed}, num_workers)
