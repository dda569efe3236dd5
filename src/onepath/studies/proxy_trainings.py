"""Trainings of a run's networks at proxy tasks, each stored as soon as it is made, several at the same time."""

from __future__ import annotations

import contextlib
import hashlib
import math
from collections.abc import Generator, Sequence
from dataclasses import asdict
from typing import NamedTuple

from onepath.estimate import Estimate, StandaloneEstimator
from onepath.estimate.proxy import Proxy
from onepath.record import EstimateStore
from onepath.record.estimates import ESTIMATES
from onepath.runs import Run, StageClock
from onepath.runs.run_workplace import RunWorkplace, setup_of
from onepath.runs.scoring import num_training
from onepath.runs.standalone import standalone_of
from onepath.train.threads import shared_threads
from onepath.workers import Pool

Training = tuple[Proxy, str]
"""A proxy and the text of an architecture."""
_TICK_SECONDS = 1.0


class TrainedAtProxy(NamedTuple):
    """The result of a training at a proxy task.

    Attributes:
        score: the task's score on the validation split, higher is better; minus infinity if it or the loss was not
            finite.
        seconds: time of the training, of the recalibration after it, and of the evaluation.
    """

    score: float
    seconds: float


def train_at_proxies(
    run: Run, clock: StageClock, trainings: Sequence[Training]
) -> dict[Training, TrainedAtProxy]:
    """Train networks from fresh weights at proxy tasks, unless they are stored.

    A training that is killed begins anew, and those that have ended are not made again. All of them have one seed. They
    share the cores as the whole trainings of a run do, so that their times can be compared.

    Args:
        run: gives the space, the data, the recipe, the seed and the number of workers.
        clock: clock of the stage at work.
        trainings: the trainings, in the order in which they begin. Neighbours meet the same speed of the machine.

    Raises:
        UserError: all workers were ended from outside; or an error of a training, of any class.
    """
    settings = {proxy: _setting(run, proxy) for proxy, _ in trainings}
    with EstimateStore(run.path / ESTIMATES) as store:
        known = {proxy: store.read(setting) for proxy, setting in settings.items()}
        left = [(proxy, name) for proxy, name in trainings if name not in known[proxy]]
        done = len(trainings) - len(left)
        run.progress.begin("training networks at proxy tasks", len(trainings), done)
        with contextlib.closing(_made(run, clock, left, len(trainings))) as made:
            for (proxy, name), estimate in made:
                # Classes are counted right even if the outputs are not finite; the loss tells.
                score = estimate.accuracy if math.isfinite(estimate.loss) else math.nan
                store.put(settings[proxy], name, {"score": score}, estimate.seconds)
                done += 1
                run.progress.advance(done)
                clock.tick()
        run.progress.finish()
        known = {proxy: store.read(setting) for proxy, setting in settings.items()}
        seconds = {proxy: store.seconds(setting) for proxy, setting in settings.items()}
    return {
        (proxy, name): TrainedAtProxy(_number(known[proxy][name]["score"]), seconds[proxy][name])
        for proxy, name in trainings
    }


def _made(
    run: Run, clock: StageClock, trainings: Sequence[Training], num_planned: int
) -> Generator[tuple[Training, Estimate]]:
    """Yield each training and its estimate as soon as it is made, in the order in which they end."""
    num_workers = min(num_training(run), num_planned)
    if num_workers < 2:
        estimators: dict[Proxy, StandaloneEstimator] = {}
        for proxy, name in trainings:
            if proxy not in estimators:
                estimators[proxy] = standalone_of(run, proxy)
            yield (proxy, name), estimators[proxy].estimate(run.blank.space.parse(name))
        return
    pool = Pool(RunWorkplace, setup_of(run, shared_threads(num_workers)), num_workers, hands_over=True)
    try:
        left = {}
        for proxy, name in trainings:
            job = {"architecture": name, **asdict(proxy)}
            left[pool.submit("proxy", job, name="proxy trainings")] = proxy, name
        while left:
            for future in pool.wait(left, _TICK_SECONDS)[0]:
                yield left.pop(future), Estimate(*future.result())
            clock.tick()
    finally:
        pool.kill_workers()


def _setting(run: Run, proxy: Proxy) -> str:
    """Return the text that names everything that the result of a training depends on besides the architecture."""
    recipe = hashlib.sha256(repr(run.finishing_recipe("scratch")).encode()).hexdigest()[:16]
    values = asdict(proxy).items()
    fields = ", ".join(f"{name} {'whole' if value is None else float(value)}" for name, value in values)
    return f"proxy training: {fields}, recipe {recipe}, seed {run.config.seed}"


def _number(value: float | None) -> float:
    return -math.inf if value is None else value
