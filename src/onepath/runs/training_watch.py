"""What a training calls while it runs: its points are stored, its progress told, its time kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from onepath.record import CurvePoint

if TYPE_CHECKING:
    from onepath.runs.progress import Progress
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


class JointBar:
    """One bar for several trainings: their updates together.

    It begins when every one of the first ones has been heard of, so that what earlier processes did is not taken for
    speed.

    Args:
        progress: where to tell.
        title: of the bar.
        num_planned: trainings in all.
        num_trained: of them before this process.
        num_first: that begin at the same time.

    Attributes:
        detail: what to show beside it.
    """

    def __init__(
        self, progress: Progress, title: str, num_planned: int, num_trained: int, num_first: int
    ) -> None:
        self.detail = ""
        self._progress, self._title = progress, title
        self._num_planned, self._num_trained = num_planned, num_trained
        self._num_awaited = num_trained + num_first
        self._done: dict[str, int] = {}
        self._before: dict[str, int] = {}
        self._has_begun = False

    def advance(self, name: str, done: int, num_updates: int) -> None:
        """A training has made `done` of `num_updates` updates, which are as many for each."""
        self._before.setdefault(name, done - 1)
        self._done[name] = done
        if not self._has_begun and self._num_trained + len(self._done) >= self._num_awaited:
            self._has_begun = True
            before = self._num_trained * num_updates + sum(self._before[name] for name in self._done)
            self._progress.finish()
            self._progress.begin(self._title, self._num_planned * num_updates, before)
        if self._has_begun:
            self._progress.advance(self._num_trained * num_updates + sum(self._done.values()), self.detail)

    def trained(self, name: str) -> None:
        """A training has ended."""
        self._done.pop(name, None)
        self._num_trained += 1
