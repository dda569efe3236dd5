"""The front of the trials of a search: score against the costs that are limited or chosen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from onepath.record import TrialRow
from onepath.verdict import COSTS, Ties, cost_of, front_of


def front_record(
    trials: Sequence[TrialRow], limits: Mapping[str, float], ties: Ties, costs: Sequence[str] = ()
) -> dict[str, Any]:
    """Return what a run stores of the front of its search.

    The reference of a cost is its limit, so that runs under the same limits can be compared; without a limit it is the
    largest cost that was evaluated, at least 1.

    Args:
        trials: trials of the search, at least one.
        limits: option name -> limit of the run, such as "max_macs".
        ties: what decides between equally good trials, as the method says.
        costs: names of the costs of the front; if empty, MACs, parameters and every limited cost that the trials have.

    Returns:
        "trials": numbers of the trials on the front; "hypervolume"; "reference": name of a cost -> reference of the
        hypervolume; "decides_ties": whether the front decides which of equally good architectures wins.
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
    """Return the front for `result.json`, sorted by rising costs; None if the search stored no front.

    Args:
        record: record of the stage `search`.
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
