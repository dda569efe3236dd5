"""`onepath run`, and its stages one by one."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from onepath.cli import options as o
from onepath.cli.output import print_json, print_limits, print_result, write
from onepath.cli.run_options import takes_run_options
from onepath.own_code import is_own
from onepath.temporary import remove_abandoned

if TYPE_CHECKING:
    from onepath.record import StageRow


@takes_run_options
def run(given: dict[str, Any]) -> None:
    """Train, search, retrain, export and report; the same command again, or --out alone, continues where it stopped."""
    from onepath.cli.progress import make_progress
    from onepath.runs import Run, finish

    remove_abandoned()
    with Run(_config(given), fresh=given["fresh"], progress=make_progress()) as opened:
        result = finish(opened)
    if given["json"]:
        print_json(result.result)
    else:
        print_result(result.path, result.result)


@partial(takes_run_options, takes_directory=True)
def train(given: dict[str, Any]) -> None:
    """Begin a run and train its supernet; with the run directory alone, continue the run there."""
    if continues(given):
        _stage("train", given["out"], given["json"], named=(given["space"], given["device"], given["method"]))
    else:
        _stage("train", given["out"], given["json"], _config(given), given["fresh"])


Limit = Annotated[
    list[str] | None,
    typer.Option(
        "--limit",
        metavar="NAME=N",
        help="Another limit to search a trained run under, such as max_macs=3M; may be repeated.",
    ),
]


SearchDevice = Annotated[
    str | None,
    typer.Option(
        "--device",
        help="Device of --max-latency-ms if the run began without one; or the run's own exec:command or "
        "path/to/file.py:Class again.",
    ),
]


def search(
    directory: o.Directory = None,
    out: o.RunOut = None,
    max_macs: o.MaxMacs = None,
    max_params: o.MaxParams = None,
    max_latency_ms: o.MaxLatencyMs = None,
    limit: Limit = None,
    space: o.OwnSpace = None,
    device: SearchDevice = None,
    method: o.OwnMethod = None,
    json: o.Json = False,
) -> None:
    """Search a run's trained supernet under its limits, or under others in folders of their own."""
    from onepath import runs
    from onepath.cli.progress import make_progress

    path = o.run_directory("search", directory, out)
    given = {"max_macs": max_macs, "max_params": max_params, "max_latency_ms": max_latency_ms}
    limits = {name: value for name, value in given.items() if value is not None}
    limits |= {name: str(value) for name, value in o.pairs(limit or (), "--limit").items()}
    if not limits:
        _stage("search", path, json, named=(space, device, method))
        return
    runs.search(path, limits=limits, space=space, device=device, method=method, progress=make_progress())
    if json:
        print_json(runs.load_run(path).result)
    else:
        print_limits(Path(path))


def retrain(
    directory: o.Directory = None,
    out: o.RunOut = None,
    space: o.OwnSpace = None,
    device: o.OwnDevice = None,
    method: o.OwnMethod = None,
    json: o.Json = False,
) -> None:
    """Retrain a run's winner and its random baseline, and test them."""
    _stage("retrain", o.run_directory("retrain", directory, out), json, named=(space, device, method))


def export(
    directory: o.Directory = None,
    out: o.RunOut = None,
    space: o.OwnSpace = None,
    device: o.OwnDevice = None,
    method: o.OwnMethod = None,
    json: o.Json = False,
) -> None:
    """Write a run's ONNX, torch.export and safetensors files, and compare them."""
    _stage("export", o.run_directory("export", directory, out), json, named=(space, device, method))


def report(directory: o.Directory = None, out: o.RunOut = None, json: o.Json = False) -> None:
    """Write a run's result.json and report.html; if it has not finished, only a report of what there is so far."""
    from onepath import runs
    from onepath.cli.progress import make_progress

    path = o.run_directory("report", directory, out)
    _tell("report", Path(path), runs.report(path, progress=make_progress()), json)


def continues(given: Mapping[str, Any]) -> bool:
    """Whether the options only name a run to continue: --out alone, or an existing run with the user's own code."""
    from onepath.record.directory import CONFIG

    asked = {name for name, value in given.items() if value is not None and name not in ("fresh", "json")}
    code = {"space", "device", *(("method",) if is_own(given.get("method")) else ())}
    if given["fresh"] or "out" not in asked or not asked <= {"out", *code}:
        return False
    return asked == {"out"} or (Path(given["out"]).expanduser() / CONFIG).is_file()


def _config(given: dict[str, Any]) -> Any:
    """Make the configuration: given options first, then those of the --config file, then those of the run in --out."""
    from onepath.runs import continued_config, make_config

    own = {name: value for name, value in given.items() if name not in ("config", "fresh", "json")}
    options = o.merged(own, given["config"])
    return make_config(options) if given["fresh"] else continued_config(options)


def _stage(
    stage: str,
    out: str | None,
    json: bool,
    config: Any = None,
    fresh: bool = False,
    named: tuple[str | None, str | None, str | None] = (None, None, None),
) -> None:
    from onepath.cli.progress import make_progress
    from onepath.runs import Run, run_stage

    path = None if config is not None else Path(str(out))
    space, device, method = named
    progress = make_progress()
    with Run(
        config, path, fresh=fresh, progress=progress, space=space, device=device, method=method
    ) as opened:
        run_stage(opened, stage)
        directory = opened.directory.path
        row = opened.directory.store.stage(stage)
    _tell(stage, directory, row, json)


def _tell(stage: str, directory: Path, row: StageRow, json: bool) -> None:
    if json:
        print_json({"stage": stage, "path": str(directory), "done": row.done, "seconds": row.seconds})
    elif row.done:
        write(f"{stage} is done in {directory}, {row.seconds:.1f} s")
    else:
        write(f"the run in {directory} has not finished: report.html shows what there is")
