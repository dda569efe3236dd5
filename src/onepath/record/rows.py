"""The rows of the trial store; field names are column names."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar, get_type_hints

Row = TypeVar("Row", "TrialRow", "NetworkRow", "CurvePoint", "StageRow")
# Names of trainings and stages, which become parts of file names.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")
_ROLE = re.compile(r"winner|baseline-\d{1,9}")
STARTS = ("scratch", "inherited", "fine-tuned", "as-is")


@dataclass(frozen=True)
class TrialRow:
    """One evaluated architecture.

    Attributes:
        number: 0, 1, 2, ... in the order of evaluation.
        architecture: text of the architecture, `Architecture.__str__`; unique in the store.
        generation: generation of the search algorithm, counted from 0.
        origin: how the architecture was made: "random", "mutation", "crossover", "policy", "derived" or
            "given".
        accuracy: the task's score on the validation split with inherited weights, higher is better; in a run that
            searches by a score without training, that score. None if it was not finite.
        loss: validation loss with inherited weights, lower is better; None if it was not finite.
        costs: name of a cost, for example "macs" -> cost of the stand-alone network.
        seconds: time that the evaluation took.
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
    """One stand-alone network.

    Attributes:
        role: "winner", "baseline-0", "baseline-1", ...
        start: where its weights came from: "scratch" (fresh weights), "inherited" (the supernet's weights, trained
            further), "fine-tuned" (the same with a short training at a low rate), or "as-is" (the supernet's weights,
            not trained further).
        architecture: text of the architecture, `Architecture.__str__`.
        seed: seed of its training.
        costs: name of a cost, for example "macs" -> cost of the network.
        inherited_validation: what `TrialRow.accuracy` is: the task's score with the supernet's weights, or the score
            without training.
        retrained_validation: the task's score on the validation split after the network's own training.
        retrained_test: the task's score on the test split after the network's own training; None until the final
            evaluation.
        seconds: time that its training took.
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
        curve: name of the training: "supernet", or a network's role and start, for example "winner-scratch".
        point: 0, 1, 2, ... along the curve.
        update_number: number of optimizer updates done.
        epoch: number of passes over the training data done, a fraction inside a pass.
        loss: training loss; None if it was not finite.
        metric: the task's score on training batches, higher is better, for example accuracy in [0, 1]; None if it was
            not finite.
        learning_rate: learning rate of this update.
        seconds: training time up to this point, over all processes that worked on the training.
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
        stage: name of the stage, for example "train", "search", "retrain" or "export"; "data" holds the facts about the
            data.
        seconds: time spent in the stage so far, over all processes.
        done: whether the stage has finished.
        record: results of the stage that later stages and the report need; JSON values.
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
    """Make a row from stored values, and check them.

    Args:
        kind: class of the row.
        values: value of each field, in the order of the fields.

    Raises:
        ValueError: the number of values is wrong, or a value is not of its field's type, is not finite, is a negative
            count, cost or time, or is a name that onepath does not write.
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
