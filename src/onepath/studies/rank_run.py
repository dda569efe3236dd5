"""`onepath rank` on a run: how well its supernet ranks networks from a table, or networks trained for the purpose."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from onepath.errors import ConfigurationError, RunDirectoryError
from onepath.estimate import Networks
from onepath.most import TRAININGS, check_most
from onepath.randomness import generator
from onepath.record import EstimateStore
from onepath.record.estimates import ESTIMATES
from onepath.runs import PlannedNetwork, Run, StageClock, TrainedNetwork, network_score, train_networks
from onepath.runs.retraining import keep_plan
from onepath.studies.comparison import RankOptions, Rows, Table, make_study, write_study
from onepath.studies.supernet_estimates import estimate_by_supernet, layer_similarity, supernet_note

_DRAWN_AT_ONCE = 64
_MOST_DRAWS = 100


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
    """Train random networks from scratch as the run trains its winner, and compare the supernet's estimates with them.

    The networks of the run's random baseline are used first. The winner is shown but not counted, because its score
    chose it. After a kill, the same call continues, inside the networks that were being trained. A larger `num` uses
    the networks of a smaller one.

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
    check_most(TRAININGS, num=num)
    if num < 3:
        raise ConfigurationError(
            f"a ranking needs 3 networks or more, but got --standalone {num}; train more"
        )
    stored = [row for row in run.directory.store.networks() if row.start == "scratch"]
    rows = {row.architecture: row.retrained_test for row in stored if row.retrained_test is not None}
    winner = [row.architecture for row in run.directory.store.networks() if row.role == "winner"][:1]
    known = [name for name in rows if name not in winner]
    with run.stage("rank") as clock:
        seconds = keep_plan(run)
        drawn = _draw(run, num, known, winner)
        test = {**rows, **_train(run, clock, [name for name in drawn if name not in rows], seconds)}
        names = [*drawn, *(name for name in winner if name in rows)]
        truth = np.array([test[name] for name in names], dtype=np.float64)
        note = (
            f"{len(drawn)} random architectures within the limits, trained from scratch with the run's own recipe"
            f"{f'; {len(known)} of them are its baseline' if known else ''}. The truth is test accuracy; scores are of "
            "the validation split."
        )
        networks = Networks(tuple(map(run.blank.space.parse, names)), truth, len(names), 0)
        compared = Rows(networks, "stand-alone test accuracy", [note])
        title = "The supernet against networks trained from scratch"
        return _compare(run, clock, "standalone", title, compared, options, num_counted=len(drawn))


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


def _draw(run: Run, num: int, first: Sequence[str], without: Sequence[str]) -> list[str]:
    """Draw random architectures that meet the limits, in their stand-alone forms, all of them different networks.

    A larger number begins with the architectures of a smaller one. There are fewer than `num` if the draws do not find
    enough.

    Args:
        run: gives the space, the limits and the seed.
        num: number of architectures.
        first: architectures that come first, before the random ones.
        without: architectures that are not drawn.
    """
    space = run.blank.space
    parse = space.parse
    taken = {space.standalone_form(parse(name)): name for name in first[:num]}
    refused = {space.standalone_form(parse(name)) for name in without}
    rng = generator(run.config.seed, "ranked networks")
    for _ in range(_MOST_DRAWS):
        # The number drawn at once does not depend on `num`, so that more networks begin with the fewer ones.
        for architecture in space.architectures(run.legal(run.limits).sample(_DRAWN_AT_ONCE, rng)):
            form = space.standalone_form(architecture)
            if len(taken) < num and form not in refused:
                taken.setdefault(form, str(form))
        if len(taken) >= num:
            break
    return list(taken.values())


def _train(run: Run, clock: StageClock, names: Sequence[str], seconds: float | None) -> dict[str, float]:
    """Train networks from scratch, unless they are stored, and return architecture -> test score.

    Args:
        run: gives the recipe and the seed.
        clock: clock of the stage at work.
        names: the architectures.
        seconds: time of each training; None has no limit.
    """
    seed, recipe = run.config.seed, run.finishing_recipe("scratch")
    setting = f"standalone {hashlib.sha256(repr(recipe).encode()).hexdigest()[:16]}, seed {seed}"
    seeds = [int(generator(seed, "ranked network", place).integers(2**31)) for place in range(len(names))]
    networks = [
        PlannedNetwork(f"ranked-{place}", "scratch", name, seeds[place], None, seconds=seconds)
        for place, name in enumerate(names)
    ]
    with EstimateStore(run.path / ESTIMATES) as store:

        def on_trained(network: PlannedNetwork, trained: TrainedNetwork) -> None:
            numbers = {"validation": trained.validation, "test": network_score(run, network, "test")}
            store.put(setting, network.architecture, numbers, trained.seconds)
            run.directory.checkpoint(network.name).remove()

        stored = store.read(setting)
        left = [network for network in networks if network.architecture not in stored]
        train_networks(run, clock, left, len(networks), on_trained)
        known = store.read(setting)
    test = {name: known[name]["test"] for name in names}
    return {name: -math.inf if value is None else value for name, value in test.items()}
