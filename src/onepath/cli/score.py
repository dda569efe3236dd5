"""`onepath score`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from onepath.cli import options as o
from onepath.cli.output import compact, print_json, print_table, write
from onepath.errors import ConfigurationError

_MOST_SHOWN = 20
_NAME_LENGTH = 72


def score(
    space: o.SpaceName,
    proxy: Annotated[
        str, typer.Option(metavar="NAME[,NAME...]", help="Scores; docs/scores.md lists them.")
    ] = "zen,gradsign",
    num: Annotated[int, typer.Option(min=1, help="Random architectures.")] = 100,
    data: Annotated[
        str | None, typer.Option(help="Where the batch comes from; not needed for zen, synflow and counts.")
    ] = None,
    data_root: o.DataRoot = None,
    num_classes: o.NumClasses = None,
    input_size: o.CostInputSize = None,
    in_channels: o.InChannels = 3,
    width: o.Width = None,
    space_argument: o.SpaceArgument = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Examples in the batch.")] = 64,
    max_macs: o.MaxMacs = None,
    max_params: o.MaxParams = None,
    weight: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=W", help="Of a score in the mean rank, default 1; may be repeated."),
    ] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    seed: o.Seed = None,
    out: Annotated[str | None, typer.Option(help="The page (.html); a .json goes beside it.")] = None,
    json: o.Json = False,
) -> None:
    """Score random architectures of a space without training, and rank them.

    The same command continues where it was stopped.
    """
    from onepath import cost, spaces
    from onepath.cli.catalogue import network_sizes
    from onepath.cli.progress import make_progress
    from onepath.data import load_data
    from onepath.estimate import score_definition
    from onepath.pipeline.scoring import score_space

    names = [score_definition(name.strip()).name for name in proxy.split(",")]
    page = _page(out, space)
    limits = [
        kind(maximum)
        for kind, maximum in ((cost.MaxMacs, _count(max_macs)), (cost.MaxParams, _count(max_params)))
        if maximum is not None
    ]
    task = None if data is None else load_data(data, root=data_root, input_size=input_size)
    if task is not None:
        num_classes = num_classes or task.num_classes
        channels, *pixels = task.input_shape
        in_channels, input_size = (channels, min(pixels)) if pixels else (in_channels, channels)
    sizes = network_sizes(space, num_classes, input_size, in_channels, width)
    arguments = o.merged({"space_argument": space_argument}, None).get("space_arguments", {})
    supernet = spaces.build(space, **sizes, **arguments)
    example_shape = spaces.example_shape(supernet, sizes["input_size"], sizes["in_channels"])
    found = score_space(
        supernet,
        names,
        num,
        page,
        input_shape=example_shape if task is None else task.input_shape,
        title=space,
        data=task,
        batch_size=batch_size,
        constraints=limits,
        weights=_weights(weight or []),
        seed=seed or 0,
        device=device,
        progress=make_progress(),
    )
    if json:
        print_json(found)
    else:
        _print(found)


def _page(out: str | None, space: str) -> Path:
    page = Path(out or f"{''.join(c if c.isalnum() else '-' for c in Path(space).name)}-scores.html")
    if page.suffix != ".html" or not page.parent.is_dir():
        raise ConfigurationError(
            f"--out must be an .html in an existing directory, but got {page}; change it"
        )
    return page


def _count(text: str | None) -> int | None:
    from onepath.pipeline import parse_count

    try:
        number = parse_count(text)
    except ValueError as error:
        raise ConfigurationError(f"a limit {error}, but got {text!r}; change it") from error
    assert number is None or isinstance(number, int)
    return number


def _weights(texts: list[str]) -> dict[str, float]:
    weights = {}
    for text in texts:
        name, _, number = text.partition("=")
        try:
            weights[name] = float(number)
        except ValueError:
            raise ConfigurationError(f"--weight must be name=number, but got {text!r}; write it so") from None
    return weights


def _print(found: Mapping[str, Any]) -> None:
    names = list(found["num_degenerate"])
    shown = found["networks"][:_MOST_SHOWN]
    print_table(
        ["architecture", "MACs", "params", *names, "mean rank"],
        [
            [
                _short(row["architecture"]),
                compact(row["macs"]),
                compact(row["params"]),
                *(
                    "degenerate" if row["scores"][name] is None else f"{row['scores'][name]:.6g}"
                    for name in names
                ),
                f"{row['mean_rank']:.3f}",
            ]
            for row in shown
        ],
    )
    if found["num"] > len(shown):
        write(f"and {found['num'] - len(shown)} more")
    for name, num in found["num_degenerate"].items():
        if num:
            reasons = sorted({row["reasons"][name] for row in found["networks"] if name in row["reasons"]})
            write(f"{name}: {num} of {found['num']} degenerate ({'; '.join(reasons)})")
    write(f"{found['num']} architectures, {found['batch']}, {found['seconds']:.1f} s")
    for name in found["files"].values():
        write(f"file  {name}")


def _short(text: str) -> str:
    return text if len(text) <= _NAME_LENGTH else text[: _NAME_LENGTH - 1] + "…"
