"""`onepath rank` on a run: how well its supernet ranks networks from a table, or networks trained for the purpose."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from onepath.errors import RunDirectoryError
from onepath.runs import Run, StageClock
from onepath.studies.comparison import RankOptions, Rows, Table, make_study, write_study
from onepath.studies.standalone_truth import check_standalone, standalone_truth
from onepath.studies.supernet_estimates import estimate_by_supernet, layer_similarity, supernet_note


def rank_on_table(run: Run, table: Table, options: RankOptions) -> dict[str, Any]:
    """Estimate random rows of a table with the run's supernet, and compare the estimates with the table.

    Every estimate is stored in the run directory as soon as it is made, so that after a kill the same call continues.
    With the same seed, a larger number of rows includes the rows of a smaller number.

    Args:
        run: a run with a trained supernet.
        table: the known accuracies.
        options: number of rows, images, resamples and the seed.

    Returns:
        The study's JSON values, and "files": kind of a file -> its path.

    Raises:
        RunDirectoryError: the run's method trains no supernet, or the supernet is not trained yet.
        ConfigurationError: the table is not a .parquet or .csv file or lacks a column, or no row is left.
        DataError: the table cannot be read, or a row does not fit the space.
    """
    _check_trained(run)
    feasible = run.legal(run.counted_limits()) if options.within_limits else None
    rows = table.rows(run.blank.space, options, feasible)
    with run.stage("rank") as clock:
        return _compare(run, clock, "truth", f"The supernet against {table.path.name}", rows, options)


def rank_on_standalone(run: Run, num: int, options: RankOptions) -> dict[str, Any]:
    """Compare the supernet's estimates with random networks that are trained from scratch, see `standalone_truth`.

    The winner is shown but not counted, because its score chose it.

    Args:
        run: a run with a trained supernet.
        num: number of networks, the baseline included; fewer if there are not enough within the limits.
        options: images, resamples and the seed; the number of rows is not used.

    Returns:
        The study's JSON values, and "files": kind of a file -> its path.

    Raises:
        RunDirectoryError: the run's method trains no supernet, or the supernet is not trained yet.
        ConfigurationError: `num` is below 3, or above 10,000.
    """
    _check_trained(run)
    check_standalone(num)
    with run.stage("rank") as clock:
        truth = standalone_truth(run, clock, num)
        title = "The supernet against networks trained from scratch"
        return _compare(run, clock, "standalone", title, truth.rows, options, num_counted=truth.num_random)


def _check_trained(run: Run) -> None:
    if not run.config.options.trains_supernet:
        raise RunDirectoryError(
            f"rank needs a supernet, but method {run.config.method} trains none; rank scores by `onepath rank --proxy`"
        )
    if not run.is_done("train"):
        path = run.directory.path
        raise RunDirectoryError(
            f"rank needs a trained supernet, but {path} has none; run `onepath train --out {path}` first"
        )


def _compare(
    run: Run,
    clock: StageClock,
    kind: str,
    title: str,
    rows: Rows,
    options: RankOptions,
    *,
    num_counted: int | None = None,
) -> dict[str, Any]:
    """Compare the supernet's estimates with the truth, and write the study into the run directory."""
    architectures = rows.networks.architectures
    estimates = estimate_by_supernet(run, clock, architectures, options)
    counted = [run.costs(architecture) for architecture in architectures]
    costs = {name: [each[name] for each in counted] for name in ("macs", "params")}
    notes = [*rows.notes, supernet_note(run, options)]
    study = make_study(
        title, rows.truth, notes, rows.networks, estimates, costs, options, num_counted=num_counted
    )
    return write_study(run, kind, replace(study, similarity=layer_similarity(run, options)))
