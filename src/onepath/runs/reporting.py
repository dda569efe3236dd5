"""The stage `report`: `result.json`, `report.html`, and TensorBoard's events if TensorBoard is installed."""

from __future__ import annotations

import importlib.util

from onepath.record import RunRecord
from onepath.record.directory import RESULT
from onepath.runs.opened import Run
from onepath.runs.result import make_result


def report_stage(run: Run) -> None:
    """Write the result and the report of the run, from the trial store alone."""
    from onepath.report import write_report

    with run.stage("report"):
        run.progress.begin("writing the report", 3)
        run.directory.write_json(RESULT, make_result(run))
        run.progress.advance(1)
        write_report(run.directory.path)
        run.progress.advance(2)
        if importlib.util.find_spec("tensorboard") is not None:
            try:
                write_events(RunRecord.load(run.directory.path))
            except OSError as error:
                run.progress.note(f"no TensorBoard events: {error}")
        run.progress.advance(3)


def write_events(record: RunRecord) -> None:
    """Write one TensorBoard file with the training curves and the search; an older file is deleted.

    The file is made at the end from the trial store, so that a run that was killed and continued has each point once.
    """
    from torch.utils.tensorboard import SummaryWriter

    for old in record.path.glob("events.out.tfevents.*"):
        old.unlink()
    with SummaryWriter(str(record.path)) as writer:
        for curve, points in record.curves.items():
            for point in points:
                for name in ("loss", "metric", "learning_rate"):
                    _add(writer, f"{curve}/{name}", getattr(point, name), point.update_number)
        for trial in record.trials:
            what = "accuracy" if record.config.get("proxy") is None else "score"
            _add(writer, f"search/{what}", trial.accuracy, trial.number)
            _add(writer, "search/macs", trial.costs.get("macs"), trial.number)


def _add(writer: object, tag: str, value: float | None, step: int) -> None:
    if value is not None:
        writer.add_scalar(tag, value, step)  # type: ignore[attr-defined]
