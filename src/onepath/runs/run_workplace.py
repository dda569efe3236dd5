"""What a worker process of a run does: it trains and scores networks.

It writes the checkpoints and the weights of the networks that it trains and nothing else: curves, results and scores go
to the run, which alone writes the store.
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
from onepath.runs.standalone import PlannedNetwork, train_network
from onepath.workers import Tell, Workplace

if TYPE_CHECKING:
    from onepath.estimate import ScoreEstimator

_SECONDS_BETWEEN_UPDATES = 0.1


class RunWorkplace(Workplace):
    """The same run in another process, from its configuration and the facts about its data; see `setup_of`."""

    def __init__(self, setup: Mapping[str, Any]) -> None:
        import torch

        torch.set_num_threads(setup["threads"])
        config = make_config(setup["config"])
        self._run = RunDefinition(Path(setup["path"]), config, setup["facts"], digests=setup["digests"])
        self._scorer = cache(self._make_scorer)

    def kinds(self) -> Mapping[str, Callable[..., Any]]:
        """Training a network, and scoring an architecture."""
        return {"train": self.train, "score": self.score}

    def train(self, tell: Tell, network: Mapping[str, Any], checkpoint_seconds: float) -> dict[str, Any]:
        """Train a `PlannedNetwork` as `train_network` does: the fields of its `TrainedNetwork`.

        It tells every "point" of the curve, and of the updates "done" of "num_updates" the first, the last and now and
        then another.
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
        """Score an untrained network, see `ScoreEstimator.without_data`: the fields of its `Estimate`."""
        estimator = self._scorer(name, tuple(shape), seed)
        return astuple(estimator.estimate(self._run.blank.space.parse(architecture)))

    def _make_scorer(self, name: str, shape: tuple[int, ...], seed: int) -> ScoreEstimator:
        from onepath.estimate import ScoreEstimator

        device = self._run.config.train_on
        return ScoreEstimator.without_data(
            name, self._run.blank, shape, device=device, seed=seed, num_threads=1
        )


def setup_of(run: RunDefinition, num_threads: int) -> dict[str, Any]:
    """What a pool of `RunWorkplace` is set up with.

    Args:
        run: with data, a space and a method that have names, as far as the jobs need them.
        num_threads: of torch in each worker.
    """
    return {
        "path": str(run.path.absolute()),
        "config": run.config.as_dict(),
        "facts": run.facts,
        "digests": run.digests,
        "threads": num_threads,
    }
