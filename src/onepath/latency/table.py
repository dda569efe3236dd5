"""The layer-wise latency table: the latency of every candidate at its input shape on one device."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
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
from onepath.latency.splitting import Term
from onepath.latency.table_nodes import FORMAT, TableNode
from onepath.nn import Supernet
from onepath.record import atomic_write_json
from onepath.space import SearchSpace

_WHAT = "a latency table"
_SETTINGS = ("batch", "threads", "precision", "processor")


class Entry(NamedTuple):
    """The latency of one candidate, or another cost, in the table's unit.

    Attributes:
        mean: latency at the machine's median speed, less that of an empty network.
        std: standard deviation of one timing, computed from the quartiles.
        n: number of timings, each the median of a block of runs.
        is_noisy: whether the standard error of the level is over a twentieth of it.
    """

    mean: float
    std: float
    n: int
    is_noisy: bool = False


class Calibration(NamedTuple):
    """A line fitted to whole networks: latency = intercept + slope * sum of entries."""

    slope: float = 1.0
    intercept: float = 0.0


@dataclass(frozen=True, eq=False)
class LatencyTable:
    """The latency of the architectures of one space on one device, as a sum over their candidates.

    Made by `profile` or `load`. Another cost of candidates, such as energy, can be given in the same format with its
    own unit.

    Attributes:
        entries: key -> entry; see `onepath.latency.keys`.
        constant: keys of the parts that every architecture has.
        terms: keys of the candidates by the choices they depend on.
        calibration: line from the sum of the entries to the latency of the network.
        space: "name", "arguments", "fingerprint" of the choices and "network" of the supernet that was profiled.
        device: settings of the device, see `Device.settings`.
        input_shape: shape of one example, without the batch.
        unit: unit of the entries and the predictions.
        errors: errors on fresh networks: "mape_percent", "rmse_ms", "spearman", "error_ms_95"; empty if the table was
            never validated.
        evidence: other records of the measurement: the networks, the settings, the times.
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
        """Name of the space with its arguments, for messages: "shufflenet(num_classes=10, width=0.5)"."""
        arguments = ", ".join(f"{name}={one_line(value)}" for name, value in self.space["arguments"].items())
        return f"{self.space['name']}({arguments})" if arguments else str(self.space["name"])

    @property
    def space_fingerprint(self) -> str:
        """Fingerprint of the choices of the space."""
        return str(self.space["fingerprint"])

    @property
    def error_ms_95(self) -> float:
        """Bound in ms on the absolute error of 95 % of fresh networks.

        Raises:
            ConfigurationError: the table was never validated.
        """
        if "error_ms_95" not in self.errors:
            raise ConfigurationError(
                f"the table of {self.space_name} must be validated to bound its error, but it is not; profile the "
                "space on the device"
            )
        return float(self.errors["error_ms_95"])

    @cached_property
    def sums(self) -> CostTable:
        """The sums of entries as an additive table, before the calibration.

        Raises:
            ConfigurationError: a key has no entry; the message names the nearest ones.
        """
        constant = sum(find_entry(self.entries, key).mean for key in self.constant)
        terms = []
        for term in self.terms:
            costs = [sum(find_entry(self.entries, key).mean for key in cell) for cell in term.keys]
            terms.append(CostTerm(term.choices, np.array(costs, dtype=np.float64).reshape(term.shape)))
        return CostTable(float(constant), terms, self.unit)

    @cached_property
    def table(self) -> CostTable:
        """The predictions as an additive table, with which sampling under a limit is exact.

        Raises:
            ConfigurationError: a key has no entry; the message names the nearest ones.
        """
        slope, intercept = self.calibration
        terms = [CostTerm(term.choices, slope * term.costs) for term in self.sums.terms]
        return CostTable(intercept + slope * self.sums.constant, terms, self.unit)

    def cost_table(self, space: SearchSpace) -> CostTable:
        """Return `table` after checking that it belongs to this space.

        Raises:
            ConfigurationError: the table is of another space, or a key has no entry.
        """
        self.check(space)
        return self.table

    def predict(self, space: SearchSpace, matrix: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Return (rows,) latencies, in `unit`, of the architectures in the rows of `matrix`.

        Args:
            space: space of the architectures.
            matrix: (rows, num_choices) option indices.

        Raises:
            ConfigurationError: the table is of another space.
        """
        costs: npt.NDArray[np.float64] = self.cost_table(space).costs(space, matrix)
        return costs

    def check(
        self, space: SearchSpace, device: Device | None = None, input_shape: Sequence[int] | None = None
    ) -> None:
        """Raise unless the table belongs to this space, device and input shape; None is not compared.

        Of the device, all settings except the version of the runtime are compared.

        Raises:
            ConfigurationError: the table belongs to another one; the message names both.
        """
        if space.fingerprint != self.space_fingerprint:
            raise _other(
                "space",
                f"{self.space_name} ({self.space_fingerprint[:8]})",
                f"a space of {space.num_choices} choices ({space.fingerprint[:8]})",
            )
        if device is not None:
            self._check_device(device)
        if input_shape is not None and tuple(input_shape) != self.input_shape:
            raise _other("input shape", shape_text(self.input_shape), shape_text(tuple(input_shape)))

    def check_network(self, supernet: Supernet, name: str = "this network") -> None:
        """Raise unless the table belongs to this very supernet, its widths and numbers of classes included.

        Args:
            supernet: the supernet; its weights do not matter.
            name: name of the supernet, for the message.

        Raises:
            ConfigurationError: the table belongs to another supernet.
        """
        self.check(supernet.space)
        if structure_digest(supernet.module) != self.space["network"]:
            raise ConfigurationError(
                f"a latency table must be of the space it is used for, but it is of {self.space_name}, and {name} has "
                "other sizes; give the same arguments, or profile this space"
            )

    def _check_device(self, device: Device) -> None:
        now = device.settings()
        if now["name"] != self.device["name"]:
            raise _other("device", self.device["name"], now["name"])
        for name in _SETTINGS:
            if now[name] != self.device.get(name):
                raise _other("device", f"{now['name']} with {name} {self.device.get(name)}", now[name])

    def known_networks(self, num: int) -> list[tuple[str, float]]:
        """Return up to `num` networks measured for the table, fast to slow: architecture as text, and latency in ms.

        Noisy networks are left out; see `spread_out` for the choice among the others.
        """
        rows = self.evidence.get("networks", ())
        return spread_out(
            ((row["architecture"], row["measured_ms"]) for row in rows if not row["is_noisy"]), num
        )

    def to_data(self) -> dict[str, Any]:
        """Return the table as plain values for JSON.

        They are {device, batch, dtype, threads, unit, entries: {key: {mean, std, n}}} and everything else that belongs
        to it.
        """
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
            "terms": [asdict(term) for term in self.terms],
            "evidence": dict(self.evidence),
        }

    def save(self, path: Path | str) -> None:
        """Write the table as JSON, atomically."""
        atomic_write_json(Path(path), self.to_data())

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> LatencyTable:
        """Return the table that `to_data` gave.

        Raises:
            ValueError: the data are not a table; the message names the first field that is wrong.
            ConfigurationError: a candidate has no entry.
        """
        node = check_nodes(TableNode, data)
        table = cls(
            entries={key: Entry(**entry.model_dump()) for key, entry in node.entries.items()},
            constant=tuple(node.constant),
            terms=tuple(
                Term(tuple(t.choices), tuple(t.shape), tuple(map(tuple, t.keys))) for t in node.terms
            ),
            calibration=Calibration(**node.calibration.model_dump()),
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
        """Return the table in a file.

        Raises:
            RunDirectoryError: the file is absent.
            DataError: the file is damaged, or is not a table; the message names the first entry that is wrong.
        """
        text = read_text(path, _WHAT)
        try:
            return cls.from_data(parse_json(text))
        except ValueError as error:
            raise not_as_written(path, _WHAT, error, "make it again with `onepath profile`") from error


def _other(what: str, theirs: str, now: object) -> ConfigurationError:
    return ConfigurationError(
        f"a latency table must be of the {what} it is used for, but it is of {theirs}, and now it is {now}; profile "
        f"this {what}"
    )


def spread_out(measured: Iterable[tuple[str, float]], num: int) -> list[tuple[str, float]]:
    """Return the architectures at `num` even steps from fast to slow, with their latencies.

    For `num` = 1 that is the architecture of median latency. Architectures without a name are left out. If there are
    fewer than `num`, all are returned.

    Args:
        measured: name and latency of each architecture, in any order.
        num: largest number of architectures to return.
    """
    known = sorted(((str(name), float(ms)) for name, ms in measured if name), key=lambda pair: pair[1])
    num = min(num, len(known))
    return [known[(step + 1) * len(known) // (num + 1)] for step in range(num)]
