"""`onepath score`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from onepath import most
from onepath.cli import options as o
from onepath.cli.output import compact, print_json, print_table, write
from onepath.cli.scored_space import BatchSize, count_limits, open_scored_space, page_path, score_names
from onepath.errors import ConfigurationError, shown

_MOST_SHOWN = 20
_NAME_LENGTH = 72


def score(
    space: o.SpaceName,
    proxy: Annotated[
        str, typer.Option(metavar="NAME[,NAME...]", help="Scores to compute; docs/scores.md lists them.")
    ] = "zen,gradsign",
    num: Annotated[int, typer.Option(min=1, max=most.NETWORKS, help="Random architectures to score.")] = 100,
    data: Annotated[
        str | None,
        typer.Option(help="Data that the batch comes from; not needed for zen, synflow and counts."),
    ] = None,
    data_root: o.DataRoot = None,
    num_classes: o.NumClasses = None,
    input_size: o.CostInputSize = None,
    in_channels: o.InChannels = 3,
    width: o.Width = None,
    space_argument: o.SpaceArgument = None,
    batch_size: BatchSize = 64,
    max_macs: o.MaxMacs = None,
    max_params: o.MaxParams = None,
    weight: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=W", help="Weight of a score in the mean rank, 1 by default; may be repeated."
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="Where the scores are computed: cpu or cuda.")] = "cpu",
    seed: o.Seed = None,
    out: Annotated[
        str | None, typer.Option(help="Page to write (.html); a .json is written beside it.")
    ] = None,
    json: o.Json = False,
) -> None:
    """Score random architectures of a space without training, and rank them.

    The same command continues where it was stopped.
    """
    from onepath.cli.progress import make_progress
    from onepath.studies.score_space import check_device, score_space

    names, page = score_names(proxy), page_path(out, space, "scores")
    limits = count_limits(max_macs, max_params)
    check_device(device)
    opened = open_scored_space(
        space,
        data=data,
        data_root=data_root,
        num_classes=num_classes,
        input_size=input_size,
        in_channels=in_channels,
        width=width,
        space_argument=space_argument,
        batch_size=batch_size,
        seed=seed or 0,
        device=device,
    )
    weights, progress = _weights(weight or []), make_progress()
    found = score_space(
        opened, names, num, page, title=space, constraints=limits, weights=weights, progress=progress
    )
    if json:
        print_json(found)
    else:
        _print(found)


def _weights(texts: list[str]) -> dict[str, float]:
    weights = {}
    for text in texts:
        name, _, number = text.partition("=")
        try:
            weights[name] = float(number)
        except ValueError:
            raise ConfigurationError(
                f"--weight must be name=number, but got {shown(text)}; write it so"
            ) from None
        if not abs(weights[name]) <= most.WEIGHT:
            raise ConfigurationError(
                f"--weight must be at most {most.WEIGHT:,.0f}, but got {shown(text)}; change it"
            )
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
