"""The fields of a latency table, of an unfinished measurement, and of the measurements that a run keeps."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, StrictBool, StrictInt, model_validator

from onepath.latency.checked_files import (
    AnyText,
    Cost,
    Count,
    Examples,
    Node,
    Number,
    Shape,
    Slope,
    Text,
    TimeMs,
)

FORMAT = "onepath latency table, 1"
PARTIAL_FORMAT = "onepath latency profile in progress, 1"


class EntryNode(Node):
    """The fields of `Entry`."""

    mean: Cost
    std: Cost
    n: Count
    is_noisy: StrictBool = False


class CalibrationNode(Node):
    """The fields of `Calibration`; a latency neither falls with the sum of its parts nor begins under 0."""

    slope: Slope
    intercept: Cost


class SpaceNode(Node):
    """The space that was profiled."""

    name: Text
    arguments: dict[Text, Any]
    fingerprint: Text
    network: Text


class TermNode(Node):
    """The fields of `Term`."""

    choices: Annotated[list[Text], Field(min_length=1)]
    shape: Shape
    keys: list[list[Text]]

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len(set(self.choices)) != len(self.choices) or len(self.shape) != len(self.choices):
            raise ValueError("a term must have distinct choices, and a size for each")
        if math.prod(self.shape) != len(self.keys):
            raise ValueError(f"keys must be {math.prod(self.shape):,}, one list for each joint option")
        return self


class ErrorsNode(Node):
    """The errors on fresh networks; empty if the table was not validated."""

    num: Count | None = None
    mape_percent: Cost | None = None
    rmse_ms: Cost | None = None
    spearman: Number | None = None
    error_ms_95: Cost = 0.0


class NetworkNode(Node):
    """A whole network that was measured."""

    architecture: AnyText
    measured_ms: TimeMs
    is_noisy: StrictBool
    use: Literal["calibration", "validation"] = "validation"
    iqr_ms: Cost = 0.0
    sum_ms: Number = 0.0
    predicted_ms: Number = 0.0


class EvidenceNode(Node):
    """The other records of the measurement, as far as other code reads them."""

    settings: Annotated[dict[str, Any], Field(default_factory=dict)]
    rounds: Count = 1
    seconds: Cost = 0.0
    empty_ms: Annotated[dict[Text, Cost], Field(default_factory=dict)]
    networks: Annotated[list[NetworkNode], Field(default_factory=list)]


class TableNode(Node):
    """The whole file of a latency table."""

    format: Literal["onepath latency table, 1"]
    space: SpaceNode
    input_shape: Shape
    device: Text
    batch: Examples
    dtype: Text
    threads: Count
    runtime_version: AnyText | None
    processor: AnyText | None
    unit: Text
    calibration: CalibrationNode
    errors: ErrorsNode
    entries: Annotated[dict[Text, EntryNode], Field(min_length=1)]
    constant: list[Text]
    terms: list[TermNode]
    evidence: EvidenceNode


class RoundsNode(Node):
    """The fields of `Rounds`; every round has all items in some order."""

    num_items: Count
    orders: list[list[StrictInt]]
    times_ms: list[list[TimeMs]]
    seconds: Cost

    @model_validator(mode="after")
    def _check(self) -> Self:
        every = list(range(self.num_items)) if any(self.orders) else []
        if len(self.orders) != len(self.times_ms) or any(sorted(order) != every for order in self.orders):
            raise ValueError("every round must have all items in some order, and their times")
        if any(len(times) != self.num_items for times in self.times_ms):
            raise ValueError("every round must have a time for each item")
        return self


class PartialNode(Node):
    """An unfinished measurement; its settings are compared with the present ones, not checked here."""

    format: Literal["onepath latency profile in progress, 1"]
    items: list[AnyText]
    rounds: RoundsNode


class LatencyNode(Node):
    """The fields of `Latency`; another field is an error."""

    model_config = ConfigDict(extra="forbid")

    median_ms: TimeMs
    iqr_ms: Cost
    repeats: Count
    threads: Count
    is_noisy: StrictBool


class MeasuredNode(Node):
    """The measurements that the store of a run keeps."""

    measured: Annotated[dict[AnyText, LatencyNode], Field(default_factory=dict)]
