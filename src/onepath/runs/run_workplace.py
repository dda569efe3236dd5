"""What a worker process of a run does: it trains, scores and estimates networks.

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

from onepath.runs.config import make_config
from onepath.runs.definition import RunDefinition
from onepath.runs.standalone import PlannedNetwork, train_network
from onepath.workers import Tell, Workplace

if TYPE_CHECKING:
    from onepath.estimate import Estimator

_SECONDS_BETWEEN_UPDATES = 0.1


class RunWorkplace(Workplace):
    """The same run in another process, from its configuration and the facts about its data; see `setup_of`."""

    def __init__(self, setup: Mapping[str, Any]) -> None:
        import torch

        torch.set_num_threads(setup["threads"])
        config = make_config(setup["config"])
        self._run = RunDefinition(Path(setup["path"]), config, setup["facts"], digests=setup["digests"])
        self._estimator = cache(self._make_estimator)

    def kinds(self) -> Mapping[str, Callable[..., Any]]:
        """Training a network, and estimating an architecture by a score or with the supernet's weights."""
        return {"train": self.train, "score": self.score, "estimate": self.estimate}

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
        return self._estimate("score", architecture, name=name, shape=tuple(shape), seed=seed)

    def estimate(self, _: Tell, architecture: str, **options: Any) -> tuple[Any, ...]:
        """Estimate with the weights of the trained supernet, options as of `SupernetEstimator`; likewise."""
        return self._estimate("estimate", architecture, **options)

    def _estimate(self, kind: str, architecture: str, **options: Any) -> tuple[Any, ...]:
        estimator = self._estimator(kind, **options)
        return astuple(estimator.estimate(self._run.blank.space.parse(architecture)))

    def _make_estimator(self, kind: str, **options: Any) -> Estimator:
        from onepath.estimate import ScoreEstimator, SupernetEstimator

        run = self._run
        if kind == "estimate":
            return SupernetEstimator(run.trained, run.task, device=run.config.train_on, **options)
        name, shape, device = options.pop("name"), options.pop("shape"), run.config.train_on
        return ScoreEstimator.without_data(name, run.blank, shape, device=device, num_threads=1, **options)


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
