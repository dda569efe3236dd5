"""What a run works with: its definition, its directory, the progress it tells, and the clock of the stage at work."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from onepath.errors import UserError
from onepath.own_code import blaming_own_code
from onepath.record import RunDirectory, StageRow, save_tensors
from onepath.runs.definition import RunDefinition
from onepath.runs.progress import Progress

if TYPE_CHECKING:
    from torch import Tensor

STAGES = ("train", "search", "retrain", "export", "report")
_CLOCK_SECONDS = 1.0


class Workspace(RunDefinition):
    """A run with its directory.

    Attributes:
        directory: where everything is kept.
        progress: where to tell.
        checkpoint_seconds: time between two saves of an unfinished training.
        is_announced: whether the data have been described.
        has_begun: whether the directory holds this run's configuration.
    """

    directory: RunDirectory
    progress: Progress
    checkpoint_seconds: float
    is_announced: bool
    has_begun: bool

    @property
    def metric_name(self) -> str:
        """What the data are judged by."""
        metric = self.facts["metric"]
        name: str = metric if isinstance(metric, str) else metric["name"]
        return name

    def shown_score(self, score: float) -> str:
        """A score as the metric that it stands for."""
        metric = self.facts["metric"]
        is_negative = not isinstance(metric, str) and not metric["higher_is_better"]
        return f"{-score if is_negative else score:.4f}"

    def _announce(self) -> None:
        """Say what the data are, once; not before there is work, so that a mistake ends with its one line alone."""
        if not self.is_announced:
            self.is_announced = True
            facts = self.facts
            sizes = ", ".join(f"{facts[split]:,} {split}" for split in ("train", "validation", "test"))
            self.progress.note(f"{facts['name']}: {sizes} examples of {facts['classes']} classes")
            for note in facts["notes"]:
                self.progress.note(note)

    def save_weights(self, name: str, tensors: Mapping[str, Tensor]) -> None:
        """Keep the weights of a finished training, and their digest."""
        self.keep_digest(name, save_tensors(self.directory.weights_path(name), tensors))

    def keep_digest(self, name: str, digest: str) -> None:
        """Keep the digest of the weights of a finished training."""
        self.digests[name] = digest
        self.directory.store.put_digest(name, digest)

    def is_done(self, stage: str) -> bool:
        """Whether a stage has finished."""
        return self.directory.store.stage(stage).done

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[StageClock]:
        """Work on a stage: its time is counted, and at the end it is marked as done."""
        self._announce()
        clock = StageClock(self.directory, name)
        clock.save()
        try:
            with blaming_own_code():
                yield clock
        except BaseException:
            # The error that ended the stage matters more than one in noting its time.
            with contextlib.suppress(UserError):
                clock.save()
            raise
        finally:
            self.progress.finish()
        clock.save(done=True)


class StageClock:
    """The time and the record of the stage at work; the time adds up over processes.

    Attributes:
        record: what later stages need; kept by `save`.
    """

    def __init__(self, directory: RunDirectory, name: str) -> None:
        self._directory = directory
        row = directory.store.stage(name)
        self._name = name
        self._before = row.seconds
        self._began = time.monotonic()
        self._saved = self._began
        self.record = dict(row.record)

    @property
    def seconds(self) -> float:
        """Time spent in the stage so far."""
        return self._before + time.monotonic() - self._began

    def tick(self) -> None:
        """Keep the time, if it has not been kept for a while."""
        if time.monotonic() - self._saved >= _CLOCK_SECONDS:
            self.save()

    def save(self, *, done: bool = False) -> None:
        """Keep the time and the record."""
        self._directory.store.put_stage(StageRow(self._name, self.seconds, done, self.record))
        self._saved = time.monotonic()
