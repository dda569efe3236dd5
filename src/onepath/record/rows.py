"""The rows of the trial store; field names are column names."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class TrialRow:
    """One evaluated architecture.

    Attributes:
        number: 0, 1, 2, ... in the order of evaluation.
        architecture: compact string, `Architecture.__str__`; unique.
        generation: of the search algorithm, from 0.
        origin: "random", "mutation" or "crossover".
        accuracy: inherited validation accuracy in [0, 1], higher is better; in a run that searches by a score, the
            score. None where it was not finite.
        loss: inherited validation loss, lower is better; None where it was not finite.
        macs: multiply-accumulates of the stand-alone network.
        params: parameters of the stand-alone network.
        seconds: time of the evaluation.
    """

    number: int
    architecture: str
    generation: int
    origin: str
    accuracy: float | None
    loss: float | None
    macs: int | None
    params: int | None
    seconds: float


@dataclass(frozen=True)
class NetworkRow:
    """One network trained on its own.

    Attributes:
        role: "winner", "baseline-0", "baseline-1", ...
        start: "scratch" or "inherited", where its weights began.
        architecture: compact string.
        seed: of its training.
        macs: multiply-accumulates.
        params: number of parameters.
        inherited_validation: validation accuracy with the supernet's weights, or the score, as in `TrialRow`.
        retrained_validation: validation accuracy after its own training.
        retrained_test: test accuracy after its own training; None until the final evaluation.
        seconds: time of its training.
    """

    role: str
    start: str
    architecture: str
    seed: int
    macs: int | None
    params: int | None
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
