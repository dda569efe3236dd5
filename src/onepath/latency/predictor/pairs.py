"""Pairs of an architecture and its latency, read from a file."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from onepath.errors import DataError, SpaceError, shown
from onepath.latency.checked_files import SettingsNode, check_file, check_nodes, parse_json
from onepath.latency.device_errors import one_line
from onepath.latency.predictor.features import EncodedFeatures, Features, Floats
from onepath.latency.predictor.hat import HAT_FEATURES, HatFeatures, hat_space
from onepath.space import SearchSpace

PAIRS_FORMAT = "onepath latency pairs, 1"
_HAT_LATENCIES = ("latency_mean_encoder", "latency_mean_decoder")
_TELLS_SETS_APART = ("task", "device")

_Columns = dict[str, list[Any]]


@dataclass(frozen=True, eq=False)
class LatencyPairs:
    """Architectures with their measured latencies, which a predictor is fitted to.

    Attributes:
        space_name: name of the space, for messages.
        space_fingerprint: fingerprint of the search space of the architectures.
        device: settings of the device that was measured, "name" among them.
        input_shape: shape of one example, without the batch; None if the file does not say.
        features: description of the columns of `inputs`.
        inputs: (num, num_features) features of the architectures.
        latencies_ms: (num,) measured latencies, positive.
        labels: one text for each pair: the architecture, or "" if it is not known.
        num_noisy: number of pairs of the file that are left out because their measurement was noisy.
        network: digest of the supernet's layers, which tells two widths of one space apart; None if it is not known.

    Raises:
        DataError: a latency is not positive and finite, or a feature is not finite.
    """

    space_name: str
    space_fingerprint: str
    device: Mapping[str, Any]
    input_shape: tuple[int, ...] | None
    features: Features
    inputs: Floats
    latencies_ms: Floats
    labels: tuple[str, ...]
    num_noisy: int = 0
    network: str | None = None

    def __post_init__(self) -> None:
        if not (np.isfinite(self.latencies_ms).all() and (self.latencies_ms > 0).all()):
            bad = self.latencies_ms[~(np.isfinite(self.latencies_ms) & (self.latencies_ms > 0))][0]
            raise DataError(f"latencies must be positive numbers of ms; got {bad}; leave the pair out")
        if not np.isfinite(self.inputs).all():
            raise DataError("features must be finite numbers; got others; leave these pairs out")

    def __len__(self) -> int:
        return len(self.latencies_ms)


def space_title(space: SearchSpace, name: str | None = None) -> str:
    """Return what messages call a space: its name, or its number of choices and the start of its fingerprint."""
    return name or f"the space of {space.num_choices} choices ({space.fingerprint[:8]})"


def read_pairs(
    path: Path | str,
    *,
    space: SearchSpace | None = None,
    features: Features | None = None,
    device: str | Mapping[str, Any] | None = None,
    where: Mapping[str, str] | None = None,
    latency_column: str = "latency_ms",
    space_name: str | None = None,
    input_shape: Sequence[int] | None = None,
) -> LatencyPairs:
    """Read architectures with their latencies from a `.parquet`, `.csv` or `.json` file.

    The file holds one of three kinds of content:

    - what `measure_pairs` wrote;
    - a table with the columns `architecture` (as `SearchSpace.parse` reads it) and `latency_ms`;
    - a table with HAT's ten feature columns and with `latency_mean_encoder` and `latency_mean_decoder`, whose sum is
      the latency.

    A `.json` table is a list of objects. Rows whose column `is_noisy` is true are left out and counted. In a file with
    architectures, a column `reference_ms` is the latency of one reference network that was measured beside each row.
    Each latency is then multiplied by the median of that column and divided by the row's own value in it.

    Args:
        path: path of the file.
        space: space of the architectures; needed unless the file holds HAT's features, whose space is `hat_space()` by
            default.
        features: features to compute for each architecture; None: the one-hot encoding. Not used if the file holds
            HAT's features.
        device: name or settings of the device; needed if the file has neither settings nor a column `device`.
        where: column -> the value that a row must have, to take one set out of a file of several.
        latency_column: name of the column of latencies in ms, in a table with architectures.
        space_name: name of the space, for messages.
        input_shape: shape of one example, without the batch; None: the one in the file, if there is one.

    Raises:
        DataError: the file cannot be read, lacks columns, holds several sets, has latencies that are not positive
            numbers, or does not name its device; or it holds architectures and `space` is None.
        SpaceError: the file or an architecture is of another space.
    """
    path = Path(path)
    if path.exists():
        check_file(path, "a file of pairs")
    columns, header = _read(path)
    columns = _filtered(columns, where or {}, path)
    is_noisy = [str(value).lower() in ("true", "1") for value in columns.get("is_noisy", [])]
    if is_noisy:
        columns = _rows(columns, [index for index, noisy in enumerate(is_noisy) if not noisy])
    if device is None:
        device = header.get("device") or next(iter(columns.get("device", [])), None)
    if device is None:
        raise DataError(f"{path} must be of a known device, but it names none; give device")
    settings = _settings(device, path)
    shape = input_shape if input_shape is not None else header.get("input_shape")
    if "architecture" in columns:
        latency_column = _needed(columns, latency_column, path)
        if space is None:
            raise DataError(f"{path} holds architectures; got no space to read them in; give space")
        written = header.get("space") or {}
        if not isinstance(written, dict):
            raise DataError(f"space of {path} must name a space, but it is {shown(written)}; fix the file")
        if written and written.get("fingerprint") != space.fingerprint:
            raise SpaceError(
                f"pairs must be of the space that they are read for; {path} is of {written.get('name')}, not of"
                f" {space_title(space, space_name)}; give the other space"
            )
        labels = tuple(str(text) for text in columns["architecture"])
        matrix = space.matrix([space.parse(text) for text in labels])
        features = features or EncodedFeatures.of_space(space)
        inputs = features.values(space, matrix)
        latencies_ms = _numbers(columns, latency_column, path)
        if "reference_ms" in columns:
            reference_ms = _numbers(columns, "reference_ms", path)
            latencies_ms = latencies_ms * np.median(reference_ms) / reference_ms
        name = space_name or written.get("name")
    else:
        for column in (*HAT_FEATURES, *_HAT_LATENCIES):
            _needed(columns, column, path)
        space, features, name = space or hat_space(), HatFeatures(), space_name or "hat"
        inputs = np.stack([_numbers(columns, column, path) for column in HAT_FEATURES], axis=1)
        latencies_ms = np.sum([_numbers(columns, column, path) for column in _HAT_LATENCIES], axis=0)
        labels = ("",) * len(inputs)
    return LatencyPairs(
        space_title(space, name),
        space.fingerprint,
        settings,
        _shape(shape, path),
        features,
        inputs,
        latencies_ms,
        labels,
        sum(is_noisy),
        header.get("space", {}).get("network"),
    )


def _read(path: Path) -> tuple[_Columns, dict[str, Any]]:
    """Return the columns of a file, and the header if `measure_pairs` wrote the file."""
    try:
        if path.suffix == ".parquet":
            from pyarrow import parquet

            columns: _Columns = parquet.read_table(path).to_pydict()
            return columns, {}
        if path.suffix == ".csv":
            with path.open(newline="", encoding="utf-8") as file:
                return _columns(list(csv.DictReader(file))), {}
        if path.suffix == ".json":
            data = parse_json(path.read_text(encoding="utf-8"))
            if isinstance(data, list):
                return _columns(data), {}
            if isinstance(data, dict) and data.get("format") == PAIRS_FORMAT:
                return _columns(data["pairs"]), data
            raise ValueError(f"neither a list of objects nor {PAIRS_FORMAT!r}")
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise DataError(
            f"{path} must be a table of pairs, but it cannot be read: {one_line(error)}; check the file"
        ) from error
    raise DataError(f"pairs must be in a .parquet, .csv or .json file; got {path}; convert it")


def _settings(device: object, path: Path) -> dict[str, Any]:
    if isinstance(device, str):
        device = {"name": device}
    try:
        check_nodes(SettingsNode, device)
    except ValueError as error:
        raise DataError(f"the device of {path} must be its settings, but {error}; fix the file") from error
    assert isinstance(device, Mapping)
    return dict(device)


def _shape(shape: object, path: Path) -> tuple[int, ...] | None:
    if shape is None:
        return None
    sizes = list(shape) if isinstance(shape, Sequence) and not isinstance(shape, str) else [0]
    if not sizes or not all(isinstance(size, int | np.integer) and size > 0 for size in sizes):
        raise DataError(
            f"input_shape of {path} must be whole numbers over 0, but it is {shown(shape)}; fix it"
        )
    return tuple(int(size) for size in sizes)


def _columns(rows: Sequence[Mapping[str, Any]]) -> _Columns:
    names = list(dict.fromkeys(name for row in rows for name in row))
    return {name: [row.get(name) for row in rows] for name in names}


def _rows(columns: _Columns, kept: Sequence[int]) -> _Columns:
    return {name: [values[index] for index in kept] for name, values in columns.items()}


def _filtered(columns: _Columns, where: Mapping[str, str], path: Path) -> _Columns:
    """Return the rows in which every column of `where` has its value.

    Raises:
        DataError: no row is left, a column is absent, or the rows are of several tasks or devices.
    """
    for name, value in where.items():
        values = columns[_needed(columns, name, path)]
        kept = [index for index, found in enumerate(values) if str(found) == str(value)]
        if not kept:
            known = one_line(", ".join(sorted({str(found) for found in values})[:8]))
            raise DataError(
                f"{path} must have rows of {name} {shown(value)}, but there are: {known}; take one"
            )
        columns = _rows(columns, kept)
    for name in _TELLS_SETS_APART:
        found = sorted({str(value) for value in columns.get(name, [])})
        if len(found) > 1:
            raise DataError(
                f"pairs must be of one {name}; {path} has {one_line(', '.join(found[:8]))}; take one with "
                f"where={{{name!r}: ...}}"
            )
    return columns


def _needed(columns: _Columns, name: str, path: Path) -> str:
    if name not in columns:
        raise DataError(
            f"{path} must have the column {name}, or `architecture` and a latency, or HAT's; it has"
            f" {one_line(', '.join(map(str, columns))) or 'no rows'}; add it"
        )
    return name


def _numbers(columns: _Columns, name: str, path: Path) -> Floats:
    try:
        return np.array([float(value) for value in columns[name]])
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError(
            f"column {name} of {path} must hold numbers, but {one_line(error)}; fix the file"
        ) from error
