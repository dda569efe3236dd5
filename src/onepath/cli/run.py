"""`onepath run`, and its stages one by one."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

from onepath.cli import options as o
from onepath.cli.output import print_json, print_result, write
from onepath.temporary import remove_abandoned

if TYPE_CHECKING:
    from onepath.record import StageRow


def _run_options(
    data: o.Data = None,
    test_data: o.TestData = None,
    data_root: o.DataRoot = None,
    input_size: o.InputSize = None,
    fit: o.Fit = None,
    channels: o.Channels = None,
    kind: o.DataKind = None,
    space: o.Space = None,
    width: o.Width = None,
    space_argument: o.SpaceArgument = None,
    method: o.Method = None,
    max_macs: o.MaxMacs = None,
    max_params: o.MaxParams = None,
    max_layers: o.MaxLayers = None,
    max_latency_ms: o.MaxLatencyMs = None,
    device: o.Device = None,
    device_threads: o.DeviceThreads = None,
    latency_table: o.LatencyTable = None,
    epochs: o.Epochs = None,
    batch_size: o.BatchSize = None,
    learning_rate: o.LearningRate = None,
    sampler: o.SamplerName = None,
    reduction: o.ReductionName = None,
    rate: o.Rate = None,
    num_ghost_batches: o.NumGhostBatches = None,
    order: o.Order = None,
    gates: o.Gates = None,
    guard: o.GuardName = None,
    max_skips: o.MaxSkips = None,
    skip_dropout: o.SkipDropout = None,
    warmup_epochs: o.WarmupEpochs = None,
    num_seeds: o.NumSeeds = None,
    rule: o.RuleName = None,
    cost_loss: o.CostLossName = None,
    prefilter: o.Prefilter = None,
    proxy: o.Proxy = None,
    retrain_epochs: o.RetrainEpochs = None,
    retrain_from: o.RetrainFrom = None,
    num_baselines: o.NumBaselines = None,
    workers: o.Workers = None,
    train_on: o.TrainOn = None,
    precision: o.Precision = None,
    compile: o.Compile = None,
    population: o.Population = None,
    generations: o.Generations = None,
    calibration_images: o.CalibrationImages = None,
    validation_images: o.ValidationImages = None,
    seed: o.Seed = None,
    normalisation: o.NormalisationPlace = None,
    out: o.Out = None,
    config: o.Config = None,
    fresh: o.Fresh = False,
    json: o.Json = False,
) -> None:
    """The options of a run; only its signature is used."""


def takes_run_options(command: Callable[[dict[str, Any]], None]) -> Callable[..., None]:
    """A command with the options of a run, by name; the function itself gets those as one dictionary."""

    @functools.wraps(command)
    def called(**given: Any) -> None:
        command(given)

    # What Typer reads to make the options.
    called.__signature__ = inspect.signature(_run_options, eval_str=True)  # type: ignore[attr-defined]
    called.__annotations__ = get_type_hints(_run_options, include_extras=True)
    del called.__wrapped__
    return called


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


@takes_run_options
def train(given: dict[str, Any]) -> None:
    """Begin a run and train its supernet; with --out alone, continue the run there."""
    if continues(given):
        _stage("train", given["out"], given["json"], named=(given["space"], given["device"]))
    else:
        _stage("train", given["out"], given["json"], _config(given), given["fresh"])


def search(
    out: o.RunDirectoryPath, space: o.OwnSpace = None, device: o.OwnDevice = None, json: o.Json = False
) -> None:
    """Search a run's trained supernet under its limits."""
    _stage("search", out, json, named=(space, device))


def retrain(
    out: o.RunDirectoryPath, space: o.OwnSpace = None, device: o.OwnDevice = None, json: o.Json = False
) -> None:
    """Retrain a run's winner and its random baseline, and test them."""
    _stage("retrain", out, json, named=(space, device))


def export(
    out: o.RunDirectoryPath, space: o.OwnSpace = None, device: o.OwnDevice = None, json: o.Json = False
) -> None:
    """Write a run's ONNX, torch.export and safetensors files, and compare them."""
    _stage("export", out, json, named=(space, device))


def report(out: o.RunDirectoryPath, json: o.Json = False) -> None:
    """Write a run's result.json and report.html; of a run that is at work, the report of what there is."""
    from onepath import runs
    from onepath.cli.progress import make_progress

    _tell("report", Path(out), runs.report(out, progress=make_progress()), json)


def continues(given: Mapping[str, Any]) -> bool:
    """Whether the options are those of a run directory that is there: --out, and the own code that it may confirm."""
    from onepath.record.directory import CONFIG

    asked = {name for name, value in given.items() if value is not None and name not in ("fresh", "json")}
    if given["fresh"] or "out" not in asked or not asked <= {"out", "space", "device"}:
        return False
    return asked == {"out"} or (Path(given["out"]).expanduser() / CONFIG).is_file()


def _config(given: dict[str, Any]) -> Any:
    """The configuration of a run: what was given, over the file of --config, over that of the run in --out."""
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
    named: tuple[str | None, str | None] = (None, None),
) -> None:
    from onepath.cli.progress import make_progress
    from onepath.runs import Run, run_stage

    path = None if config is not None else Path(str(out))
    space, device = named
    with Run(config, path, fresh=fresh, progress=make_progress(), space=space, device=device) as opened:
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
