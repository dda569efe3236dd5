"""Several limits on latency from one supernet: the run directory is of the first, a folder in it of each other one.

A folder is a run directory of its own, `limit-2ms/`, with the supernet and the latency table of the run around it. So
every limit has its own search, winner, random baseline, files and report, the same as a run under that limit alone.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

from onepath.runs.opened import Run
from onepath.runs.latencies import PROFILE
from onepath.runs.definition import SUPERNET
from onepath.runs.methods import METHODS
from onepath.record import RunDirectory, StageRow, save_tensors
from onepath.record.atomic import damaged_error
from onepath.record.directory import CONFIG, LIMIT_FOLDERS, RESULT, TRIALS

if TYPE_CHECKING:
    from pathlib import Path

_SHARED = ("architecture", "cost", "accuracy", "random_baseline", "files")


def folder(run: Run, ms: float) -> Path:
    """Where the run of a further limit is."""
    return run.path / LIMIT_FOLDERS.replace("*", f"{ms:.12g}ms")


def open_others(run: Run) -> list[Run]:
    """The runs of the further limits, made where they are not yet; the supernet must have been trained."""
    if run.others is None:
        run.others = []
        for ms in (run.config.max_latency_ms or ())[1:]:
            _make(run, ms)
            other = Run(
                None,
                folder(run, ms),
                data=None if run.is_loadable else run.task,
                space=run.config.space,
                device=run.config.device,
                reads_only=run.reads_only,
                progress=run.progress,
                checkpoint_seconds=run.checkpoint_seconds,
            )
            other.is_announced = True
            if "task" in run.__dict__:
                other.__dict__["task"] = run.task
            run.others.append(other)
    return run.others


def _make(run: Run, ms: float) -> None:
    """A run directory whose supernet is trained; what an earlier process has made of it stays."""
    path = folder(run, ms)
    with RunDirectory(path, create=True) as directory:
        if directory.read_config() is None:
            config = {**run.config.model_dump(mode="json"), "max_latency_ms": [ms], "out": str(path)}
            directory.write_config(config)
        store, made = directory.store, f"{path.name}/{CONFIG}"
        if store.stage("train").done:
            return
        if made in run.directory.store.digests():
            raise damaged_error(path / TRIALS)
        if METHODS[run.config.method].sampler is not None:
            digest = save_tensors(directory.weights_path(SUPERNET), run.weights(SUPERNET))
            store.put_digest(SUPERNET, digest)
        for point in run.directory.store.curves().get(SUPERNET, []):
            store.add_point(point)
        profiled = run.directory.store.stage(PROFILE)
        file = run.latencies.file
        shutil.copyfile(run.path / file, path / file)
        store.put_stage(StageRow("data", done=True, record=run.directory.store.stage("data").record))
        # The time of both counts where they were done.
        store.put_stage(StageRow(PROFILE, done=True, record=profiled.record))
        store.put_stage(StageRow("train", done=True, record=run.directory.store.stage("train").record))
        run.directory.save_file_digest(made)


def winners(run: Run, result: dict[str, Any]) -> list[dict[str, Any]]:
    """An entry for each limit on latency, in the order given: what was found, and the folder it is in ("." first)."""
    limits = run.config.max_latency_ms or ()
    results = {ms: run.directory.read_json(f"{folder(run, ms).name}/{RESULT}") for ms in limits[1:]}
    found = []
    for index, ms in enumerate(limits):
        own = result if index == 0 else results[ms]
        assert own is not None, "the reports of the other limits are written first"
        path = "." if index == 0 else folder(run, ms).name
        found.append({"max_latency_ms": ms, "path": path, **{key: own[key] for key in _SHARED}})
    return found
