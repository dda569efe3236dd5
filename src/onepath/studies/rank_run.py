"""`onepath rank` on a run: how well its supernet ranks networks whose accuracy is known, or trained for it."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onepath.errors import ConfigurationError, RunDirectoryError
from onepath.most import TRAININGS, check_most
from onepath.randomness import generator
from onepath.record import EstimateStore
from onepath.record.estimates import ESTIMATES
from onepath.runs.opened import Run
from onepath.runs.parallel import train_at_once
from onepath.runs.standalone import PlannedNetwork, TrainedNetwork, accuracy, train_network
from onepath.runs.training_watch import watch
from onepath.runs.workspace import StageClock
from onepath.studies.ranking_study import RankOptions, make_study, row_notes, write_study
from onepath.studies.ranking_supernet import estimate_by_supernet, layer_similarity, supernet_note

if TYPE_CHECKING:
    from onepath.estimate import Networks

__all__ = ["RankOptions", "rank_on_standalone", "rank_on_table"]

_DRAWN_AT_ONCE = 64
_MOST_DRAWS = 100


def rank_on_table(
    run: Run,
    table: Path,
    options: RankOptions,
    *,
    accuracy_column: str | None = None,
    architecture_column: str | None = None,
) -> dict[str, Any]:
    """Estimate random rows of a table with the run's supernet and compare; what `finish` returns.

    Every estimate is kept in the run directory as it comes, so that the same call continues after a kill. More rows
    contain the fewer ones of the same seed.

    Raises:
        RunDirectoryError: the supernet is not trained.
        ConfigurationError, DataError: the table does not fit the space, or no row is left.
    """
    from onepath.estimate import TableEstimator, one_row_per_network

    _check_trained(run)
    found = TableEstimator(
        run.blank.space, table, accuracy_column=accuracy_column, architecture_column=architecture_column
    )
    networks = one_row_per_network(found.architectures, found.accuracies)
    if options.within_limits:
        networks = networks.where(
            run.legal(run.counted_limits()).is_legal(run.blank.space.matrix(networks.architectures)).tolist()
        )
    networks = networks.draw(options.num, generator(options.seed, "ranked rows"))
    with run.stage("rank") as clock:
        estimates = estimate_by_supernet(run, clock, networks.architectures, options)
        notes = [*row_notes(networks, table.name), supernet_note(run, options)]
        title = f"The supernet against {table.name}"
        study = make_study(
            title,
            f"{found.accuracy_column} of {table.name}",
            notes,
            networks,
            estimates,
            _costs(run, networks),
            options,
        )
        return write_study(run, "truth", replace(study, similarity=layer_similarity(run, options)))


def rank_on_standalone(run: Run, num: int, options: RankOptions) -> dict[str, Any]:
    """Train random networks from scratch as the run trains its winner, and compare; what `finish` returns.

    The run's random baseline are the first of them. The winner is shown, but not counted: its score chose it.
    Killed, it continues inside the networks in training; a larger `num` continues a smaller one.

    Raises:
        RunDirectoryError: the supernet is not trained.
        ConfigurationError: `num` is below 3, or above 10,000.
    """
    from onepath.estimate import Networks

    _check_trained(run)
    check_most(TRAININGS, num=num)
    if num < 3:
        raise ConfigurationError(
            f"a ranking needs 3 networks or more, but got --standalone {num}; train more"
        )
    rows = {
        row.architecture: row.retrained_test
        for row in run.directory.store.networks()
        if row.start == "scratch" and row.retrained_test is not None
    }
    winner = [row.architecture for row in run.directory.store.networks() if row.role == "winner"][:1]
    known = [name for name in rows if name not in winner]
    with run.stage("rank") as clock:
        drawn = _draw(run, num, known, winner)
        test = {**rows, **_train(run, clock, [name for name in drawn if name not in rows])}
        parse = run.blank.space.parse
        names = [*drawn, *(name for name in winner if name in rows)]
        networks = Networks(tuple(map(parse, names)), _array([test[name] for name in names]), len(names), 0)
        estimates, costs = (
            estimate_by_supernet(run, clock, networks.architectures, options),
            _costs(run, networks),
        )
        notes = [
            f"{len(drawn)} random architectures within the limits, trained from scratch with the run's own recipe"
            f"{f'; {len(known)} of them are its baseline' if known else ''}. The truth is test accuracy; scores are of "
            "the validation split.",
            supernet_note(run, options),
        ]
        count = len(drawn)
        study = make_study(
            "The supernet against networks trained from scratch",
            "stand-alone test accuracy",
            notes,
            networks,
            estimates,
            costs,
            options,
            num_counted=count,
        )
        return write_study(run, "standalone", replace(study, similarity=layer_similarity(run, options)))


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


def _draw(run: Run, num: int, first: Sequence[str], without: Sequence[str]) -> list[str]:
    """Random architectures that meet the limits, no two of them one network; fewer where there are not enough.

    They are in an order that depends on the run's seed and on what comes first, of which this is the beginning.
    """
    space = run.blank.space
    parse = space.parse
    taken = {space.standalone_form(parse(name)): name for name in first[:num]}
    refused = {space.standalone_form(parse(name)) for name in without}
    rng = generator(run.config.seed, "ranked networks")
    for _ in range(_MOST_DRAWS):
        # As many at once whatever the number, so that more networks begin with the fewer ones.
        for architecture in space.architectures(run.legal(run.limits).sample(_DRAWN_AT_ONCE, rng)):
            form = space.standalone_form(architecture)
            if len(taken) < num and form not in refused:
                taken.setdefault(form, str(form))
        if len(taken) >= num:
            break
    return list(taken.values())


def _train(run: Run, clock: StageClock, names: Sequence[str]) -> dict[str, float]:
    """Test accuracy of networks trained from scratch; those that are stored are not trained again."""
    config = run.config
    recipe = run.finishing_recipe("scratch")
    setting = f"standalone {hashlib.sha256(repr(recipe).encode()).hexdigest()[:16]}, seed {config.seed}"
    with EstimateStore(run.path / ESTIMATES) as store:
        networks = []
        for place, name in enumerate(names):
            seed = int(generator(config.seed, "ranked network", place).integers(2**31))
            networks.append(PlannedNetwork(f"ranked-{place}", "scratch", name, seed, None))

        def on_trained(network: PlannedNetwork, trained: TrainedNetwork) -> None:
            numbers = {"validation": trained.validation, "test": accuracy(run, network, "test")}
            store.put(setting, network.architecture, numbers, trained.seconds)
            run.directory.checkpoint(network.name).remove()

        stored = store.read(setting)
        left = [network for network in networks if network.architecture not in stored]
        assert config.workers is not None, "the configuration is resolved"
        num_workers = min(config.workers, len(networks)) if run.is_loadable else 1
        if num_workers > 1 and left:
            train_at_once(
                run, clock, left, num_planned=len(networks), num_workers=num_workers, on_trained=on_trained
            )
        else:
            for network in left:
                _train_one(run, clock, network, len(networks), on_trained)
        known = store.read(setting)
    test = {name: known[name]["test"] for name in names}
    return {name: -math.inf if value is None else value for name, value in test.items()}


def _train_one(run: Run, clock: StageClock, network: PlannedNetwork, num: int, on_trained: Any) -> None:
    on_point, on_update = watch(run, clock, network.name, f"training {network.name} of {num}")
    trained = train_network(
        run, network, checkpoint_seconds=run.checkpoint_seconds, on_point=on_point, on_update=on_update
    )
    run.progress.finish()
    on_trained(network, trained)


def _costs(run: Run, networks: Networks) -> dict[str, list[float]]:
    counted = [run.costs(architecture) for architecture in networks.architectures]
    return {name: [costs[name] for costs in counted] for name in ("macs", "params")}


def _array(values: Sequence[float]) -> Any:
    import numpy as np

    return np.array(values, dtype=np.float64)
