"""The front of what a search evaluated: accuracy against MACs and parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from onepath.record import TrialRow
from onepath.runs.methods import METHODS
from onepath.runs.opened import Run
from onepath.verdict import COSTS, cost_of, front_of


def front_record(run: Run, trials: Sequence[TrialRow]) -> dict[str, Any]:
    """What is stored of the front: the numbers of its trials, its hypervolume and the reference of that, and whether it
    decides which of equally accurate architectures wins.

    The reference of a cost is its limit, so that runs under the same limits can be compared; without one it is the
    largest evaluated.
    """
    reference = _reference(run, trials)
    front = front_of(trials, COSTS, list(reference.values()))
    return {
        "trials": [trials[index].number for index in front.indices],
        "hypervolume": front.hypervolume,
        "reference": reference,
        "decides_ties": METHODS[run.config.method].wins_from_front,
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
                "macs": rows[number].macs,
                "params": rows[number].params,
            }
            for number in front["trials"]
        ],
    }


def _reference(run: Run, trials: Sequence[TrialRow]) -> dict[str, float]:
    """The limit of every cost, else the largest evaluated."""
    return {
        name: getattr(run.config, f"max_{name}", None) or max(1, *(cost_of(row, name) or 0 for row in trials))
        for name in COSTS
    }
