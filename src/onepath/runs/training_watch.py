"""The callbacks of a training: they store its points, tell its progress and keep its time."""

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
    """Return the two callbacks of a training: one for each point of its curve, one for each update.

    Args:
        run: the run that stores the points and tells the progress.
        clock: clock of the stage at work.
        curve: name of the curve.
        title: title of the progress.
    """
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
    """Return a point of a curve as text for the progress."""
    metric = run.facts.get("metric", "accuracy")
    name = metric if isinstance(metric, str) else metric["name"]
    return f"epoch {point.epoch:.1f}, loss {point.loss:.3f}, {name} {point.metric:.3f}"


def store_point(run: Workspace, curve: str, point: TrainingPoint) -> None:
    """Store a point of a curve, with the task's score in place of its metric."""
    score = run.task.score(point.metric)
    values = (point.update, point.epoch, point.loss, score, point.learning_rate, point.seconds)
    run.directory.store.add_point(CurvePoint(curve, 0, *values))


class JointBar:
    """One progress bar for several trainings, which counts the updates of all of them.

    The bar begins when each of the first trainings has told an update, so that updates of earlier processes do not
    count as speed.

    Args:
        progress: where the bar is shown.
        title: title of the bar.
        num_planned: number of trainings in all.
        num_trained: number of trainings that earlier processes have finished.
        num_first: number of trainings that begin at the same time.

    Attributes:
        detail: text to show beside the bar.
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
        """Tell that a training has made `done` of its `num_updates` updates; every training makes the same number."""
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
        """Tell that a training has ended."""
        self._done.pop(name, None)
        self._num_trained += 1
