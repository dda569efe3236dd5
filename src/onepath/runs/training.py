"""The stage `train`: the supernet's shared weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from onepath.runs.opened import Run, StageClock
from onepath.runs.definition import SUPERNET
from onepath.runs.methods import METHODS
from onepath.runs.seeds import forget_searches, train_searches
from onepath.randomness import generator
from onepath.record import CurvePoint

if TYPE_CHECKING:
    from onepath.nn import Supernet
    from onepath.train import CandidateCounts, Sampler, TrainingPoint


def train_stage(run: Run) -> None:
    """Train the supernet and keep its weights in `checkpoints/supernet.safetensors`.

    The stage's record tells how often each candidate of each block was trained: "counts", and "start" for the first
    updates, where the recipe has them train one path. Killed, it continues from its last checkpoint and ends with the
    same weights and counts. A method without a supernet has nothing to do here.
    """
    from onepath.train import CandidateCounts, train_supernet

    config = run.config
    run.latencies.prepare()
    if METHODS[config.method].sampler is None:
        with run.stage("train"):
            run.progress.note(f"method {config.method} trains no supernet: nothing to do in the stage train")
        return
    if METHODS[config.method].relaxed is not None:
        with run.stage("train") as clock:
            train_searches(run, clock, lambda curve, title: watch(run, clock, curve, title))
            clock.record["num_updates"] = run.num_supernet_updates
        forget_searches(run)
        return
    checkpoint = run.directory.checkpoint(SUPERNET, run.checkpoint_seconds)
    with run.stage("train") as clock:
        supernet, counts = run.build_supernet(), CandidateCounts()
        on_point, on_update = watch(run, clock, SUPERNET, "training the supernet")
        train_supernet(
            supernet,
            run.task,
            sampler=make_sampler(run, supernet),
            seed=int(generator(config.seed, "train").integers(2**31)),
            recipe=run.recipe(retrain=False),
            device=config.train_on,
            checkpoint=checkpoint,
            on_point=on_point,
            on_update=keeping_start(run, clock, counts, on_update),
            compile=config.compile,
            reduction=config.reduction or "sum",
            counts=counts,
        )
        clock.record |= {"num_updates": run.num_supernet_updates, "counts": counts.state_dict()}
        run.save_weights(SUPERNET, supernet.state_dict())
    checkpoint.remove()


def make_sampler(run: Run, supernet: Supernet) -> Sampler:
    """The sampler of the configuration's method."""
    sampler = METHODS[run.config.method].sampler
    assert sampler is not None, "the method trains a supernet"
    return sampler(run, supernet)


def keeping_start(
    run: Run, clock: StageClock, counts: CandidateCounts, on_update: Callable[[int, int], None]
) -> Callable[[int, int], None]:
    """`on_update`, which also keeps the counts of the training's first updates: those that train one path."""
    num_first = run.recipe(retrain=False).num_one_path(run.num_supernet_updates)

    def keep(update: int, num_updates: int) -> None:
        if update == num_first:
            # At once: a later process may continue behind this update.
            clock.record["start"] = {"num_updates": num_first, "counts": counts.state_dict()}
            clock.save()
        on_update(update, num_updates)

    return keep


def watch(
    run: Run, clock: StageClock, curve: str, title: str
) -> tuple[Callable[[TrainingPoint], None], Callable[[int, int], None]]:
    """What a training calls: with each point of its curve, and after each update."""
    detail = ""
    begun = False

    def on_point(point: TrainingPoint) -> None:
        nonlocal detail
        detail = point_detail(run, point)
        store_point(run, curve, point)

    def on_update(update: int, num_updates: int) -> None:
        nonlocal begun
        if not begun:
            run.progress.begin(title, num_updates, update - 1)
            begun = True
        run.progress.advance(update, detail)
        clock.tick()

    return on_point, on_update


def point_detail(run: Run, point: TrainingPoint) -> str:
    """A point of a curve as the progress shows it."""
    metric = run.facts.get("metric", "accuracy")
    return f"epoch {point.epoch:.1f}, loss {point.loss:.3f}, {metric} {point.metric:.3f}"


def store_point(run: Run, curve: str, point: TrainingPoint) -> None:
    """Keep a point of a curve, its metric as the task's score."""
    score = run.task.score(point.metric)
    values = (point.update, point.epoch, point.loss, score, point.learning_rate, point.seconds)
    run.directory.store.add_point(CurvePoint(curve, 0, *values))
