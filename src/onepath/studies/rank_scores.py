"""`onepath rank --proxy`: how well scores of untrained networks rank those whose accuracy is known."""

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
    """Score random rows of a table and compare; each row's scores are kept beside the page as they come.

    Args:
        space: whose networks are scored, with the batch.
        names: of the scores, see `onepath.estimate.SCORES`.
        table: the truth.
        page: the .html to write; a .json and a .sqlite of the scores are written beside it.
        options: the number of rows, resamples and the seed.
        constraints: only rows that meet them.
        progress: where to tell.

    Returns:
        The study's JSON values, "seconds": score -> mean time of those made now, and "files".

    Raises:
        ConfigurationError: a score that does not exist or needs data where there are none, or no row is left.
        DataError: the table does not fit the space.
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
