"""The front of what a search evaluated: accuracy against MACs and parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from onepath.record import TrialRow
from onepath.runs.opened import Run

if TYPE_CHECKING:
    from onepath.methods import Front
    from onepath.search.feasible import Costs

OBJECTIVES = ("macs", "params")


def front_rows(run: Run, trials: Sequence[TrialRow]) -> list[TrialRow]:
    """The trials that no other one reaches in accuracy, MACs and parameters and exceeds in one; by rising MACs."""
    by_architecture = {row.architecture: row for row in trials}
    return [by_architecture[str(trial.architecture)] for trial in _front(run, trials, None).trials]


def front_record(run: Run, trials: Sequence[TrialRow]) -> dict[str, Any]:
    """What is stored of the front: the numbers of its trials, its hypervolume and the reference of that, and whether it
    decides which of equally accurate architectures wins.

    The reference of a cost is its limit, so that runs under the same limits can be compared; without one it is the
    largest evaluated.
    """
    reference = _reference(run, trials)
    front = _front(run, trials, [reference[name] for name in OBJECTIVES])
    number = {row.architecture: row.number for row in trials}
    return {
        "trials": [number[str(trial.architecture)] for trial in front.trials],
        "hypervolume": front.hypervolume,
        "reference": reference,
        "decides_ties": getattr(run.config.options, "ties", "loss") == "front",
    }


def front_result(record: Mapping[str, Any], trials: Sequence[TrialRow]) -> dict[str, Any] | None:
    """The front for `result.json`, by rising MACs; None for a search that stored none.

    Args:
        record: of the stage `search`.
        trials: every trial of the run.
    """
    front = record.get("front")
    if front is None:
        return None
    rows = {row.number: row for row in trials}
    return {
        "hypervolume": front["hypervolume"],
        "reference": front["reference"],
        "architectures": [
            {
                "architecture": rows[number].architecture,
                "inherited_validation": rows[number].accuracy,
                "macs": int(rows[number].costs["macs"]),
                "params": int(rows[number].costs["params"]),
            }
            for number in front["trials"]
        ],
    }


def _front(run: Run, trials: Sequence[TrialRow], reference: Sequence[float] | None) -> Front:
    from onepath.estimate import Estimate
    from onepath.methods import Found, Trial, front_of

    space, num = run.blank.space, run.facts["validation"]
    found = [
        Trial(
            space.parse(row.architecture),
            # What gave no finite accuracy is on no front.
            Estimate(np.nan if row.accuracy is None else row.accuracy, 0.0, row.seconds, num),
            "random",
            row.generation,
        )
        for row in trials
    ]
    return front_of(Found(tuple(found)), [_stored(trials, name) for name in OBJECTIVES], reference)


def _stored(trials: Sequence[TrialRow], name: str) -> Costs:
    """A cost as it was stored, for the matrix of these trials alone: counting it again may take long."""
    column = np.array([row.costs[name] for row in trials], dtype=np.float64)
    return lambda _: column


def ordered(run: Run, trials: Sequence[TrialRow], ties: str) -> list[TrialRow]:
    """Trials, best first; see `best_first`."""
    from onepath.runs.replay import finite_loss, finite_score
    from onepath.verdict import best_first

    order = best_first(
        [finite_score(row) for row in trials],
        [finite_loss(row) for row in trials],
        is_derived=[row.origin == "derived" for row in trials],
        costs=[[row.costs[name] for row in trials] for name in OBJECTIVES],
        ties=ties,
    )
    return [trials[index] for index in order]


def _reference(run: Run, trials: Sequence[TrialRow]) -> dict[str, int]:
    limits = {name: run.config.limit(f"max_{name}") for name in OBJECTIVES}
    return {name: int(limits[name] or max(1, *(row.costs[name] for row in trials))) for name in OBJECTIVES}
