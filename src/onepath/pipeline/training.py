"""The stage `train`: the supernet's shared weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from onepath.errors import ConfigurationError
from onepath.pipeline.context import Run, StageClock
from onepath.pipeline.materials import SUPERNET
from onepath.randomness import generator
from onepath.record import CurvePoint, save_tensors

if TYPE_CHECKING:
    from onepath.nn import Supernet
    from onepath.train import Sampler, TrainingPoint


def train_stage(run: Run) -> None:
    """Train the supernet and keep its weights in `checkpoints/supernet.safetensors`.

    Killed, it continues from its last checkpoint and ends with the same weights.
    """
    from onepath.train import train_supernet

    config = run.config
    run.latencies.prepare()
    checkpoint = run.directory.checkpoint(SUPERNET, run.checkpoint_seconds)
    with run.stage("train") as clock:
        supernet = run.build_supernet()
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
            on_update=on_update,
            compile=config.compile,
        )
        save_tensors(run.directory.weights_path(SUPERNET), supernet.state_dict())
    checkpoint.remove()


def make_sampler(run: Run, supernet: Supernet) -> Sampler:
    """The sampler of the configuration; without one, sizes are opened one by one where the space has some.

    "constrained" draws uniformly among the paths that meet the limit.
    Under two limits the paths meet the first, on MACs; the search keeps both. Of several limits on latency they meet
    the largest.
    """
    from onepath.train import ConstrainedSampler, UniformSampler, WideningSampler
    from onepath.train.widening import is_size

    name, space = run.config.sampler, supernet.space
    if name == "widening" or (name is None and any(map(is_size, space.choices))):
        recipe = run.recipe(retrain=False)
        return WideningSampler(space, recipe.epochs * run.task.updates_per_epoch(recipe.batch_size))
    if name in (None, "uniform"):
        return UniformSampler(space)
    largest_ms = max(run.config.max_latency_ms) if run.config.max_latency_ms is not None else None
    limit = run.legal_within(largest_ms).limits[0]
    if limit.table is None:
        raise ConfigurationError(
            f"sampler='constrained' needs a space whose {limit.unit} add up over its choices, but {run.config.space} "
            "is not one; use sampler='uniform'"
        )
    lowest, _ = limit.table.extremes(supernet.space)
    return ConstrainedSampler(supernet.space, limit.table, lowest, limit.maximum)


def watch(
    run: Run, clock: StageClock, curve: str, title: str
) -> tuple[Callable[[TrainingPoint], None], Callable[[int, int], None]]:
    """What a training calls: with each point of its curve, and after each update."""
    detail = ""
    begun = False

    def on_point(point: TrainingPoint) -> None:
        nonlocal detail
        detail = point_detail(point)
        store_point(run, curve, point)

    def on_update(update: int, num_updates: int) -> None:
        nonlocal begun
        if not begun:
            run.progress.begin(title, num_updates, update - 1)
            begun = True
        run.progress.advance(update, detail)
        clock.tick()

    return on_point, on_update


def point_detail(point: TrainingPoint) -> str:
    """A point of a curve as the progress shows it."""
    return f"epoch {point.epoch:.1f}, loss {point.loss:.3f}, accuracy {point.metric:.3f}"


def store_point(run: Run, curve: str, point: TrainingPoint) -> None:
    """Keep a point of a curve."""
    values = (point.update, point.epoch, point.loss, point.metric, point.learning_rate, point.seconds)
    run.directory.store.add_point(CurvePoint(curve, 0, *values))
