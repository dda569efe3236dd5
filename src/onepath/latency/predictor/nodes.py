"""What stands where in the header of a latency predictor."""

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
    """What the predictor was fitted to."""

    name: Text
    fingerprint: Text
    network: Text | None = None


class TestPairsNode(Node):
    """What it is judged by."""

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
    """What `write_report` writes, as far as anything else reads it."""

    winner: Literal["mlp", "ridge", "trees"]
    space: SpaceNode
    device: SettingsNode
    input_shape: Shape | None
    error_ms_95: Cost
    models: dict[Text, dict[str, Any]]
    test_pairs: TestPairsNode | None = None


class PredictorNode(Node):
    """The whole header."""

    format: Literal["onepath latency predictor, 1"]
    features: dict[str, Any]
    comparison: ComparisonNode


class PairNode(Node):
    """A network that was measured."""

    architecture: AnyText
    latency_ms: TimeMs
    iqr_ms: Cost
    repeats: Count
    threads: Count
    is_noisy: StrictBool
    reference_ms: TimeMs


class PairsNode(Node):
    """What `measure_pairs` wrote; its settings are compared as they are."""

    format: Literal["onepath latency pairs, 1"]
    space: SpaceNode
    pairs: list[PairNode]
