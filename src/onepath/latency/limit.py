"""A hard limit on the latency of an architecture, in milliseconds on a named device."""

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
from onepath.latency.kept import kept_or_profiled
from onepath.latency.predictor.network_predictor import NetworkPredictor
from onepath.latency.table import LatencyTable, spread_out
from onepath.nn import Supernet
from onepath.space import SearchSpace
from onepath.temporary import TemporaryFolder

NAME = "max_latency_ms"
UNIT = "ms"
PREDICTOR_SUFFIX = ".safetensors"


class LatencyPredictor(Protocol):
    """Predicts how long an architecture of one space will take on one device."""

    @property
    def device(self) -> Mapping[str, Any]:
        """Settings of the device that was measured, see `Device.settings`."""

    @property
    def table(self) -> CostTable | None:
        """The predictions as an additive table in ms, so that sampling under a limit is exact; None if not additive."""

    def predict(self, space: SearchSpace, matrix: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Return (rows,) latencies in ms of the architectures in the rows of `matrix`."""

    def check(
        self, space: SearchSpace, device: Device | None = None, input_shape: Sequence[int] | None = None
    ) -> None:
        """Raise ConfigurationError, which names both, unless it belongs to this space, device and input shape."""

    def check_network(self, supernet: Supernet, name: str = ...) -> None:
        """Raise ConfigurationError unless it belongs to this very supernet, its widths included."""

    def save(self, path: Path | str) -> None:
        """Write the predictor as one file, atomically."""


def load_predictor(path: Path | str) -> LatencyPredictor:
    """Return the latency table (`.json`) or the predictor of whole networks (`.safetensors`) in a file.

    Raises:
        RunDirectoryError: the file is absent.
        DataError: the file is damaged, or is neither of them.
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
    """Raise unless a predictor belongs to this very supernet, device and input shape, and predicts milliseconds.

    Args:
        predictor: a table or a predictor of whole networks.
        supernet: the supernet; its weights do not matter.
        device: the device; None is not compared.
        input_shape: shape of one example, without the batch.
        name: name of the supernet, for the message.

    Raises:
        ConfigurationError: the predictor belongs to something else, which the message names, or has another unit.
    """
    predictor.check(supernet.space, device, input_shape)
    predictor.check_network(supernet, name)
    if isinstance(predictor, LatencyTable) and predictor.unit != UNIT:
        raise ConfigurationError(
            f"a limit on latency needs a table in {UNIT}, but that of {predictor.space_name} is in "
            f"{predictor.unit}; give a table of latencies"
        )


def known_network(predictor: LatencyPredictor) -> tuple[str, float] | None:
    """Return a typical network that was measured for a predictor: its architecture as text, and its latency in ms.

    It is the network of median latency; None if the predictor names no networks.
    """
    found: list[tuple[str, float]] = []
    if isinstance(predictor, LatencyTable):
        found = predictor.known_networks(1)
    elif isinstance(predictor, NetworkPredictor):
        tested = predictor.comparison.get("test_pairs") or {"architecture": (), "measured_ms": ()}
        found = spread_out(zip(tested["architecture"], tested["measured_ms"], strict=True), 1)
    return found[0] if found else None


class MaxLatency(Constraint):
    """A limit on the latency on a device, as a table or a predictor of this latency predicts it.

    The limit decides which candidates of a search are allowed. A prediction is not a measurement: `onepath run`
    measures the winner, and `onepath.latency.confirm` measures one network.

    Example:
        At most 0.24 ms in onnxruntime on this machine, as a table of `onepath profile` predicts it::

            limit = op.MaxLatency("onnxruntime-cpu", 0.24, "shufflenet.json")
            op.search_supernet(supernet, data, algorithm, constraints=[limit])
    """

    name = NAME

    def __init__(
        self, device: Device | str, ms: float, predictor: LatencyPredictor | Path | str | None = None
    ) -> None:
        """Store the limit; nothing is measured yet.

        Args:
            device: the device or its name, see `onepath.latency.device`.
            ms: the largest latency allowed, inclusive, in ms.
            predictor: a `LatencyTable`, a `NetworkPredictor`, or the path of a file with one of them. None: a table
                that was kept for this space, device and machine (`onepath.latency.kept`); if there is none, a table is
                profiled when the limit is first used, which takes minutes.

        Raises:
            ConfigurationError: `ms` is not finite and over 0, there is no such device, or it cannot be used here.
            RunDirectoryError, DataError: the file of the predictor cannot be read.
        """
        if not 0 < ms < float("inf"):
            raise ConfigurationError(f"{self.name} must be finite and over 0, but got {ms}; raise it")
        self.maximum = float(ms)
        self.device = named_device(device) if isinstance(device, str) else device
        self.predictor = load_predictor(predictor) if isinstance(predictor, str | Path) else predictor

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.device.name!r}, {self.maximum:g})"

    def bind(self, supernet: Supernet, input_shape: tuple[int, ...]) -> BoundConstraint:
        """Return the limit for a supernet, with an additive table if the predictor has one.

        Raises:
            ConfigurationError: the predictor is of another space, device or input shape; the message names both.
            SpaceError, ShapeError, UserError: if a table has to be profiled, the errors of `profile`.
        """
        if self.predictor is None:
            with TemporaryFolder() as folder:
                path = folder / "table.json"
                self.predictor = kept_or_profiled(supernet, self.device, input_shape, path=path)
        check_predictor(self.predictor, supernet, self.device, input_shape)
        space, table = supernet.space, self.predictor.table
        # Not `predict` where there is a table, so that sampling and screening agree to the last bit.
        costs = self.predictor.predict if table is None else table.costs
        return BoundConstraint(self.name, UNIT, self.maximum, lambda matrix: costs(space, matrix), table)
