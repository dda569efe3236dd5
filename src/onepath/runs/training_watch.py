"""What a training calls while it runs: its points are stored, its progress told, its time kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from onepath.record import CurvePoint

if TYPE_CHECKING:
    from onepath.runs.workspace import StageClock, Workspace
    from onepath.train import TrainingPoint


def watch(
    run: Workspace, clock: StageClock, curve: str, title: str
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


def point_detail(run: Workspace, point: TrainingPoint) -> str:
    """A point of a curve as the progress shows it."""
    metric = run.facts.get("metric", "accuracy")
    name = metric if isinstance(metric, str) else metric["name"]
    return f"epoch {point.epoch:.1f}, loss {point.loss:.3f}, {name} {point.metric:.3f}"


def store_point(run: Workspace, curve: str, point: TrainingPoint) -> None:
    """Keep a point of a curve, its metric as the task's score."""
    score = run.task.score(point.metric)
    values = (point.update, point.epoch, point.loss, score, point.learning_rate, point.seconds)
    run.directory.store.add_point(CurvePoint(curve, 0, *values))
