"""The jobs of a run's worker processes: training networks, and scoring architectures or training each by itself.

A worker process writes only the checkpoints and the weights of the networks that it trains. Curves, results and scores
go to the process of the run, which alone writes the trial store.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onepath.runs.definition import RunDefinition
from onepath.runs.making import make_config
from onepath.runs.standalone import PlannedNetwork, standalone_of, train_network
from onepath.workers import Tell, Workplace

if TYPE_CHECKING:
    from onepath.estimate import ScoreEstimator, StandaloneEstimator

_SECONDS_BETWEEN_UPDATES = 0.1


class RunWorkplace(Workplace):
    """The definition of a run in a worker process, made from its configuration and the facts about its data.

    Args:
        setup: the values that `setup_of` returns.
    """

    def __init__(self, setup: Mapping[str, Any]) -> None:
        import torch

        torch.set_num_threads(setup["threads"])
        config = make_config(setup["config"])
        self._run = RunDefinition(Path(setup["path"]), config, setup["facts"], digests=setup["digests"])
        self._scorer = cache(self._make_scorer)
        self._trainer = cache(self._make_trainer)

    def kinds(self) -> Mapping[str, Callable[..., Any]]:
        """Return the kinds of job: "train" finishes a network, "score" scores an architecture, "proxy" trains one."""
        return {"train": self.train, "score": self.score, "proxy": self.proxy}

    def train(self, tell: Tell, network: Mapping[str, Any], checkpoint_seconds: float) -> dict[str, Any]:
        """Train a network as `train_network` does.

        Args:
            tell: called with {"point": values of a `TrainingPoint`} for every point of the curve, and with {"done":
                updates, "num_updates": updates in all} at the first update, the last, and some in between.
            network: fields of the `PlannedNetwork`.
            checkpoint_seconds: seconds between two saves of the training.

        Returns:
            The fields of the `TrainedNetwork`.
        """
        told = 0.0

        def on_update(update: int, num_updates: int) -> None:
            nonlocal told
            if time.monotonic() - told >= _SECONDS_BETWEEN_UPDATES or update == num_updates:
                told = time.monotonic()
                tell({"done": update, "num_updates": num_updates})

        trained = train_network(
            self._run,
            PlannedNetwork(**network),
            checkpoint_seconds=checkpoint_seconds,
            on_point=lambda point: tell({"point": astuple(point)}),
            on_update=on_update,
        )
        curve = [astuple(point) for point in trained.curve]
        return {"validation": trained.validation, "curve": curve, "weights": trained.weights}

    def score(
        self, _: Tell, architecture: str, name: str, shape: Sequence[int], seed: int
    ) -> tuple[Any, ...]:
        """Score an untrained network, see `ScoreEstimator.without_data`.

        Args:
            architecture: the architecture as text, `Architecture.__str__`.
            name: name of the score.
            shape: shape of the random batch, batch size first.
            seed: seed of the initial weights and of the score.

        Returns:
            The fields of the `Estimate`.
        """
        estimator = self._scorer(name, tuple(shape), seed)
        return astuple(estimator.estimate(self._run.blank.space.parse(architecture)))

    def proxy(self, _: Tell, architecture: str, **fields: Any) -> tuple[Any, ...]:
        """Train a network at a proxy budget, see `Job.trained_alone`.

        Args:
            architecture: the architecture as text, `Architecture.__str__`.
            **fields: fields of the `Proxy`.

        Returns:
            The fields of the `Estimate`.
        """
        estimator = self._trainer(**fields)
        return astuple(estimator.estimate(self._run.blank.space.parse(architecture)))

    def _make_trainer(self, **fields: Any) -> StandaloneEstimator:
        from onepath.estimate.proxy import Proxy

        return standalone_of(self._run, Proxy(**fields))

    def _make_scorer(self, name: str, shape: tuple[int, ...], seed: int) -> ScoreEstimator:
        from onepath.estimate import ScoreEstimator

        device = self._run.config.train_on
        return ScoreEstimator.without_data(
            name, self._run.blank, shape, device=device, seed=seed, num_threads=1
        )


def setup_of(run: RunDefinition, num_threads: int) -> dict[str, Any]:
    """Return the setup of a pool of `RunWorkplace`, as plain JSON values.

    Args:
        run: definition of the run. The data, the space and the method that the jobs need must have names by which
            another process can load them.
        num_threads: number of torch's threads in each worker.
    """
    return {
        "path": str(run.path.absolute()),
        "config": run.config.as_dict(),
        "facts": run.facts,
        "digests": run.digests,
        "threads": num_threads,
    }
