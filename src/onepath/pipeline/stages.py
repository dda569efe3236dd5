"""The stages in order, and one stage at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from onepath.errors import RunDirectoryError
from onepath.pipeline.context import STAGES, Run
from onepath.pipeline.exporting import export_stage
from onepath.pipeline.progress import Progress
from onepath.pipeline.reporting import report_stage
from onepath.pipeline.retraining import retrain_stage
from onepath.pipeline.searching import search_stage
from onepath.pipeline.several import open_others
from onepath.pipeline.training import train_stage
from onepath.record.directory import ARCHITECTURE, REPORT, RESULT, WEIGHTS

_FUNCTIONS: Mapping[str, Callable[[Run], None]] = {
    "train": train_stage,
    "search": search_stage,
    "retrain": retrain_stage,
    "export": export_stage,
    "report": report_stage,
}


def run_stage(run: Run, stage: str) -> None:
    """Do one stage, or what is left of it; nothing if it has finished.

    Raises:
        RunDirectoryError: an earlier stage has not finished; the message says which command does it.
    """
    for earlier in STAGES[: STAGES.index(stage)]:
        if not run.is_done(earlier):
            path = run.directory.path
            raise RunDirectoryError(
                f"{stage} needs a finished {earlier}, but {path} has none; run `onepath {earlier} --out {path}`"
            )
    if is_complete(run, stage):
        run.progress.note(f"{stage} is done already")
    else:
        _do(run, stage)


def run_all(run: Run) -> None:
    """Do all stages in order, each from where it stopped; nothing if all have finished."""
    for position, stage in enumerate(STAGES):
        if not is_complete(run, stage):
            for later in STAGES[position:]:
                if not is_complete(run, later) or later == "report":
                    _do(run, later)
            return


def _do(run: Run, stage: str) -> None:
    """What is left of a stage, for this run and for those of further limits, which share its supernet."""
    others = [] if stage == "train" else open_others(run)
    if stage == "report":
        # This run's report tells of the others.
        for other in others:
            _FUNCTIONS[stage](other)
    if stage == "report" or not _is_complete_alone(run, stage):
        _FUNCTIONS[stage](run)
    for other in others:
        if not _is_complete_alone(other, stage):
            run.progress.note(f"{stage} under {other.config.limit_ms:g} ms, in {other.path}")
            _FUNCTIONS[stage](other)


def is_complete(run: Run, stage: str) -> bool:
    """Whether a stage has finished, for each limit, and its files, which the user may have deleted, are there."""
    if not _is_complete_alone(run, stage):
        return False
    return stage == "train" or all(_is_complete_alone(other, stage) for other in open_others(run))


def _is_complete_alone(run: Run, stage: str) -> bool:
    files: Mapping[str, tuple[str, ...]] = {
        "export": (ARCHITECTURE, WEIGHTS),
        "report": (RESULT, REPORT),
    }
    return run.is_done(stage) and all((run.directory.path / name).is_file() for name in files.get(stage, ()))


def train(path: Path | str, *, progress: Progress | None = None, data: object = None) -> None:
    """Train the supernet of a run directory; see `run_stage`."""
    _one(path, "train", progress, data)


def search(path: Path | str, *, progress: Progress | None = None, data: object = None) -> None:
    """Search a run directory's trained supernet; see `run_stage`."""
    _one(path, "search", progress, data)


def retrain(path: Path | str, *, progress: Progress | None = None, data: object = None) -> None:
    """Retrain a run directory's winner and its random baseline; see `run_stage`."""
    _one(path, "retrain", progress, data)


def export(path: Path | str, *, progress: Progress | None = None, data: object = None) -> None:
    """Export a run directory's retrained winner; see `run_stage`."""
    _one(path, "export", progress, data)


def report(path: Path | str, *, progress: Progress | None = None, data: object = None) -> None:
    """Write a run directory's results and report; see `run_stage`."""
    _one(path, "report", progress, data)


def _one(path: Path | str, stage: str, progress: Progress | None, data: object) -> None:
    with Run(None, Path(path), progress=progress, data=data) as run:
        run_stage(run, stage)
