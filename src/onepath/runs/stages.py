"""Do the stages of a run: all of them in order, or one at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypedDict, Unpack

from onepath.errors import DirectoryInUseError, RunDirectoryError, UnnamedCodeError
from onepath.methods import Method
from onepath.own_code import is_own
from onepath.record import RunDirectory, RunRecord, StageRow
from onepath.record.directory import ARCHITECTURE, ONNX, PROGRAM, REPORT, RESULT, WEIGHTS
from onepath.runs.definition import Given
from onepath.runs.exporting import export_stage
from onepath.runs.limit_folders import ask_again, make_limits, open_others
from onepath.runs.opened import Run
from onepath.runs.progress import Progress
from onepath.runs.reporting import report_stage
from onepath.runs.retraining import retrain_stage
from onepath.runs.searching import search_stage
from onepath.runs.training import train_stage
from onepath.runs.workspace import STAGES

_FUNCTIONS: Mapping[str, Callable[[Run], None]] = {
    "train": train_stage,
    "search": search_stage,
    "retrain": retrain_stage,
    "export": export_stage,
    "report": report_stage,
}


def run_stage(run: Run, stage: str) -> None:
    """Do one stage, or what is left of it; do nothing if it has finished.

    Args:
        run: an open run.
        stage: one of `STAGES`.

    Raises:
        RunDirectoryError: an earlier stage has not finished; the message names the command that does that stage.
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
    """Do all stages in order, each from where it stopped; do nothing if all have finished."""
    for position, stage in enumerate(STAGES):
        if not is_complete(run, stage):
            for later in STAGES[position:]:
                if not is_complete(run, later) or later == "report":
                    _do(run, later)
            return


def _do(run: Run, stage: str) -> None:
    """Do what is left of a stage, for this run and for the runs under further limits, which share its supernet."""
    others = [] if stage == "train" else open_others(run)
    if stage == "report":
        # A search under further limits may have been interrupted. The others come first: this run's report shows
        # their results.
        others = [other for other in others if all(map(other.is_done, STAGES[:-1]))]
        for other in others:
            _do_alone(other, stage)
    if stage == "report" or not _is_complete_alone(run, stage):
        _do_alone(run, stage)
    for other in others:
        if not _is_complete_alone(other, stage):
            under = ", ".join(f"{name} {value:g}" for name, value in other.limits.items())
            run.progress.note(f"{stage} under {under}, in {other.path}")
            _do_alone(other, stage)


def _do_alone(run: Run, stage: str) -> None:
    _FUNCTIONS[stage](run)
    if stage == "export":
        for name in (WEIGHTS, PROGRAM, ONNX):
            run.directory.save_file_digest(name)


def is_complete(run: Run, stage: str) -> bool:
    """Whether a stage has finished under each limit, and its files are present and unchanged."""
    if not _is_complete_alone(run, stage):
        return False
    return stage == "train" or all(_is_complete_alone(other, stage) for other in open_others(run))


def _is_complete_alone(run: Run, stage: str) -> bool:
    return run.is_done(stage) and all(run.directory.is_as_written(name) for name in _expected(run, stage))


def _expected(run: Run, stage: str) -> list[str]:
    """Return the files of a finished stage; a format that the network cannot be written in has no figure, no file."""
    if stage == "report":
        return [RESULT, REPORT]
    if stage != "export":
        return []
    figures = run.directory.store.stage(stage).record
    optional = {PROGRAM: "pt2_max_abs_error", ONNX: "onnx_max_abs_error"}
    return [ARCHITECTURE, WEIGHTS, *(name for name, key in optional.items() if figures.get(key) is not None)]


