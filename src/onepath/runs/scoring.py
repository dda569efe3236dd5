"""Estimate architectures at the same time, in the worker processes of a pool: scores, and trainings of each alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from onepath.estimate import Estimate, architecture_of, score_definitions
from onepath.methods.catalogue import GIVEN_IN_PYTHON
from onepath.methods.job import RANDOM_BATCH
from onepath.runs.run_workplace import RunWorkplace, setup_of
from onepath.workers import Pool

if TYPE_CHECKING:
    from onepath.estimate.proxy import Proxy
    from onepath.runs.definition import RunDefinition
    from onepath.search import Proposal
    from onepath.space import Architecture
    from onepath.workers import Future

FEWEST_SCORED = 128
"""Number of networks for which a process is worth its start, which takes some seconds."""


class PooledEstimates:
    """An estimator whose estimates are made by several processes of one thread each.

    The estimate of an architecture does not depend on the number of processes. The processes start with the first
    architecture that is asked for, and end with `close` or with this process. If one is ended from outside, or stopped
    for a minute, the others take over its work.

    Args:
        run: definition of the run; each process makes the same definition for itself.
        kind: kind of job, one of `RunWorkplace.kinds`.
        options: arguments of the job, without the architecture.
        num_workers: number of processes.
    """

    def __init__(self, run: RunDefinition, kind: str, options: Mapping[str, Any], num_workers: int) -> None:
        self._kind, self._options = kind, options
        self._pool = Pool(RunWorkplace, setup_of(run, 1), num_workers, num_ahead=2, hands_over=True)
        self._asked: dict[str, Future] = {}

    def anticipate(self, asked: Sequence[Proposal | Architecture]) -> None:
        """Begin to estimate architectures that will be asked for."""
        for text in (str(architecture_of(each)) for each in asked):
            if text not in self._asked:
                job = {"architecture": text, **self._options}
                self._asked[text] = self._pool.submit(self._kind, job, name=f"{self._kind}s")

    def estimate(self, asked: Proposal | Architecture) -> Estimate:
        """Return the estimate of an architecture as soon as a process has made it.

        Raises:
            UserError: all processes were ended from outside; or an error that a process raised, of any class.
        """
        self.anticipate([asked])
        return Estimate(*self._asked[str(architecture_of(asked))].result())

    def close(self) -> None:
        """End the processes."""
        self._pool.kill_workers()


def pooled_standalone(run: RunDefinition, proxy: Proxy, num_workers: int) -> PooledEstimates:
    """Return an estimator that trains a run's networks by themselves, several at the same time."""
    return PooledEstimates(run, "proxy", asdict(proxy), num_workers)


def num_training(run: RunDefinition) -> int:
    """Return the number of processes that train a run's networks by themselves; below 2, this process does."""
    return (run.config.workers or 1) if run.is_loadable else 1


def num_scoring(run: RunDefinition, name: str, num_left: int) -> int:
    """Return the number of processes that are worth their start; below 2, this process scores by itself.

    Several processes are not worth it for few networks, or if each would have to load the data or score a reference;
    and they are not possible if they cannot load the space and the method by name.

    Args:
        run: definition of the run whose space is scored.
        name: name of the score.
        num_left: number of networks that are not scored yet.
    """
    has_names = run.objects.space is None and not run.config.method.startswith(GIVEN_IN_PYTHON)
    definitions = score_definitions(name)
    if len(definitions) > 1 or definitions[0].reads_data or len(run.input_shape) != 3 or not has_names:
        return 1
    return min(run.config.workers or 1, num_left // FEWEST_SCORED)


def pooled_scores(
    run: RunDefinition, name: str, num_examples: int | None, num_workers: int
) -> PooledEstimates:
    """Return an estimator that makes a score that reads no data in several processes; see `Job.scorer`.

    Args:
        run: definition of the run whose space is scored.
        name: name of the score.
        num_examples: examples in the random batch; None takes 16.
        num_workers: number of processes.
    """
    shape = (min(num_examples or RANDOM_BATCH, run.facts["train"]), *run.input_shape)
    options = {"name": name, "shape": shape, "seed": run.config.seed}
    return PooledEstimates(run, "score", options, num_workers)
