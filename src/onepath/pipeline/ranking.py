"""`onepath rank` on a run: how well its supernet ranks networks whose accuracy is known, or trained for it."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onepath.errors import ConfigurationError, RunDirectoryError
from onepath.pipeline.context import Run, StageClock
from onepath.pipeline.materials import SUPERNET
from onepath.pipeline.methods import METHODS
from onepath.pipeline.parallel import train_at_once
from onepath.pipeline.standalone import PlannedNetwork, TrainedNetwork, accuracy, train_network
from onepath.pipeline.training import watch
from onepath.randomness import generator
from onepath.record import EstimateStore, atomic_write_text
from onepath.record.directory import RANKING, RANKING_PAGE, REPORT
from onepath.record.estimates import ESTIMATES

if TYPE_CHECKING:
    from onepath.estimate import Networks
    from onepath.report.ranking import Study
    from onepath.space import Architecture

BASELINES = ("macs", "params")
SCORES = ("accuracy", "loss")
_SIMILARITY_IMAGES = 64
_MOST_DRAWS = 100


@dataclass(frozen=True)
class RankOptions:
    """How to compare.

    Attributes:
        num: rows of the table at most.
        scores: of "accuracy" and "loss", what the supernet's estimate is judged by.
        calibration_images, validation_images: None takes the run's own.
        within_limits: only rows that meet the run's limits on MACs and parameters.
        num_resamples: of the bootstrap.
        similarity_paths: random paths over which candidates' feature maps are compared; 0 leaves that out.
        seed: draws rows and resamples.
    """

    num: int = 300
    scores: Sequence[str] = SCORES
    calibration_images: int | None = None
    validation_images: int | None = None
    within_limits: bool = False
    num_resamples: int = 1000
    similarity_paths: int = 4
    seed: int = 0


def rank_on_table(
    run: Run, table: Path, options: RankOptions, *, accuracy_column: str | None = None
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
    found = TableEstimator(run.blank.space, table, accuracy_column=accuracy_column)
    networks = one_row_per_network(found.architectures, found.accuracies)
    if options.within_limits:
        networks = networks.where(
            run.counted.is_legal(run.blank.space.matrix(networks.architectures)).tolist()
        )
    networks = networks.draw(options.num, generator(options.seed, "ranked rows"))
    with run.stage("rank") as clock:
        estimates = _estimate(run, clock, networks.architectures, options)
        notes = [*row_notes(networks, table.name), _supernet_note(run, options)]
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
        return _finish(run, "truth", replace(study, similarity=_similarity(run, options)))


def rank_on_standalone(run: Run, num: int, options: RankOptions) -> dict[str, Any]:
    """Train random networks from scratch as the run trains its winner, and compare; what `finish` returns.

    The run's random baseline are the first of them. The winner is shown, but not counted: its score chose it.
    Killed, it continues inside the networks in training.

    Raises:
        RunDirectoryError: the supernet is not trained.
        ConfigurationError: `num` is below 3.
    """
    from onepath.estimate import Networks

    _check_trained(run)
    if num < 3:
        raise ConfigurationError(
            f"a ranking needs 3 networks or more, but got --standalone {num}. Train more."
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
        estimates, costs = _estimate(run, clock, networks.architectures, options), _costs(run, networks)
        notes = [
            f"{len(drawn)} random architectures within the limits, trained from scratch with the run's own recipe"
            f"{f'; {len(known)} of them are its baseline' if known else ''}. The truth is test accuracy; scores are of "
            "the validation split.",
            _supernet_note(run, options),
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
        return _finish(run, "standalone", replace(study, similarity=_similarity(run, options)))


def make_study(
    title: str,
    truth: str,
    notes: Sequence[str],
    networks: Networks,
    scores: Mapping[str, Sequence[float]],
    costs: Mapping[str, Sequence[float]],
    options: RankOptions,
    *,
    num_counted: int | None = None,
) -> Study:
    """The evidence and the rows for the page; networks after the first `num_counted` are shown only."""
    from onepath.estimate import rank_evidence
    from onepath.report.ranking import Study

    if not len(networks):
        raise ConfigurationError(
            "a ranking needs a network, but no row of the table is left; widen the limits"
        )
    values = {**scores, **{name: found for name, found in costs.items() if name not in scores}}
    evidence = rank_evidence(
        networks.truth[:num_counted],
        {name: found[:num_counted] for name, found in values.items()},
        generator(options.seed, "bootstrap"),
        baselines=[name for name in BASELINES if name in values],
        num_resamples=options.num_resamples,
    )
    rows = [
        {
            "architecture": architecture.space.format(architecture),
            "truth": float(networks.truth[place]),
            **{name: _finite(found[place]) for name, found in values.items()},
        }
        for place, architecture in enumerate(networks.architectures)
    ]
    chosen = [] if num_counted is None else rows[num_counted:]
    return Study(title, truth, list(notes), rows[:num_counted], evidence, chosen)


def row_notes(networks: Networks, name: str) -> list[str]:
    """Which rows of a table are compared."""
    text = f"{len(networks)} networks drawn from the {networks.num_rows:,} rows of {name}; architectures that are one "
    text += "network when trained from scratch count once."
    if networks.num_disconnected:
        text += (
            f" {networks.num_disconnected} rows whose output does not depend on their input are left out: any score "
            "tells them from the others."
        )
    return [text]


def _check_trained(run: Run) -> None:
    if METHODS[run.config.method].sampler is None:
        raise RunDirectoryError(
            f"rank needs a supernet, but method {run.config.method} trains none; rank scores by `onepath rank --proxy`"
        )
    if not run.is_done("train"):
        path = run.directory.path
        raise RunDirectoryError(
            f"rank needs a trained supernet, but {path} has none; run `onepath train --out {path}` first"
        )


def _estimate(
    run: Run, clock: StageClock, architectures: Sequence[Architecture], options: RankOptions
) -> dict[str, list[float]]:
    """The scores asked for, higher is better; estimates that are stored already are not made again."""
    from onepath.estimate import SupernetEstimator

    config = run.config
    calibration = options.calibration_images or config.calibration_images
    validation = options.validation_images or config.validation_images
    content = run.directory.weights_path(SUPERNET).read_bytes()
    setting = f"supernet {hashlib.sha256(content).hexdigest()[:16]}, calibration {calibration}, validation {validation}"
    with EstimateStore(run.path / ESTIMATES) as store:
        known = store.read(setting)
        left = [architecture for architecture in architectures if str(architecture) not in known]
        if left:
            estimator = SupernetEstimator(
                run.trained,
                run.task,
                calibration_images=calibration,
                validation_images=validation,
                device=config.train_on,
                seed=int(generator(config.seed, "estimate").integers(2**31)),
                precision=config.precision,
            )
            run.progress.begin("estimating", len(architectures), len(architectures) - len(left))
            for place, architecture in enumerate(left, len(architectures) - len(left) + 1):
                found = estimator.estimate(architecture)
                numbers = {"accuracy": found.accuracy, "loss": found.loss}
                store.put(setting, str(architecture), numbers, found.seconds)
                run.progress.advance(place)
                clock.tick()
            run.progress.finish()
            known = store.read(setting)
    signs = {"accuracy": 1.0, "loss": -1.0}
    return {
        name: [_number(known[str(architecture)][name], signs[name]) for architecture in architectures]
        for name in options.scores
    }


def _draw(run: Run, num: int, first: Sequence[str], without: Sequence[str]) -> list[str]:
    """Random architectures that meet the limits, no two of them one network; fewer where there are not enough."""
    space = run.blank.space
    parse = space.parse
    taken = {space.standalone_form(parse(name)): name for name in first[:num]}
    refused = {space.standalone_form(parse(name)) for name in without}
    rng = generator(run.config.seed, "ranked networks")
    for _ in range(_MOST_DRAWS):
        for architecture in space.architectures(run.feasible.sample(num, rng)):
            form = space.standalone_form(architecture)
            if len(taken) < num and form not in refused:
                taken.setdefault(form, str(form))
        if len(taken) >= num:
            break
    return list(taken.values())


def _train(run: Run, clock: StageClock, names: Sequence[str]) -> dict[str, float]:
    """Test accuracy of networks trained from scratch; those that are stored are not trained again."""
    config = run.config
    recipe = run.recipe(retrain=True)
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
    return {name: _number(known[name]["test"], 1.0) for name in names}


def _train_one(run: Run, clock: StageClock, network: PlannedNetwork, num: int, on_trained: Any) -> None:
    on_point, on_update = watch(run, clock, network.name, f"training {network.name} of {num}")
    trained = train_network(
        run, network, checkpoint_seconds=run.checkpoint_seconds, on_point=on_point, on_update=on_update
    )
    run.progress.finish()
    on_trained(network, trained)


def _costs(run: Run, networks: Networks) -> dict[str, list[float]]:
    counted = [run.cost(architecture) for architecture in networks.architectures]
    return {"macs": [float(macs) for macs, _ in counted], "params": [float(params) for _, params in counted]}


def _similarity(run: Run, options: RankOptions) -> dict[str, Any]:
    """Of a batch of training images, for spaces with choice blocks."""
    from onepath.estimate import feature_similarity
    from onepath.nn import ChoiceBlock

    has_blocks = any(isinstance(part, ChoiceBlock) for part in run.trained.modules())
    if not options.similarity_paths or not has_blocks or len(run.input_shape) != 3:
        return {}
    images = next(iter(run.task.batches("train", _SIMILARITY_IMAGES, num_examples=_SIMILARITY_IMAGES)))[0]
    device = next(run.trained.parameters()).device
    rng = generator(options.seed, "similarity paths")
    found = feature_similarity(run.trained, images.to(device), rng, num_paths=options.similarity_paths)
    return {path: {**asdict(layer)} for path, layer in found.items()}


def _supernet_note(run: Run, options: RankOptions) -> str:
    validation = options.validation_images or run.config.validation_images or run.facts["validation"]
    return (
        f"Scores: the weights of the supernet, its normalisation recalibrated on "
        f"{options.calibration_images or run.config.calibration_images:,} training images for each architecture, on "
        f"{validation:,} validation images."
    )


def _finish(run: Run, kind: str, study: Study) -> dict[str, Any]:
    """Write the study into the run directory, its page and, where there is one, the report."""
    from onepath.report import write_report
    from onepath.report.ranking import ranking_page

    path = run.directory.path
    content = run.directory.read_json(RANKING) or {}
    run.directory.write_json(RANKING, {**content, kind: asdict(study)})
    atomic_write_text(path / RANKING_PAGE, ranking_page([study]))
    files = {"json": str(path / RANKING), "page": str(path / RANKING_PAGE)}
    if (path / REPORT).is_file():
        write_report(path)
        files["report"] = str(path / REPORT)
    return {**asdict(study), "files": files}


def _number(value: float | None, sign: float) -> float:
    return -math.inf if value is None else sign * value


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _array(values: Sequence[float]) -> Any:
    import numpy as np

    return np.array(values, dtype=np.float64)
