"""The layer-wise latency table: what every candidate takes at its input shape on one device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from onepath.counting import CostTable, CostTerm
from onepath.errors import ConfigurationError
from onepath.latency.checked_files import check_nodes, not_as_written, parse_json, read_text
from onepath.latency.device import Device
from onepath.latency.device_errors import one_line
from onepath.latency.keys import find_entry, shape_text, structure_digest
from onepath.latency.parts import Term
from onepath.latency.table_nodes import FORMAT, TableNode
from onepath.nn import Supernet
from onepath.record import atomic_write_json
from onepath.space import SearchSpace

_WHAT = "a latency table"
_SETTINGS = ("batch", "threads", "precision", "processor")


class Entry(NamedTuple):
    """What one candidate takes, in the table's unit.

    Attributes:
        mean: at the machine's median speed, without what an empty network takes.
        std: standard deviation of one timing, from the quartiles.
        n: timings, each the median of a block of runs.
        is_noisy: whether the quartiles are over a tenth of the level apart.
    """

    mean: float
    std: float
    n: int
    is_noisy: bool = False


class Calibration(NamedTuple):
    """latency = intercept + slope * sum of entries, fitted to whole networks."""

    slope: float = 1.0
    intercept: float = 0.0


@dataclass(frozen=True, eq=False)
class LatencyTable:
    """The latency of the architectures of one space on one device, as a sum over their candidates.

    Made by `profile` or `load`. Another cost of candidates, such as energy, can be given in the same format with
    its own unit.

    Attributes:
        entries: key -> entry; see `onepath.latency.keys`.
        constant: keys of the parts that every architecture has.
        terms: keys of the candidates by the choices they depend on.
        calibration: from the sum of the entries to the latency of the network.
        space: "name", "arguments", "fingerprint" of the choices and "network" of the supernet that was profiled.
        device: `Device.settings()`.
        input_shape: of one example, without the batch.
        unit: of the entries and predictions.
        errors: on fresh networks: "mape_percent", "rmse_ms", "spearman", "error_ms_95"; empty where never validated.
        evidence: what else was recorded: the networks, seed, times.
    """

    entries: Mapping[str, Entry]
    constant: tuple[str, ...]
    terms: tuple[Term, ...]
    calibration: Calibration
    space: Mapping[str, Any]
    device: Mapping[str, Any]
    input_shape: tuple[int, ...]
    unit: str = "ms"
    errors: Mapping[str, Any] = field(default_factory=dict)
    evidence: Mapping[str, Any] = field(default_factory=dict)

    @property
    def space_name(self) -> str:
        """The space with its arguments, for messages."""
        return space_text(self.space)

    @property
    def space_fingerprint(self) -> str:
        """Of the choices of the space."""
        return str(self.space["fingerprint"])

    @property
    def error_ms_95(self) -> float:
        """Bound on the absolute error of 95 % of fresh networks.

        Raises:
            ConfigurationError: the table was never validated.
        """
        if "error_ms_95" not in self.errors:
            raise ConfigurationError(
                f"the table of {self.space_name} must be validated to bound its error, but it is not. Profile the "
                "space on the device."
            )
        return float(self.errors["error_ms_95"])

    @cached_property
    def sums(self) -> CostTable:
        """Sums of entries, before the calibration."""
        constant = sum(find_entry(self.entries, key).mean for key in self.constant)
        terms = []
        for term in self.terms:
            costs = [sum(find_entry(self.entries, key).mean for key in cell) for cell in term.keys]
            terms.append(CostTerm(term.choices, np.array(costs, dtype=np.float64).reshape(term.shape)))
        return CostTable(float(constant), terms, self.unit)

    @cached_property
    def table(self) -> CostTable:
        """The predictions as an additive table, so that exact sampling under a limit works on them.

        Raises:
            ConfigurationError: a key has no entry; names the nearest ones.
        """
        slope, intercept = self.calibration
        terms = [CostTerm(term.choices, slope * term.costs) for term in self.sums.terms]
        return CostTable(intercept + slope * self.sums.constant, terms, self.unit)

    def cost_table(self, space: SearchSpace) -> CostTable:
        """`table`, for the space it is of.

        Raises:
            ConfigurationError: it is of another space, or a key has no entry.
        """
        self.check(space)
        return self.table

    def predict(self, space: SearchSpace, matrix: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """(rows,) latencies, in `unit`, of the architectures in the rows of `matrix`.

        Raises:
            ConfigurationError: the table is of another space.
        """
        costs: npt.NDArray[np.float64] = self.cost_table(space).costs(space, matrix)
        return costs

    def check(
        self, space: SearchSpace, device: Device | None = None, input_shape: Sequence[int] | None = None
    ) -> None:
        """Nothing, where the table is of this space, device and input shape; None is not compared.

        Raises:
            ConfigurationError: it is of another one; the message names both.
        """
        if space.fingerprint != self.space_fingerprint:
            raise ConfigurationError(
                f"a latency table must be of the space it is used for, but it is of {self.space_name} "
                f"({self.space_fingerprint[:8]}), and now it is a space of {space.num_choices} choices "
                f"({space.fingerprint[:8]}). Profile this space."
            )
        if device is not None:
            self._check_device(device)
        if input_shape is not None and tuple(input_shape) != self.input_shape:
            raise ConfigurationError(
                f"a latency table must be of the input shape it is used for, but it is of "
                f"{shape_text(self.input_shape)}, and now it is {shape_text(tuple(input_shape))}. Profile this shape."
            )

    def check_network(self, supernet: Supernet, name: str = "this network") -> None:
        """Nothing, where the table is of this very supernet: also its widths and numbers of classes.

        Args:
            supernet: its weights do not matter.
            name: of it, for the message.

        Raises:
            ConfigurationError: it is of another one.
        """
        self.check(supernet.space)
        if structure_digest(supernet.module) != self.space["network"]:
            raise ConfigurationError(
                f"a latency table must be of the space it is used for, but it is of {self.space_name}, and {name} has "
                "other sizes. Give the same arguments, or profile this space."
            )

    def _check_device(self, device: Device) -> None:
        now = device.settings()
        if now["name"] != self.device["name"]:
            raise ConfigurationError(
                f"a latency table must be of the device it is used for, but it is of {self.device['name']}, and now it "
                f"is {now['name']}. Profile this device."
            )
        for name in _SETTINGS:
            if now[name] != self.device.get(name):
                raise ConfigurationError(
                    f"a latency table must be of the device it is used for, but it is of {now['name']} with {name} "
                    f"{self.device.get(name)}, and now it is {now[name]}. Profile this device."
                )

    def to_data(self) -> dict[str, Any]:
        """For JSON: {device, batch, dtype, threads, unit, entries: {key: {mean, std, n}}} and what belongs to it."""
        return {
            "format": FORMAT,
            "space": dict(self.space),
            "input_shape": list(self.input_shape),
            "device": self.device["name"],
            "batch": self.device["batch"],
            "dtype": self.device["precision"],
            "threads": self.device["threads"],
            "runtime_version": self.device.get("version"),
            "processor": self.device.get("processor"),
            "unit": self.unit,
            "calibration": self.calibration._asdict(),
            "errors": dict(self.errors),
            "entries": {
                key: {"mean": entry.mean, "std": entry.std, "n": entry.n}
                | ({"is_noisy": True} if entry.is_noisy else {})
                for key, entry in self.entries.items()
            },
            "constant": list(self.constant),
            "terms": [
                {
                    "choices": list(term.choices),
                    "shape": list(term.shape),
                    "keys": [list(c) for c in term.keys],
                }
                for term in self.terms
            ],
            "evidence": dict(self.evidence),
        }

    def save(self, path: Path | str) -> None:
        """Write the table as JSON, atomically."""
        atomic_write_json(Path(path), self.to_data())

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> LatencyTable:
        """The table that `to_data` gave.

        Raises:
            ValueError: it is something else; names the first node that is amiss.
            ConfigurationError: a candidate has no entry.
        """
        node = check_nodes(TableNode, data)
        table = cls(
            entries={key: Entry(**entry.model_dump()) for key, entry in node.entries.items()},
            constant=tuple(node.constant),
            terms=tuple(
                Term(tuple(term.choices), tuple(term.shape), tuple(tuple(cell) for cell in term.keys))
                for term in node.terms
            ),
            calibration=Calibration(node.calibration.slope, node.calibration.intercept),
            space=dict(data["space"]),
            device={
                "name": node.device,
                "batch": node.batch,
                "threads": node.threads,
                "precision": node.dtype,
                "version": node.runtime_version,
                "processor": node.processor,
            },
            input_shape=tuple(node.input_shape),
            unit=node.unit,
            errors=dict(data["errors"]),
            evidence=dict(data["evidence"]),
        )
        for key in {*table.constant, *(key for term in table.terms for cell in term.keys for key in cell)}:
            find_entry(table.entries, key)
        return table

    @classmethod
    def load(cls, path: Path | str) -> LatencyTable:
        """The table in a file.

        Raises:
            RunDirectoryError: the file is absent.
            DataError: it is damaged or something else; names the first entry that is amiss.
        """
        text = read_text(path, _WHAT)
        try:
            return cls.from_data(parse_json(text))
        except ValueError as error:
            raise not_as_written(path, _WHAT, error, "make it again with `onepath profile`") from error


def space_text(space: Mapping[str, Any]) -> str:
    """A space with the arguments it was built with: "shufflenet(num_classes=10, width=0.5)"."""
    arguments = ", ".join(f"{name}={one_line(value)}" for name, value in space["arguments"].items())
    return f"{space['name']}({arguments})" if arguments else str(space["name"])
