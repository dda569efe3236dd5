"""A run with its directory, as the stages use it, and the clock of the stage at work."""

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
        directory: the run directory, which stores everything.
        progress: where to tell how far the run is.
        checkpoint_seconds: seconds between two saves of an unfinished training.
        is_announced: whether the notes about the data have been shown.
        has_begun: whether the directory holds this run's configuration.
    """

    directory: RunDirectory
    progress: Progress
    checkpoint_seconds: float
    is_announced: bool
    has_begun: bool

    @property
    def metric_name(self) -> str:
        """Name of the metric of the data, such as "accuracy"."""
        metric = self.facts["metric"]
        name: str = metric if isinstance(metric, str) else metric["name"]
        return name

    def shown_score(self, score: float) -> str:
        """Return a score as text: the value of the metric that it stands for, with four digits after the point."""
        metric = self.facts["metric"]
        is_negative = not isinstance(metric, str) and not metric["higher_is_better"]
        return f"{-score if is_negative else score:.4f}"

    def _announce(self) -> None:
        """Show the notes about the data, once; only when work begins, so that a mistake is reported by one line."""
        if not self.is_announced:
            self.is_announced = True
            facts = self.facts
            sizes = ", ".join(f"{facts[split]:,} {split}" for split in ("train", "validation", "test"))
            self.progress.note(f"{facts['name']}: {sizes} examples of {facts['classes']} classes")
            for note in facts["notes"]:
                self.progress.note(note)

    def save_weights(self, name: str, tensors: Mapping[str, Tensor]) -> None:
        """Write the weights of a finished training, and store the digest of the file.

        Args:
            name: name of the training, such as "supernet".
            tensors: name of a tensor -> tensor.
        """
        self.keep_digest(name, save_tensors(self.directory.weights_path(name), tensors))

    def keep_digest(self, name: str, digest: str) -> None:
        """Store the digest of the file with the weights of a finished training."""
        self.digests[name] = digest
        self.directory.store.put_digest(name, digest)

    def is_done(self, stage: str) -> bool:
        """Whether a stage has finished."""
        return self.directory.store.stage(stage).done

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[StageClock]:
        """Return a context for work on a stage: its time is counted, and at the end the stage is marked as done.

        If the work raises, the time and the record are stored, and the stage is not done.
        """
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
    """The time and the record of the stage at work; the time is the sum over all processes.

    Args:
        directory: the run directory.
        name: name of the stage.

    Attributes:
        record: what later stages and the report need of the stage; stored by `save`.
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
        """Seconds spent in the stage so far."""
        return self._before + time.monotonic() - self._began

    def tick(self) -> None:
        """Store the time and the record, unless they were stored less than a second ago."""
        if time.monotonic() - self._saved >= _CLOCK_SECONDS:
            self.save()

    def save(self, *, done: bool = False) -> None:
        """Store the time and the record.

        Args:
            done: whether the stage has finished.
        """
        self._directory.store.put_stage(StageRow(self._name, self.seconds, done, self.record))
        self._saved = time.monotonic()
