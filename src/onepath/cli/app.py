"""The commands of `onepath`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from onepath import most
from onepath.cli import options as o
from onepath.cli.bench import bench
from onepath.cli.convert import convert
from onepath.cli.output import compact, print_comparison, print_json, print_table, write
from onepath.cli.rank import rank
from onepath.cli.run import export, report, retrain, run, search, train
from onepath.cli.run_options import RunCommand
from onepath.cli.score import score
from onepath.version import __version__

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


for command in (run, train):
    app.command(cls=RunCommand)(command)
app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(bench)
for command in (search, retrain, export, report, rank, score, convert):
    app.command()(command)


@app.command()
def spaces(json: o.Json = False) -> None:
    """List the ready-made spaces: size, choices, min / median / max MACs and params."""
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
    """List the devices for latency: which are usable here, and why the others are not."""
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
        str | None,
        typer.Option(help="Table to write (.json); with --network-wise a predictor (.safetensors)."),
    ] = None,
    network_wise: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            max=most.NETWORKS,
            help="Measure N whole networks instead of candidates, and fit a predictor to them.",
        ),
    ] = None,
    num_classes: o.NumClasses = None,
    input_size: o.CostInputSize = None,
    in_channels: o.InChannels = 3,
    width: o.Width = None,
    space_argument: o.SpaceArgument = None,
    threads: o.Threads = None,
    batch: o.Batch = 1,
    precision: o.LatencyPrecision = "float32",
    calibration: Annotated[
        int, typer.Option(max=most.TRAININGS, help="Whole networks that calibrate the table.")
    ] = 20,
    validation: Annotated[
        int, typer.Option(max=most.TRAININGS, help="Other whole networks that tell the table's error.")
    ] = 30,
    max_seconds: o.Seconds = 240.0,
    seed: o.Seed = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Start over if the table exists already.")] = False,
    json: o.Json = False,
) -> None:
    """Measure every candidate of a space on a device, and how well their sums predict whole networks.

    The same command continues where it was stopped.
    """
    from onepath.cli import latency
    from onepath.cli.catalogue import network_sizes

    sizes = network_sizes(space, num_classes, input_size, in_channels, width)
    common: dict[str, Any] = {
        "sizes": sizes,
        "arguments": o.space_arguments(space_argument),
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
        typer.Option(help='Architecture: indices "2,1,0,...", a JSON object, or the paper\'s notation.'),
    ] = None,
    compare: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            max=most.NETWORKS,
            help="Rank N random architectures by MACs, parameters and latency, instead of showing one.",
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
    max_seconds: o.Seconds = 120.0,
    seed: o.Seed = None,
    out: Annotated[str | None, typer.Option(help="Page that --compare writes (.html).")] = None,
    json: o.Json = False,
) -> None:
    """Show every cost of one architecture: MACs, parameters, layers, bytes; with --device also its latency."""
    from onepath.cli import latency
    from onepath.cli.catalogue import describe_architecture, network_sizes

    sizes = network_sizes(space, num_classes, input_size, in_channels, width)
    arguments = o.space_arguments(space_argument)
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
    if "uncounted" in found:
        named = ", ".join(f"{name} in {path or 'the network'}" for name, path in found["uncounted"].items())
        typer.echo(f"MACs leave out what has no counter: {named}", err=True)
    if device is not None:
        found |= latency.measured_latency(space, architecture, device, **common)
    if json:
        print_json(found)
        return
    write(f"{compact(found['macs'])} MACs, {compact(found['params'])} parameters")
    write(f"{found['macs']:,} MACs, {found['params']:,} parameters")
    write(
        f"{found['layers']:,} layers, {found['memory']:,} bytes of activations, {found['size']:,} bytes of weights"
    )
    if device is not None:
        noisy = ", too noisy to trust" if found["latency_is_noisy"] else ""
        threads = found["latency_device"]["threads"]
        write(
            f"{found['latency_ms']:.4g} ms on {device}, IQR {found['latency_iqr_ms']:.2g} ms, "
            f"threads {threads}, batch {batch}{noisy}"
        )
