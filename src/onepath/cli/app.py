"""The commands."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from onepath import __version__
from onepath.cli import options as o
from onepath.cli.output import compact, print_comparison, print_json, print_result, print_table, write
from onepath.cli.rank import rank
from onepath.cli.score import score

app = typer.Typer(
    name="onepath",
    help="Find the neural network that fits your data and your device.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(asked: bool) -> None:
    if asked:
        write(f"onepath {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error; may stand anywhere.")
    ] = False,
) -> None:
    pass


@app.command()
def run(
    data: o.Data = None,
    test_data: o.TestData = None,
    data_root: o.DataRoot = None,
    input_size: o.InputSize = None,
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
    out: o.Out = None,
    config: o.Config = None,
    fresh: o.Fresh = False,
    json: o.Json = False,
) -> None:
    """Train, search, retrain, export and report; the same command again continues where it stopped."""
    given = _given(locals())
    from onepath.cli.progress import make_progress
    from onepath.pipeline import Run, finish, make_config

    with Run(make_config(o.merged(given, config)), fresh=fresh, progress=make_progress()) as opened:
        result = finish(opened)
    if json:
        print_json(result.result)
    else:
        print_result(result.path, result.result)


@app.command()
def train(
    data: o.Data = None,
    test_data: o.TestData = None,
    data_root: o.DataRoot = None,
    input_size: o.InputSize = None,
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
    out: o.Out = None,
    config: o.Config = None,
    fresh: o.Fresh = False,
    json: o.Json = False,
) -> None:
    """Begin a run and train its supernet; with --out alone, continue the run there."""
    given = _given(locals())
    from onepath.pipeline import make_config

    _stage(
        "train",
        out,
        json,
        None
        if set(given) == {"out"} and config is None and not fresh
        else make_config(o.merged(given, config)),
        fresh,
    )


@app.command()
def search(out: o.RunDirectoryPath, json: o.Json = False) -> None:
    """Search a run's trained supernet under its limits."""
    _stage("search", out, json)


@app.command()
def retrain(out: o.RunDirectoryPath, json: o.Json = False) -> None:
    """Retrain a run's winner and its random baseline, and test them."""
    _stage("retrain", out, json)


@app.command()
def export(out: o.RunDirectoryPath, json: o.Json = False) -> None:
    """Write a run's ONNX, torch.export and safetensors files, and compare them."""
    _stage("export", out, json)


@app.command()
def report(out: o.RunDirectoryPath, json: o.Json = False) -> None:
    """Write a run's result.json and report.html."""
    _stage("report", out, json)


app.command()(rank)
app.command()(score)


@app.command()
def spaces(json: o.Json = False) -> None:
    """The catalogue: size, choices, min / median / max MACs and params."""
    from onepath.cli.catalogue import describe_spaces

    found = describe_spaces()
    if json:
        print_json({"spaces": found})
        return
    titles = ["space", "architectures", "choices", "classes", "input"]
    titles += [title for kind in ("MACs", "params") for title in (f"{kind} min", "median", "max")]
    rows = [
        [space["name"], f"{space['size']:.3g}", str(space["num_choices"]), str(space["num_classes"])]
        + ["x".join(map(str, space["input_shape"]))]
        + [compact(space[kind][level]) for kind in ("macs", "params") for level in ("min", "median", "max")]
        for space in found
    ]
    print_table(titles, rows)
    write("classes and input as in the papers")


@app.command()
def devices(json: o.Json = False) -> None:
    """Where latency can be measured: what is usable here, and why the rest is not."""
    from onepath.cli.catalogue import describe_devices

    found = describe_devices()
    if json:
        print_json({"devices": found})
        return
    width = max(len(device["name"]) for device in found)
    for device in found:
        settings = device["settings"]
        said = (
            f"{settings['version']}, {settings['processor']}"
            if settings
            else f"not here: {device['missing']}"
        )
        write(f"{device['name'].ljust(width)}  {said}")
    write("or one of your own: exec:./measure.sh, path/to/file.py:Class (docs/latency.md)")