class StageOptions(TypedDict, total=False):
    """The optional arguments of the functions that do one stage of a run directory.

    The user's own code, and objects given in Python, must be given again, because a run directory may confirm which
    code is run, but not choose it.

    Attributes:
        data: the task or arrays, if the run began with data given in Python.
        space: path/to/file.py:function, if the run began with a space of the user's own; the module or function, if it
            began with one given in Python.
        device: exec:command or path/to/file.py:Class, if the run began with a device of the user's own.
        method: path/to/file.py:Class, if the run began with a method of the user's own; the class, if it began with
            one given in Python.
        progress: where to tell how far the stage is; None tells nothing.
    """

    data: object
    space: object
    device: str | None
    method: type[Method] | str | None
    progress: Progress | None


def train(path: Path | str, **options: Unpack[StageOptions]) -> None:
    """Train the supernet of a run directory; see `run_stage` and `StageOptions`."""
    _one(path, "train", options)


def search(
    path: Path | str, *, limits: Mapping[str, Any] | None = None, **options: Unpack[StageOptions]
) -> None:
    """Search a run directory's trained supernet; see `run_stage` and `StageOptions`.

    Args:
        path: the run directory.
        limits: option name -> limits other than the run's own. Each winner under them is searched, finished, exported
            and reported in a folder of its own; None searches under the run's own limits.
        options: see `StageOptions`.

    Raises:
        ConfigurationError: a limit has the wrong form, or the limits are the run's own.
        InfeasibleError: no architecture meets the limits.
    """
    if not limits:
        _one(path, "search", options)
        return
    device = _new_device(path, options.get("device"))
    opened: StageOptions = options if device is None else {**options, "device": None}
    with _opened(path, opened) as run:
        for stage in STAGES[:1]:
            if not run.is_done(stage):
                run_stage(run, stage)
        asked = make_limits(run, limits, device)
        for single in [each for each in asked if dict(each) != run.limits] or asked:
            run_all(ask_again(run, single))
        if run.is_done(STAGES[-1]):
            report_stage(run)


def _new_device(path: Path | str, device: str | None) -> str | None:
    """Return the device if it is one of onepath's and the run began without one, so that there is none to confirm."""
    if device is None or is_own(device):
        return None
    with RunDirectory(Path(path).expanduser()) as directory:
        stored = directory.read_config() or {}
    return device if stored.get("device") is None else None


def retrain(path: Path | str, **options: Unpack[StageOptions]) -> None:
    """Retrain a run directory's winner and its random baseline; see `run_stage` and `StageOptions`."""
    _one(path, "retrain", options)


def export(path: Path | str, **options: Unpack[StageOptions]) -> None:
    """Export a run directory's retrained winner; see `run_stage` and `StageOptions`."""
    _one(path, "export", options)


def report(path: Path | str, **options: Unpack[StageOptions]) -> StageRow:
    """Write `result.json` and the report of a run directory; only the report if the run has not finished or is at work.

    The trial store is read, but neither the data nor code of the user's own, so `space` and `device` change nothing.
    If the method of the run is the user's own, `result.json` is written only if `method` is given.

    Returns:
        The row of the stage `report`; it is not done if the run has not finished.
    """
    from onepath.report import write_report

    row = StageRow("report")
    progress, method = options.get("progress"), options.get("method")
    try:
        with Run(None, Path(path), reads_only=True, method=method, progress=progress) as run:
            if all(run.is_done(stage) for stage in STAGES[:-1]):
                run_stage(run, "report")
                return run.directory.store.stage("report")
    except DirectoryInUseError:
        pass
    except UnnamedCodeError:
        row = StageRow("report", **RunRecord.load(path).stages.get("report", {}))
    write_report(Path(path).expanduser())
    return row


def _one(path: Path | str, stage: str, options: StageOptions) -> None:
    with _opened(path, options) as run:
        run_stage(run, stage)


def _opened(path: Path | str, options: StageOptions) -> Run:
    space = options.get("space")
    named = space if space is None or isinstance(space, str) else None
    given = Given(options.get("data"), None if named is space else space)
    return Run(
        None,
        Path(path),
        given=given,
        space=named,
        device=options.get("device"),
        method=options.get("method"),
        progress=options.get("progress"),
    )
