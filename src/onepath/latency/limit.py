"""A hard limit in milliseconds on a named device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from onepath.cost.constraint import BoundConstraint, Constraint
from onepath.counting import CostTable
from onepath.errors import ConfigurationError
from onepath.latency.catalogue import device as named_device
from onepath.latency.device import Device
from onepath.latency.predictor.network_predictor import NetworkPredictor
from onepath.latency.profiling import profile
from onepath.latency.table import LatencyTable
from onepath.nn import Supernet
from onepath.space import SearchSpace
from onepath.temporary import TemporaryFolder

NAME = "max_latency_ms"
UNIT = "ms"
PREDICTOR_SUFFIX = ".safetensors"


class LatencyPredictor(Protocol):
    """What says how long an architecture of one space will take on one device."""

    @property
    def device(self) -> Mapping[str, Any]:
        """`Device.settings()` of where it was measured."""

    @property
    def table(self) -> CostTable | None:
        """The predictions as an additive table in ms, where they are additive; then sampling under a limit is exact."""

    def predict(self, space: SearchSpace, matrix: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """(rows,) latencies in ms of the architectures in the rows of `matrix`."""

    def check(
        self, space: SearchSpace, device: Device | None = None, input_shape: Sequence[int] | None = None
    ) -> None:
        """Nothing, where it is of this space, device and input shape; else ConfigurationError with both names."""

    def check_network(self, supernet: Supernet, name: str = ...) -> None:
        """Nothing, where it is of this very supernet, its widths included; else ConfigurationError."""

    def save(self, path: Path | str) -> None:
        """Write it as one file, atomically."""


def load_predictor(path: Path | str) -> LatencyPredictor:
    """The latency table (`.json`) or the predictor of whole networks (`.safetensors`) in a file.

    Raises:
        RunDirectoryError: the file is absent.
        DataError: it is damaged or something else.
    """
    if Path(path).suffix == PREDICTOR_SUFFIX:
        return NetworkPredictor.load(path)
    return LatencyTable.load(path)


def check_predictor(
    predictor: LatencyPredictor,
    supernet: Supernet,
    device: Device | None,
    input_shape: Sequence[int],
    name: str = "this network",
) -> None:
    """Nothing, where a predictor is of this very supernet, device and input shape, and predicts milliseconds.

    Args:
        predictor: a table or a predictor of whole networks.
        supernet: its weights do not matter.
        device: None is not compared.
        input_shape: of one example, without the batch.
        name: of the supernet, for the message.

    Raises:
        ConfigurationError: it is of another one; the message names both.
    """
    predictor.check(supernet.space, device, input_shape)
    predictor.check_network(supernet, name)
    if isinstance(predictor, LatencyTable) and predictor.unit != UNIT:
        raise ConfigurationError(
            f"a limit on latency needs a table in {UNIT}, but that of {predictor.space_name} is in "
            f"{predictor.unit}. Give a table of latencies."
        )


def known_network(predictor: LatencyPredictor) -> tuple[str, float] | None:
    """A typical network that was measured for a predictor: its architecture as text, and its latency in ms.

    None where the predictor does not tell of any.
    """
    if isinstance(predictor, LatencyTable):
        rows = predictor.evidence.get("networks", ())
        pairs = [(str(row["architecture"]), float(row["measured_ms"])) for row in rows if not row["is_noisy"]]
    elif isinstance(predictor, NetworkPredictor):
        tested = predictor.comparison.get("test_pairs") or {"architecture": (), "measured_ms": ()}
        pairs = list(zip(tested["architecture"], tested["measured_ms"], strict=True))
    else:
        pairs = []
    known = sorted((pair for pair in pairs if pair[0]), key=lambda pair: pair[1])
    return known[len(known) // 2] if known else None


class MaxLatency(Constraint):
    """At most this latency on a device, as a table or a predictor of it has it.

    Screens the candidates of a search. A prediction is no measurement: `onepath run` measures the winner, and
    `onepath.latency.confirm` does so for one network.
    """

    name = NAME

    def __init__(
        self, device: Device | str, ms: float, predictor: LatencyPredictor | Path | str | None = None
    ) -> None:
        """Keep the limit; nothing is measured yet.

        Args:
            device: the device or its name, see `onepath.latency.device`.
            ms: the largest latency allowed, inclusive.
            predictor: a `LatencyTable`, a `NetworkPredictor`, or the file of one; None: a table is profiled when the
                limit is first used, which takes minutes, and kept by this object.

        Raises:
            ConfigurationError: `ms` is not over 0, there is no such device, or the predictor is of another one.
            RunDirectoryError, DataError: the file cannot be read.
        """
        if not 0 < ms < float("inf"):
            raise ConfigurationError(f"{self.name} must be finite and over 0, but got {ms}. Raise it.")
        self.maximum = float(ms)
        self.device = named_device(device) if isinstance(device, str) else device
        self.predictor = load_predictor(predictor) if isinstance(predictor, str | Path) else predictor

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.device.name!r}, {self.maximum:g})"

    def bind(self, supernet: Supernet, input_shape: tuple[int, ...]) -> BoundConstraint:
        """The limit on the predicted latency; with an additive table where there is one.

        Raises:
            ConfigurationError: the predictor is of another space, device or input shape; names both.
        """
        if self.predictor is None:
            with TemporaryFolder() as folder:
                self.predictor = profile(supernet, self.device, input_shape, path=folder / "table.json")
        check_predictor(self.predictor, supernet, self.device, input_shape)
        space, table, predict = supernet.space, self.predictor.table, self.predictor.predict
        if table is not None:
            # Not `predict`, so that sampling and screening agree to the last bit.
            return BoundConstraint(
                self.name, UNIT, self.maximum, lambda matrix: table.costs(space, matrix), table
            )
        return BoundConstraint(self.name, UNIT, self.maximum, lambda matrix: predict(space, matrix))
