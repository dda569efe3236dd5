"""Comparison of scores with known truth: its options, the rows of a table, the evidence and its page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from numbers import Integral
from pathlib import Path
from typing import Any, NamedTuple

from onepath.errors import ConfigurationError, shown
from onepath.estimate import Networks, TableEstimator, one_row_per_network, rank_evidence
from onepath.most import IMAGES, NETWORKS, SEED, TRAININGS
from onepath.randomness import generator
from onepath.record import atomic_write_text
from onepath.record.directory import RANKING, RANKING_PAGE, REPORT
from onepath.report import write_report
from onepath.report.study_pages import Study, ranking_page
from onepath.runs import Run
from onepath.search import FeasibleSet
from onepath.space import SearchSpace

BASELINES = ("macs", "params")
SCORES = ("accuracy", "loss")
_RANGES = {
    "num": (1, NETWORKS),
    "calibration_images": (1, IMAGES),
    "validation_images": (1, IMAGES),
    "num_resamples": (0, NETWORKS),
    "similarity_paths": (0, TRAININGS),
    "seed": (0, SEED),
}


@dataclass(frozen=True)
class RankOptions:
    """The options of a comparison of scores with known truth.

    Attributes:
        num: largest number of rows of the table to compare.
        scores: the supernet's estimates to compare, of "accuracy" and "loss".
        calibration_images: number of images for recalibrating each architecture; None takes the run's number.
        validation_images: number of images for scoring each architecture; None takes the run's number.
        within_limits: True compares only rows that meet the run's limits, except for a limit on latency.
        num_resamples: number of bootstrap resamples.
        similarity_paths: number of random paths over which the candidates' feature maps are compared; 0 leaves the
            comparison out.
        seed: seed that draws rows and resamples.

    Raises:
        ConfigurationError: a number is not an integer or is out of its range.
    """

    num: int = 300
    scores: Sequence[str] = SCORES
    calibration_images: int | None = None
    validation_images: int | None = None
    within_limits: bool = False
    num_resamples: int = 1000
    similarity_paths: int = 4
    seed: int = 0

    def __post_init__(self) -> None:
        for name, (least, most) in _RANGES.items():
            value = getattr(self, name)
            if value is None and name.endswith("_images"):
                continue
            is_whole = isinstance(value, Integral) and not isinstance(value, bool)
            if not is_whole or not least <= int(value) <= most:
                raise ConfigurationError(
                    f"{name} must be a whole number from {least} to {most:,}, but got {shown(value)}; change it"
                )


class Rows(NamedTuple):
    """The rows that are compared.

    Attributes:
        networks: networks with their truth.
        truth: description of the truth, for the axis of a diagram.
        notes: sentences on where the rows come from.
    """

    networks: Networks
    truth: str
    notes: list[str]


@dataclass(frozen=True)
class Table:
    """A file of architectures and their accuracies, the truth of a comparison; see `onepath.estimate.TableEstimator`.

    Attributes:
        path: path of the .parquet or .csv file.
        accuracy_column: name of the column of accuracies; None if it has one of the default names.
        architecture_column: name of the column of architectures; None if it has one of the default names.
    """

    path: Path
    accuracy_column: str | None = None
    architecture_column: str | None = None

    def rows(self, space: SearchSpace, options: RankOptions, feasible: FeasibleSet | None = None) -> Rows:
        """Draw random rows, one for each network; with the same seed, a larger number includes a smaller one's rows.

        Args:
            space: search space of the architectures.
            options: gives the number of rows and the seed.
            feasible: architectures that may be drawn; None for all.

        Raises:
            ConfigurationError: the table is not a .parquet or .csv file, or lacks a column.
            DataError: the table cannot be read, or a row does not fit the space.
        """
        columns = {
            "accuracy_column": self.accuracy_column,
            "architecture_column": self.architecture_column,
        }
        table = TableEstimator(space, self.path, **columns)
        networks = one_row_per_network(table.architectures, table.accuracies)
        if feasible is not None:
            networks = networks.where(feasible.is_legal(space.matrix(networks.architectures)).tolist())
        networks = networks.draw(options.num, generator(options.seed, "ranked rows"))
        text = (
            f"{len(networks)} networks drawn from the {networks.num_rows:,} rows of {self.path.name}; "
            "architectures that are one network when trained from scratch count once."
        )
        if networks.num_disconnected:
            text += (
                f" {networks.num_disconnected} rows whose output does not depend on their input are left out: any "
                "score tells them from the others."
            )
        return Rows(networks, f"{table.accuracy_column} of {self.path.name}", [text])


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
    """Compute the rank evidence and collect the rows of the page.

    Args:
        title: title of the study.
        truth: description of the truth, for the axis of a diagram.
        notes: sentences on where the rows come from.
        networks: networks with their truth.
        scores: name of a score -> its value for each network, higher is better.
        costs: name of a cost -> its value for each network; costs are compared like scores and serve as baselines.
        options: gives the number of resamples and the seed.
        num_counted: number of networks, from the first, that count in the evidence; the others are only shown. None
            counts all.

    Raises:
        ConfigurationError: there are no networks.
    """
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


def write_study(run: Run, kind: str, study: Study) -> dict[str, Any]:
    """Write a study and its page into the run directory, and update the report if there is one.

    Args:
        run: the run that was studied.
        kind: key of the study in the file; a study of the same kind is replaced.
        study: the study.

    Returns:
        The study's JSON values, and "files": kind of a file -> its path.
    """
    path = run.directory.path
    content = run.directory.read_json(RANKING) or {}
    run.directory.write_json(RANKING, {**content, kind: asdict(study)})
    atomic_write_text(path / RANKING_PAGE, ranking_page([study]))
    files = {"json": str(path / RANKING), "page": str(path / RANKING_PAGE)}
    if (path / REPORT).is_file():
        write_report(path)
        files["report"] = str(path / REPORT)
    return {**asdict(study), "files": files}


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
