"""Runs under several limits that share one supernet: each limit after the first has a folder in the run directory.

A folder such as `limit-2ms/` or `limit-2000000macs/` is a run directory of its own, with copies of the supernet and the
latency table of the run around it. So every limit has its own search, winner, random baseline, files and report, the
same as a run under that limit alone.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from onepath import latency
from onepath.errors import ConfigurationError, InfeasibleError
from onepath.randomness import generator
from onepath.record import RunDirectory, StageRow, save_tensors
from onepath.record.atomic import damaged_error
from onepath.record.directory import CONFIG, LIMIT_FOLDERS, RESULT, TRIALS
from onepath.runs.definition import INITIAL, SUPERNET
from onepath.runs.latencies import PROFILE
from onepath.runs.making import make_config
from onepath.runs.opened import Run
from onepath.runs.resolving import resolve_percentages

if TYPE_CHECKING:
    from pathlib import Path

    from onepath.runs.config import RunConfig

_SHARED = ("architecture", "cost", "accuracy", "metric", "costs", "random_baseline", "files")


def folder(run: Run, limits: Mapping[str, float]) -> Path:
    """Return the folder of the run under further limits; its name holds the limits that differ from the first ones.

    Args:
        run: the run around the folder.
        limits: option name -> limit.
    """
    first = run.config.at_limits()[0]
    parts = [
        f"{value:.12g}{name.removeprefix('max_').removeprefix('latency_')}"
        for name, value in limits.items()
        if value != first.get(name)
    ]
    return run.path / LIMIT_FOLDERS.replace("*", "-".join(parts))


def open_others(run: Run) -> list[Run]:
    """Return the runs under the further limits, which are made if they do not exist yet and kept in `run.others`.

    The supernet of `run` must have been trained.
    """
    if run.others is None:
        run.others = []
        for limits in _further(run):
            run.others.append(open_folder(run, limits))
    return run.others


def _further(run: Run) -> list[dict[str, float]]:
    """Return the limits of the configuration after the first ones, then the limits that were asked for later."""
    listed = run.config.at_limits()[1:]
    asked = run.directory.store.stage(ASKED).record.get("limits", [])
    return [*listed, *(dict(limits) for limits in asked)]


ASKED = "asked"
"""Name of the stage row with the limits that were asked for after the run had begun."""


def on_device(run: Run, device: str | None) -> dict[str, Any]:
    """Return option name -> value of the device for limits on latency that a run is asked under.

    Args:
        run: a run; if it has a device, that one applies.
        device: one of onepath's devices, for a run that began without one; kept, so that it need not be named again.

    Raises:
        ConfigurationError: the run began without a device, and none is named.
    """
    row = run.directory.store.stage(ASKED)
    names = ("device", "device_threads")
    if run.config.device is not None:
        return {name: getattr(run.config, name) for name in names}
    known = row.record.get("device")
    if known is None and device is None:
        raise ConfigurationError(
            "max_latency_ms is a limit on a device, but this run began without one; give device, one of "
            "`onepath devices`"
        )
    if device is not None and (known is None or known["device"] != device):
        if known is not None:
            raise ConfigurationError(
                f"a run is asked on one device, {known['device']}, but got {device}; give that one, or begin another "
                "run"
            )
        known = {"device": device, "device_threads": latency.device(device).threads}
        run.directory.store.put_stage(StageRow(ASKED, 0.0, True, {**row.record, "device": known}))
    return dict(known or {})


def _config(run: Run, limits: Mapping[str, float]) -> RunConfig:
    """Return the configuration of the run in the folder of these limits."""
    config = run.config.at(limits, folder(run, limits))
    if "max_latency_ms" not in limits or config.device is not None:
        return config
    return config.model_copy(update=on_device(run, None))


def ask_again(run: Run, limits: Mapping[str, float]) -> Run:
    """Return the run under limits that a trained run did not begin with; if its folder exists, it is continued.

    Args:
        run: the run whose supernet is trained.
        limits: option name -> limit.

    Raises:
        ConfigurationError: the limits are those of the run itself.
        InfeasibleError: no architecture meets the limits.
    """
    if dict(limits) == run.limits:
        raise ConfigurationError(
            "a run is asked again under other limits, but these are its own; give others, or read its report"
        )
    if "max_latency_ms" in limits and run.config.limit_ms is None:
        _check_with_table(run, limits)
    else:
        run.legal(limits).sample(1, generator(run.config.seed, "feasible"))
    known = _further(run)
    if dict(limits) not in known:
        row = run.directory.store.stage(ASKED)
        record = {**row.record, "limits": [*row.record.get("limits", []), dict(limits)]}
        run.directory.store.put_stage(StageRow(ASKED, 0.0, True, record))
    for other in open_others(run):
        if other.limits == dict(limits):
            return other
    run.others = [*(run.others or []), open_folder(run, limits)]
    return run.others[-1]


def _check_with_table(run: Run, limits: Mapping[str, float]) -> None:
    """Raise if no architecture meets the limits, by a latency table that the folder gets; it is removed then."""
    other = open_folder(run, limits)
    try:
        other.latencies.prepare()
        other.legal(limits).sample(1, generator(run.config.seed, "feasible"))
    except InfeasibleError:
        other.close()
        shutil.rmtree(folder(run, limits))
        raise
    other.close()


def make_limits(run: Run, limits: Mapping[str, Any], device: str | None = None) -> list[dict[str, float]]:
    """Check limits as the user gave them, and return option name -> limit for each winner.

    Args:
        run: the run that is asked again; its space, device and model apply.
        limits: option name -> limits, such as "2M,3M", or "60%" of the converted model's cost.
        device: see `on_device`.

    Raises:
        ConfigurationError: a limit has the wrong form or is out of its range.
    """
    others = dict.fromkeys(run.config.limits)
    kept = {"model": run.config.model} if run.config.model is not None else {}
    if limits.get("max_latency_ms") is not None:
        kept |= on_device(run, device)
    asked = make_config({"space": run.config.space, **others, **kept, **limits})
    return resolve_percentages(run, asked)[0].at_limits()


def open_folder(run: Run, limits: Mapping[str, float]) -> Run:
    """Open the run in the folder of these limits; the folder is made if it does not exist yet."""
    _make(run, limits)
    config = _config(run, limits)
    objects = run.objects if run.is_loadable else dataclasses.replace(run.objects, data=run.task)
    other = Run(
        config,
        folder(run, limits),
        given=objects,
        space=run.config.space,
        device=config.device,
        reads_only=run.reads_only,
        progress=run.progress,
        checkpoint_seconds=run.checkpoint_seconds,
    )
    other.is_announced, other.root = True, run.root
    if "task" in run.__dict__:
        other.__dict__["task"] = run.task
    return other


def _make(run: Run, limits: Mapping[str, float]) -> None:
    """Make a run directory whose supernet is already trained; what an earlier process has done in it is kept."""
    path = folder(run, limits)
    with RunDirectory(path, create=True) as directory:
        if directory.read_config() is None:
            directory.write_config(_config(run, limits).as_dict())
        store, made = directory.store, f"{path.name}/{CONFIG}"
        if store.stage("train").done:
            return
        if made in run.directory.store.digests():
            raise damaged_error(path / TRIALS)
        for name in (SUPERNET, INITIAL):
            if name in run.digests:
                store.put_digest(name, save_tensors(directory.weights_path(name), run.weights(name)))
        for point in run.directory.store.curves().get(SUPERNET, []):
            store.add_point(point)
        profiled = run.directory.store.stage(PROFILE)
        if profiled.done:
            file = run.latencies.file
            shutil.copyfile(run.path / file, path / file)
            directory.save_file_digest(file)
        store.put_stage(StageRow("data", done=True, record=run.directory.store.stage("data").record))
        # Without their time, which counts in the run that profiled and trained.
        store.put_stage(StageRow(PROFILE, done=profiled.done, record=profiled.record))
        store.put_stage(StageRow("train", done=True, record=run.directory.store.stage("train").record))
        run.directory.save_file_digest(made)


def winners(run: Run, result: dict[str, Any]) -> list[dict[str, Any]]:
    """Return an entry of `result.json` for each limit, in the order given: what was found, and its folder.

    The first entry is the run itself, with folder ".". An entry without a limit on latency has no latency, which is
    only a measured time then; `result.json` in the entry's folder has it.

    Args:
        run: the run around the folders.
        result: the result of the run itself.
    """
    found: list[dict[str, Any]] = []
    for index, limits in enumerate([run.limits, *_further(run)]):
        path = "." if index == 0 else folder(run, limits).name
        own = result if index == 0 else run.directory.read_json(f"{path}/{RESULT}")
        if own is None or not limits:
            continue  # not finished yet, or a run without any limit
        kept = {key: own.get(key) for key in _SHARED}
        if "max_latency_ms" not in limits:
            counted = own["cost"].items()
            kept["cost"] = {name: value for name, value in counted if not name.startswith("latency")}
        found.append({"max_latency_ms": limits.get("max_latency_ms"), "limits": limits, "path": path, **kept})
    return found
