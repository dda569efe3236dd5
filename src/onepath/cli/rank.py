"""`onepath rank`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from onepath import most
from onepath.cli import options as o
from onepath.cli.output import print_json, print_table, write
from onepath.cli.scored_space import BatchSize, count_limits, open_scored_space, page_path, score_names
from onepath.errors import ConfigurationError
from onepath.own_code import is_own

if TYPE_CHECKING:
    from onepath.studies.comparison import RankOptions

_SCORES = {"accuracy": ("accuracy",), "loss": ("loss",), "both": ("accuracy", "loss")}


def rank(
    run: Annotated[
        str | None, typer.Argument(metavar="[RUN]", help="A run directory with a trained supernet.")
    ] = None,
    truth: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="A .parquet or .csv table of architectures and their accuracies."),
    ] = None,
    accuracy_column: Annotated[
        str | None,
        typer.Option(
            help="Column of accuracies in the table; default: found by its usual names, such as test_accuracy."
        ),
    ] = None,
    architecture_column: Annotated[
        str | None,
        typer.Option(
            help="Column of architectures in the table; default: found by its usual names, such as architecture."
        ),
    ] = None,
    standalone: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            max=most.TRAININGS,
            help="Train N random networks of the run from scratch as the truth; with --truth and --proxy-task, train "
            "the first N rows in full beside the proxies.",
        ),
    ] = None,
    proxy_task: Annotated[
        str | None,
        typer.Option(
            metavar="NAME=NUMBER[,...]",
            help="Cheaper trainings to rank by, instead of a supernet: epochs, subset, width and resolution, each "
            "reduced alone and all together, such as epochs=1,subset=0.1,width=0.5,resolution=16.",
        ),
    ] = None,
    proxy: Annotated[
        str | None,
        typer.Option(
            metavar="NAME[,NAME...]", help="Zero-cost scores to rank --space by, instead of a supernet."
        ),
    ] = None,
    score: Annotated[
        str, typer.Option(help="The supernet's score: accuracy or loss on validation images, or both.")
    ] = "both",
    num: Annotated[
        int, typer.Option(min=1, max=most.NETWORKS, help="Rows drawn at random from the table.")
    ] = 300,
    space: Annotated[
        str | None,
        typer.Option(help="With --proxy the table's space; else the run's space again, if it is your own."),
    ] = None,
    device: o.OwnDevice = None,
    method: o.OwnMethod = None,
    data: Annotated[str | None, typer.Option(help="Data that the batch of --proxy comes from.")] = None,
    data_root: o.DataRoot = None,
    num_classes: o.NumClasses = None,
    input_size: o.CostInputSize = None,
    in_channels: o.InChannels = 3,
    width: o.Width = None,
    space_argument: o.SpaceArgument = None,
    batch_size: BatchSize = 64,
    max_macs: o.MaxMacs = None,
    max_params: o.MaxParams = None,
    within_limits: Annotated[
        bool, typer.Option("--within-limits", help="Take only rows that meet the run's limits.")
    ] = False,
    calibration_images: Annotated[
        int | None,
        typer.Option(
            min=2, max=most.IMAGES, help="Images that recalibrate normalisation; default: the run's."
        ),
    ] = None,
    validation_images: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=most.IMAGES,
            help="Images that each network is scored on; default: the run's.",
        ),
    ] = None,
    similarity_paths: Annotated[
        int,
        typer.Option(
            min=0,
            max=most.TRAININGS,
            help="Paths on which candidates' feature maps are compared; 0 compares none.",
        ),
    ] = 4,
    resamples: Annotated[
        int, typer.Option(min=0, max=most.NETWORKS, help="Resamples of the bootstrap intervals.")
    ] = 1000,
    seed: o.Seed = None,
    out: Annotated[str | None, typer.Option(help="Page that --proxy writes (.html).")] = None,
    json: o.Json = False,
) -> None:
    """Measure how far the ranking by a supernet, by zero-cost scores or by cheaper trainings can be trusted.

    The ranking is compared with a table of known accuracies (--truth), or with networks that are trained for this
    (--standalone). The same command continues where it was stopped.
    """
    from onepath.cli.progress import make_progress
    from onepath.runs import Run
    from onepath.studies.comparison import RankOptions, Table
    from onepath.studies.proxy_tasks import parse_proxy_task
    from onepath.studies.rank_proxies import rank_proxies
    from onepath.studies.rank_run import rank_on_standalone, rank_on_table
    from onepath.studies.rank_scores import rank_scores

    if score not in _SCORES:
        raise ConfigurationError(
            f"--score must be one of {', '.join(_SCORES)}, but got {score!r}; choose one"
        )
    options = RankOptions(
        num=num,
        scores=_SCORES[score],
        calibration_images=calibration_images,
        validation_images=validation_images,
        within_limits=within_limits,
        num_resamples=resamples,
        similarity_paths=similarity_paths,
        seed=seed or 0,
    )
    table, progress = Table(Path(truth or ""), accuracy_column, architecture_column), make_progress()
    if proxy is not None:
        of_run = {"--within-limits": within_limits, "--device": device, "--proxy-task": proxy_task}
        _check_proxy(run, truth, standalone, space, of_run)
        names, page = score_names(proxy), page_path(out, str(space), "rank")
        limits = count_limits(max_macs, max_params)
        opened = open_scored_space(
            str(space),
            data=data,
            data_root=data_root,
            num_classes=num_classes,
            input_size=input_size,
            in_channels=in_channels,
            width=width,
            space_argument=space_argument,
            batch_size=batch_size,
            seed=options.seed,
        )
        found = rank_scores(opened, names, table, page, options, constraints=limits, progress=progress)
    else:
        others = {
            "--space": None if is_own(space) else space,
            "--data": data,
            "--data-root": data_root,
            "--out": out,
            "--max-macs": max_macs,
            "--max-params": max_params,
            "--width": width,
            "--num-classes": num_classes,
            "--input-size": input_size,
            "--space-argument": space_argument,
        }
        _check_run(run, truth, standalone, others, allows_both=proxy_task is not None)
        reductions = None
        if proxy_task is not None:
            reductions = parse_proxy_task(proxy_task)
            _check_no_supernet(options)
        path = Path(str(run))
        with Run(None, path, progress=progress, space=space, device=device, method=method) as opened_run:
            if reductions is not None:
                found = rank_proxies(
                    opened_run, reductions, options, table=table if truth else None, num_whole=standalone
                )
            elif standalone is not None:
                found = rank_on_standalone(opened_run, standalone, options)
            else:
                found = rank_on_table(opened_run, table, options)
    if json:
        print_json(found)
    else:
        _print(found)


def _check_run(
    run: str | None,
    truth: str | None,
    standalone: int | None,
    others: Mapping[str, object],
    *,
    allows_both: bool,
) -> None:
    if run is None:
        raise ConfigurationError(
            "rank needs a run directory, or --proxy and --space, but got neither; give one"
        )
    if (truth is None) == (standalone is None) and not (truth and allows_both):
        came = "neither" if truth is None else "both"
        raise ConfigurationError(f"rank needs one of --truth and --standalone, but got {came}; give one")
    for name, value in others.items():
        if value is not None:
            raise ConfigurationError(f"{name} belongs to --proxy, but a run has its own; leave it out")


def _check_no_supernet(options: RankOptions) -> None:
    """Raise if an option came that is about the estimates of a supernet."""
    usual = type(options)()
    names = ("calibration_images", "validation_images", "similarity_paths")
    fields = {"--score": "scores", **{f"--{name.replace('_', '-')}": name for name in names}}
    for option, name in fields.items():
        if getattr(options, name) != getattr(usual, name):
            raise ConfigurationError(
                f"{option} is about a supernet, but --proxy-task trains networks alone; leave it out"
            )


def _check_proxy(
    run: str | None,
    truth: str | None,
    standalone: int | None,
    space: str | None,
    others: Mapping[str, object],
) -> None:
    if run is not None or standalone is not None:
        raise ConfigurationError(
            "--proxy scores a --space, but got a run or --standalone too; leave those out"
        )
    if space is None or truth is None:
        missing = "--space" if space is None else "--truth"
        raise ConfigurationError(f"--proxy needs --space and --truth, but got no {missing}; give it")
    for name, value in others.items():
        if value:
            raise ConfigurationError(f"{name} belongs to a run, but --proxy came; leave it out")


def _print(found: Mapping[str, Any]) -> None:
    from onepath.report.study_pages import table_of, verdicts

    for note in found["notes"]:
        write(note)
    print_table(*table_of(found["evidence"], found["timings"]))
    write("in brackets: 95 % bootstrap intervals over networks, not over trainings")
    for sentence in verdicts(found["evidence"]):
        write(sentence)
    for name in found["files"].values():
        write(f"file  {name}")
