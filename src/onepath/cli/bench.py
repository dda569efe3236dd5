"""`onepath bench`."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from onepath import most
from onepath.cli import options as o
from onepath.cli.output import print_json, print_table, write
from onepath.errors import ConfigurationError, shown
from onepath.option_types import parse_duration


def bench(
    context: typer.Context,
    budget: Annotated[str, typer.Option(metavar="TIME", help="Time of each run, such as 10m.")],
    arm: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=OPTIONS",
            help="A way to spend the budget, with its options of `onepath run`; may be repeated. Default: the default "
            "search, the first random network, the best of n random networks, successive halving over them, and the "
            "network that is made by hand where the space has one.",
        ),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, max=most.TRAININGS, help="Runs of each arm.")] = 3,
    baseline: Annotated[
        str | None,
        typer.Option(help="Arm that the others are compared with; default: best of n random, else the last."),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder of the runs and of the page.")] = Path("runs/bench"),
    json: o.Json = False,
) -> None:
    """Compare ways to spend one budget: does the search beat random networks that were trained for as long?

    All other options are those of `onepath run`, for all arms. Each run has the same budget and one thread; arms whose
    processor seconds differ by more than 5 % are not compared. The same command continues where it was stopped.
    """
    from onepath.cli.progress import make_progress
    from onepath.report.bench import bench_page, verdicts
    from onepath.studies.bench import Arm, default_arms
    from onepath.studies.bench import bench as compare

    try:
        parse_duration(budget)
    except ValueError as error:
        raise ConfigurationError(f"--budget {error}, but got {shown(budget)}; change it") from None
    taken = {"--out", "--seed", "--budget", "--num-baselines", "--workers", "--fresh"} & set(context.args)
    if taken:
        raise ConfigurationError(
            f"{min(taken)} is the bench's own for each run, but it came among the options of all runs; leave it out"
        )
    arms = [Arm(*_arm(text)) for text in arm] if arm else list(default_arms(context.args))
    found = compare(arms, context.args, budget, seeds, out, baseline=baseline, progress=make_progress())
    page = bench_page(found, budget, context.args)
    from onepath.record import atomic_write_text

    atomic_write_text(out / "bench.html", page)
    if json:
        print_json(found)
        return
    _print(found)
    for sentence in verdicts(found):
        write(sentence)
    write(f"file  {out / 'bench.html'}")


def _arm(text: str) -> tuple[str, tuple[str, ...]]:
    name, sign, options = text.partition("=")
    if not sign or not name.strip():
        raise ConfigurationError(f"--arm must be NAME=OPTIONS, but got {shown(text)}; write it so")
    return name.strip(), tuple(shlex.split(options))


def _print(found: Mapping[str, Any]) -> None:
    from onepath.report.bench import head, table

    print_table(head(found), table(found))
