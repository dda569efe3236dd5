"""The front of what a search evaluated: its score against the costs that are limited or chosen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from onepath.record import TrialRow
from onepath.verdict import COSTS, Ties, cost_of, front_of


def front_record(
    trials: Sequence[TrialRow], limits: Mapping[str, float], ties: Ties, costs: Sequence[str] = ()
) -> dict[str, Any]:
    """What is stored of the front: the numbers of its trials, its hypervolume and the reference of that, and whether it
    decides which of equally good architectures wins.

    The reference of a cost is its limit, so that runs under the same limits can be compared; without one it is the
    largest evaluated.

    Args:
        trials: of the search, at least one.
        limits: of the run by name, "max_macs".
        ties: of the method.
        costs: of the front; by default MACs, parameters, and what else the trials have that is limited.
    """
    limited = [name.removeprefix("max_") for name in limits]
    known = [name for name in limited if any(cost_of(row, name) is not None for row in trials)]
    names = list(costs or dict.fromkeys([*COSTS, *known]))
    reference = {
        name: limits.get(f"max_{name}") or max(1, *(cost_of(row, name) or 0 for row in trials))
        for name in names
    }
    front = front_of(trials, names, list(reference.values()))
    return {
        "trials": [trials[index].number for index in front.indices],
        "hypervolume": front.hypervolume,
        "reference": reference,
        "decides_ties": ties == "front",
    }


def front_result(record: Mapping[str, Any], trials: Sequence[TrialRow]) -> dict[str, Any] | None:
    """The front for `result.json`, by rising costs; None for a search that stored none.

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
                **{name: cost_of(rows[number], name) for name in front["reference"]},
            }
            for number in front["trials"]
        ],
    }
