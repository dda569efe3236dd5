"""The fields in the header of a latency predictor and in a file of measured pairs, as they are checked on reading."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import StrictBool, model_validator

from onepath.latency.checked_files import (
    AnyText,
    Cost,
    Count,
    Node,
    Number,
    SettingsNode,
    Shape,
    Text,
    TimeMs,
)

FORMAT = "onepath latency predictor, 1"


class SpaceNode(Node):
    """The space that the predictor was fitted to."""

    name: Text
    fingerprint: Text
    network: Text | None = None


class TestPairsNode(Node):
    """The test pairs: measured latencies, and what each model predicted for them."""

    architecture: list[AnyText]
    measured_ms: list[TimeMs]
    predicted_ms: dict[Text, list[Number]]

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len(self.architecture) != len(self.measured_ms):
            raise ValueError("there must be one architecture for each measured latency")
        if any(len(values) != len(self.measured_ms) for values in self.predicted_ms.values()):
            raise ValueError("there must be one prediction for each measured latency")
        return self


class ComparisonNode(Node):
    """The fields of a predictor's comparison that other code reads."""

    winner: Literal["mlp", "ridge", "trees"]
    space: SpaceNode
    device: SettingsNode
    input_shape: Shape | None
    error_ms_95: Cost
    models: dict[Text, dict[str, Any]]
    test_pairs: TestPairsNode | None = None


class PredictorNode(Node):
    """The whole header of a predictor's file."""

    format: Literal["onepath latency predictor, 1"]
    features: dict[str, Any]
    comparison: ComparisonNode


class PairNode(Node):
    """One network that was measured."""

    architecture: AnyText
    latency_ms: TimeMs
    iqr_ms: Cost
    repeats: Count
    threads: Count
    is_noisy: StrictBool
    reference_ms: TimeMs


class PairsNode(Node):
    """The file that `measure_pairs` writes.

    Its device, input shape and seed are compared with the present ones, not checked here.
    """

    format: Literal["onepath latency pairs, 1"]
    space: SpaceNode
    pairs: list[PairNode]
