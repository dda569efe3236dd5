"""`onepath rank --proxy`: how well scores of untrained networks rank networks whose accuracy is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from onepath.cost import Constraint
from onepath.record import atomic_write_json, atomic_write_text
from onepath.report.study_pages import ranking_page
from onepath.runs import Progress, SilentProgress
from onepath.studies.comparison import RankOptions, Table, make_study
from onepath.studies.untrained import UntrainedSpace


def rank_scores(
    space: UntrainedSpace,
    names: Sequence[str],
    table: Table,
    page: Path,
    options: RankOptions,
    *,
    constraints: Sequence[Constraint] = (),
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Score random rows of a table without training, and compare the scores with the table.

    The scores of each row are stored beside the page as soon as they are computed, so that the same call continues
    after a kill.

    Args:
        space: space whose networks are scored, with the batch.
        names: names of the scores, see `onepath.estimate.SCORES`.
        table: the known accuracies.
        page: path of the .html to write; a .json and a .sqlite of the scores are written beside it.
        options: number of rows and resamples, and the seed.
        constraints: hard limits; only rows that meet all of them are compared.
        progress: shows the progress; None shows nothing.

    Returns:
        The study's JSON values; "seconds": name of a score -> mean time of the computations of this call; "files": kind
        of a file -> its path.

    Raises:
        ConfigurationError: a score does not exist, or reads data and there are none; the table is not a .parquet or
            .csv file or lacks a column; or no row is left.
        DataError: the table cannot be read, or a row does not fit the space.
    """
    space.check_names(names)
    shown = SilentProgress() if progress is None else progress
    rows = table.rows(space.supernet.space, options, space.feasible(constraints))
    architectures = rows.networks.architectures
    found = space.scores(names, architectures, page.with_suffix(".sqlite"), shown)
    uncounted: list[str] = []
    costs = space.costs(architectures, lambda text: uncounted.append(f"{text}."))
    study = make_study(
        f"Scores without training against {table.path.name}",
        rows.truth,
        [*rows.notes, f"Each score is of fresh weights and one batch: {space.source}.", *uncounted],
        rows.networks,
        {name: [row[name].value for row in found] for name in names},
        costs,
        options,
    )
    atomic_write_text(page, ranking_page([study]))
    atomic_write_json(page.with_suffix(".json"), asdict(study))
    seconds = {name: [row[name].seconds for row in found if row[name].seconds] for name in names}
    return {
        **asdict(study),
        "seconds": {name: sum(each) / len(each) for name, each in seconds.items() if each},
        "files": {"page": str(page), "json": str(page.with_suffix(".json"))},
    }
