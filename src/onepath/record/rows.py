"""The rows of the trial store; field names are column names."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar, get_type_hints

Row = TypeVar("Row", "TrialRow", "NetworkRow", "CurvePoint", "StageRow")
# Names that become parts of file names.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")
_ROLE = re.compile(r"winner|baseline-\d{1,9}")
STARTS = ("scratch", "inherited", "fine-tuned", "as-is")


@dataclass(frozen=True)
class TrialRow:
    """One evaluated architecture.

    Attributes:
        number: 0, 1, 2, ... in the order of evaluation.
        architecture: compact string, `Architecture.__str__`; unique.
        generation: of the search algorithm, from 0.
        origin: "random", "mutation" or "crossover".
        accuracy: the task's score on the validation split with inherited weights, higher is better; in a run that
            searches by a score, the score. None where it was not finite.
        loss: inherited validation loss, lower is better; None where it was not finite.
        costs: name -> cost of the stand-alone network, such as "macs".
        seconds: time of the evaluation.
    """

    number: int
    architecture: str
    generation: int
    origin: str
    accuracy: float | None
    loss: float | None
    costs: dict[str, float]
    seconds: float


@dataclass(frozen=True)
class NetworkRow:
    """One network trained on its own.

    Attributes:
        role: "winner", "baseline-0", "baseline-1", ...
        start: where its weights began: "scratch", "inherited", "fine-tuned" or "as-is".
        architecture: compact string.
        seed: of its training.
        costs: name -> cost, such as "macs".
        inherited_validation: validation accuracy with the supernet's weights, or the score, as in `TrialRow`.
        retrained_validation: validation accuracy after its own training.
        retrained_test: test accuracy after its own training; None until the final evaluation.
        seconds: time of its training.
    """

    role: str
    start: str
    architecture: str
    seed: int
    costs: dict[str, float]
    inherited_validation: float | None
    retrained_validation: float | None
    retrained_test: float | None
    seconds: float


@dataclass(frozen=True)
class CurvePoint:
    """One point of a training curve.

    Attributes:
        curve: "supernet", or a network's role and start: "winner-scratch".
        point: 0, 1, 2, ... along the curve.
        update_number: optimizer updates done.
        epoch: passes over the training data done.
        loss: training loss; None where it was not finite.
        metric: training accuracy in [0, 1]; None where it was not finite.
        learning_rate: of this update.
        seconds: training time up to here, kills and reruns included.
    """

    curve: str
    point: int
    update_number: int
    epoch: float
    loss: float | None
    metric: float | None
    learning_rate: float | None
    seconds: float


@dataclass(frozen=True)
class StageRow:
    """How far a stage has come.

    Attributes:
        stage: "train", "search", "retrain", "export", "report", or "data" for what the data were.
        seconds: time spent in it so far, over all processes.
        done: whether it has finished.
        record: what later stages and the report need of it; JSON values.
    """

    stage: str
    seconds: float = 0.0
    done: bool = False
    record: dict[str, Any] = field(default_factory=dict)


_HINTS: dict[type, dict[str, Any]] = {
    kind: {name: dict if name in ("record", "costs") else hint for name, hint in get_type_hints(kind).items()}
    for kind in (TrialRow, NetworkRow, CurvePoint, StageRow)
}


def checked(kind: type[Row], values: Sequence[Any]) -> Row:
    """A row of stored values.

    Raises:
        ValueError: there are more or fewer than the row has fields, or one is not of its field's type, not finite,
            below 0 where it counts, or a name that is none of ours.
    """
    names = [each.name for each in fields(kind)]
    row: dict[str, Any] = dict(zip(names, values, strict=True))
    for name, value in row.items():
        if not _fits(name, value, _HINTS[kind][name]):
            raise ValueError(f"{name} of a {kind.__name__}")
    return kind(**row)


def _fits(name: str, value: object, hint: Any) -> bool:
    if not isinstance(value, hint):
        return False
    if name == "costs":
        return isinstance(value, dict) and all(map(_is_cost, value.items()))
    if name == "role":
        return _ROLE.fullmatch(str(value)) is not None
    if name in ("curve", "stage"):
        return NAME.fullmatch(str(value)) is not None
    if name == "start":
        return value in STARTS
    if isinstance(value, float):
        return math.isfinite(value) and (name != "seconds" or value >= 0)
    return not isinstance(value, int) or value >= 0


def _is_cost(item: tuple[Any, Any]) -> bool:
    name, cost = item
    is_number = type(cost) in (int, float) and math.isfinite(cost) and cost >= 0
    return isinstance(name, str) and NAME.fullmatch(name) is not None and is_number
