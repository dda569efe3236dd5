"""Scores without training for a run's search, by several processes where that is worth their start."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onepath.estimate import score_definition
from onepath.methods.job import RANDOM_BATCH
from onepath.runs.scoring_team import ScoringTeam

if TYPE_CHECKING:
    from onepath.runs.definition import RunDefinition

FEWEST_SCORED = 128
"""Networks for which a process is worth its start of some seconds."""


def num_scoring(run: RunDefinition, name: str, num_left: int) -> int:
    """Processes that score: none for few networks, nor where each would have to load the data."""
    if score_definition(name).reads_data or len(run.input_shape) != 3 or not run.is_loadable:
        return 1
    return min(run.config.workers or 1, num_left // FEWEST_SCORED)


def pooled_scores(
    run: RunDefinition, name: str, num_examples: int | None, num_workers: int
) -> ScoringTeam:
    """An estimator of a score by several processes."""
    shape = (min(num_examples or RANDOM_BATCH, run.facts["train"]), *run.input_shape)
    return ScoringTeam(run, name, shape, run.config.seed, num_workers)