@app.command()
def profile(
    space: o.SpaceName,
    device: o.LatencyDevice,
    out: Annotated[
        str | None, typer.Option(help="The table (.json), or the predictor of --network-wise (.safetensors).")
    ] = None,
    network_wise: Annotated[
        int | None,
        typer.Option(metavar="N", help="Measure N whole networks and fit a predictor to them instead."),
    ] = None,
    num_classes: o.NumClasses = None,
    input_size: o.CostInputSize = None,
    in_channels: o.InChannels = 3,
    width: o.Width = None,
    space_argument: o.SpaceArgument = None,
    threads: o.Threads = None,
    batch: o.Batch = 1,
    precision: o.LatencyPrecision = "float32",
    calibration: Annotated[int, typer.Option(help="Whole networks that calibrate the table.")] = 20,
    validation: Annotated[int, typer.Option(help="Fresh networks that tell its error.")] = 30,
    max_seconds: Annotated[float, typer.Option(min=1, help="Of timing, over all calls.")] = 240.0,
    seed: o.Seed = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Start the table over where there is one.")] = False,
    json: o.Json = False,
) -> None:
    """Measure every candidate of a space on a device, and how well sums of them predict whole networks.

    The same command continues where it was stopped.
    """
    from onepath.cli import latency
    from onepath.cli.catalogue import network_sizes

    sizes = network_sizes(space, num_classes, input_size, in_channels, width)
    common: dict[str, Any] = {
        "sizes": sizes,
        "arguments": o.merged({"space_argument": space_argument}, None).get("space_arguments", {}),
        "settings": {"threads": threads, "batch": batch, "precision": precision},
        "seed": seed or 0,
    }
    if network_wise is not None:
        out = out or latency.default_name(space, device, "latency", ".safetensors")
        found = latency.profile_whole(space, device, out, network_wise, **common)
    else:
        out = out or latency.default_name(space, device, "latency", ".json")
        found = latency.profile_layers(
            space,
            device,
            out,
            **common,
            fresh=fresh,
            max_seconds=max_seconds,
            networks=(calibration, validation),
        )
    if json:
        print_json(found)
        return
    if network_wise is not None:
        for name, model in found["models"].items():
            mark = "  used" if name == found["winner"] else ""
            write(f"{name.ljust(6)}  RMSE {model['test']['rmse_ms']:.4g} ms on held-out networks{mark}")
    else:
        write(f"{found['entries']} entries of {found['space']} on {found['device']['name']}")
        write(found["text"])
        if found["noisy_entries"]:
            write(f"{len(found['noisy_entries'])} entries are noisy and flagged in the table")
    for name in found["files"].values():
        write(f"file  {name}")


@app.command()
def cost(
    space: o.SpaceName,
    architecture: Annotated[
        str | None,
        typer.Option(help='Option indices "2,1,0,...", a JSON object, or the paper\'s own notation.'),
    ] = None,
    compare: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="Rank N random architectures by MACs, parameters and latency instead."
        ),
    ] = None,
    device: o.CostDevice = None,
    num_classes: o.NumClasses = None,
    input_size: o.CostInputSize = None,
    in_channels: o.InChannels = 3,
    width: o.Width = None,
    space_argument: o.SpaceArgument = None,
    threads: o.Threads = None,
    batch: o.Batch = 1,
    precision: o.LatencyPrecision = "float32",
    max_seconds: Annotated[float, typer.Option(min=1, help="Of timing, with --compare.")] = 120.0,
    seed: o.Seed = None,
    out: Annotated[str | None, typer.Option(help="The page of --compare (.html).")] = None,
    json: o.Json = False,
) -> None:
    """MACs and parameters of one architecture; with --device its latency, too."""
    from onepath.cli import latency
    from onepath.cli.catalogue import describe_architecture, network_sizes

    sizes = network_sizes(space, num_classes, input_size, in_channels, width)
    arguments = o.merged({"space_argument": space_argument}, None).get("space_arguments", {})
    o.check_cost(architecture, compare, device)
    common: dict[str, Any] = {
        "sizes": sizes,
        "arguments": arguments,
        "settings": {"threads": threads, "batch": batch, "precision": precision},
    }
    if compare is not None:
        assert device is not None
        compared = latency.compare_space(
            space, device, compare, out, **common, seed=seed or 0, max_seconds=max_seconds
        )
        if json:
            print_json(compared)
        else:
            print_comparison(compared)
        return
    assert architecture is not None
    found = describe_architecture(space, architecture, sizes=sizes, arguments=arguments)
    if device is not None:
        found |= latency.measured_latency(space, architecture, device, **common)
    if json:
        print_json(found)
        return
    write(f"{compact(found['macs'])} MACs, {compact(found['params'])} parameters")
    write(f"{found['macs']:,} MACs, {found['params']:,} parameters")
    if device is not None:
        noisy = ", too noisy to trust" if found["latency_is_noisy"] else ""
        threads = found["latency_device"]["threads"]
        write(
            f"{found['latency_ms']:.4g} ms on {device}, IQR {found['latency_iqr_ms']:.2g} ms, "
            f"threads {threads}, batch {batch}{noisy}"
        )


def _given(values: dict[str, Any]) -> dict[str, Any]:
    """The options that belong to the configuration and were given."""
    return {
        name: value
        for name, value in values.items()
        if name not in ("config", "fresh", "json") and value is not None
    }


def _stage(stage: str, out: str | None, json: bool, config: Any = None, fresh: bool = False) -> None:
    from pathlib import Path

    from onepath.cli.progress import make_progress
    from onepath.pipeline import Run, run_stage

    path = None if config is not None else Path(str(out))
    with Run(config, path, fresh=fresh, progress=make_progress()) as opened:
        run_stage(opened, stage)
        directory = opened.directory.path
        row = opened.directory.store.stage(stage)
    if json:
        print_json({"stage": stage, "path": str(directory), "done": row.done, "seconds": row.seconds})
    else:
        write(f"{stage} is done in {directory}, {row.seconds:.1f} s")
