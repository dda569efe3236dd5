"""Measure the layer-wise latency table of a supernet on a device, and how far the table can be trusted."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import nn

from onepath.errors import ConfigurationError, UserError, shown
from onepath.latency.checked_files import check_same
from onepath.latency.device import Device
from onepath.latency.device_errors import check_count
from onepath.latency.evidence import errors_of, save_with_page
from onepath.latency.keys import shape_text, structure_digest
from onepath.latency.measure import prepared
from onepath.latency.rounds import MAX_ERROR, Levels, Rounds, run_rounds, stored_rounds
from onepath.latency.splitting import Layout, find_layout
from onepath.latency.table import Calibration, Entry, LatencyTable
from onepath.latency.table_nodes import PARTIAL_FORMAT
from onepath.nn import Supernet
from onepath.randomness import generator
from onepath.record import atomic_write_json
from onepath.space import Architecture, SearchSpace

FEWEST_VALIDATED = 19
FEWEST_CALIBRATED = 3
_MOST_NETWORKS = 10_000
_MOST_SECONDS = 7 * 24 * 3600
_SAVE_SECONDS = 5.0
_NUM_TRIES = 2
_FEWEST_ROUNDS_SHOWN = 20

Progress = Callable[[str, float, str], None]
"""Called with the stage ("prepare" or "measure"), the share of the stage that is done, from 0 to 1, and a note."""


@dataclass(frozen=True)
class _Item:
    """A module that is timed; `module` makes it when it is needed."""

    name: str
    input_shape: tuple[int, ...]
    module: Callable[[], nn.Module]


def profile(
    supernet: Supernet,
    device: Device,
    input_shape: Sequence[int],
    *,
    path: Path | str,
    seed: int = 0,
    num_validation: int = 30,
    num_calibration: int = 20,
    space_name: str | None = None,
    arguments: Mapping[str, Any] | None = None,
    max_seconds: float = 240.0,
    precision: float = 0.0015,
    fresh: bool = False,
    progress: Progress | None = None,
) -> LatencyTable:
    """Measure a latency table: time every candidate, calibrate on whole networks, and validate on fresh networks.

    Each candidate is timed as a network of its own at its input shape, and its entry is this time less the time of an
    empty network of the same input shape. Candidates and whole networks are timed in the same rounds, so that the drift
    of the machine's speed can be removed from all of them (`onepath.latency.rounds`). The affine calibration is fitted
    to some random networks. The errors are those on other random networks, to which no number of the table was fitted.

    The table is written to `path`, and a page with the evidence beside it (`.html`). During the measurement,
    `<path>.part` holds the times so far; after an interruption, the same call continues from this file. A finished
    table of the same settings is returned as it is.

    Args:
        supernet: the supernet; its weights do not matter; not changed.
        device: device to measure on.
        input_shape: shape of one example, without the batch.
        path: file of the table, `.json`, in an existing directory.
        seed: seed of the random networks and of the orders.
        num_validation: number of fresh networks, 19 or more, which the 95 % bound needs.
        num_calibration: number of networks for slope and intercept, 3 or more.
        space_name: name of the space; kept in the table, and a setting that an existing file must have as well.
        arguments: arguments that the space was built with; kept and compared like `space_name`.
        max_seconds: longest time of the timing, over all calls, in s; at least 20 rounds are made, see `run_rounds`.
            If too many networks are noisy then, all are timed once more for as long.
        precision: the timing ends earlier if the median standard error of the whole networks is at most this share of
            their latencies.
        fresh: if True, an existing table or unfinished measurement is deleted first.
        progress: see `Progress`.

    Returns:
        The table, with its errors and its evidence.

    Raises:
        ConfigurationError: a number is out of its range, the device cannot be used on this machine, or an existing file
            has other settings; the message names them.
        DataError: an existing file is damaged.
        SpaceError: the latency of the supernet is not a sum of parts that depend on a few choices each.
        ShapeError: the network rejects the shape.
        UserError: too many whole networks were too noisy to be used.
    """
    path, shape = Path(path), tuple(int(size) for size in input_shape)
    check_count("num_validation", num_validation, FEWEST_VALIDATED, _MOST_NETWORKS)
    check_count("num_calibration", num_calibration, FEWEST_CALIBRATED, _MOST_NETWORKS)
    check_seconds(max_seconds)
    device.check_usable()
    header = {
        "space": {
            "name": space_name or f"a space of {supernet.space.num_choices} choices",
            "arguments": dict(arguments or {}),
            "fingerprint": supernet.space.fingerprint,
            "network": structure_digest(supernet.module),
        },
        "device": device.settings(),
        "input_shape": list(shape),
        "seed": seed,
        "num_calibration": num_calibration,
        "num_validation": num_validation,
    }
    header = json.loads(json.dumps(header))
    begun = partial_of(path)
    if fresh:
        path.unlink(missing_ok=True)
        begun.unlink(missing_ok=True)
    if path.exists():
        table = LatencyTable.load(path)
        check_same(path, table.evidence.get("settings", {}), header)
        return table
    layout = find_layout(supernet, shape)
    matrix = draw_networks(supernet.space, num_calibration + num_validation, seed)
    items = list(_items(supernet, layout, matrix, shape))
    names = [item.name for item in items]
    for _ in range(_NUM_TRIES):
        rounds = stored_rounds(begun, header, names)
        found = _timed(device, items, rounds, len(matrix), begun, header, max_seconds, precision, progress)
        steady = ~found.is_noisy[: len(matrix)]
        if steady[:num_calibration].sum() >= FEWEST_CALIBRATED and (
            steady[num_calibration:].sum() >= FEWEST_VALIDATED
        ):
            break
        begun.unlink()  # the machine may be quieter from now on, also when the same call is made again
    else:
        raise UserError(
            f"{FEWEST_CALIBRATED} networks of the calibration and {FEWEST_VALIDATED} of the validation must be "
            f"measured without noise, but the error of {(~steady).sum()} of {len(matrix)} is over {MAX_ERROR:.0%} of "
            f"their latency, in {_NUM_TRIES} tries; measure on a quieter machine, or more networks"
        )
    table = _table(supernet.space, layout, matrix, names, found, header, rounds)
    save_with_page(table, path)
    begun.unlink(missing_ok=True)
    return table


def partial_of(path: Path) -> Path:
    """Return the path of the file that holds the times so far while the table at `path` is being measured."""
    return path.with_name(path.name + ".part")


def check_seconds(max_seconds: float) -> None:
    """Raise ConfigurationError unless `max_seconds` is from 0 to the number of seconds in a week."""
    if not 0 <= max_seconds <= _MOST_SECONDS:
        raise ConfigurationError(
            f"max_seconds must be from 0 to {_MOST_SECONDS:,}, a week, but got {shown(max_seconds)}; change it"
        )


def draw_networks(space: SearchSpace, num: int, seed: int) -> npt.NDArray[Any]:
    """Return (num, num_choices) random architectures; distinct ones if the space has twice as many or more."""
    rng = generator(seed, "latency networks")
    rows = space.sample(num, rng)
    while len(np.unique(rows, axis=0)) < num <= space.size // 2:
        rows = np.unique(np.concatenate([rows, space.sample(num, rng)]), axis=0)
        rows = rows[rng.permutation(len(rows))[:num]]
    return rows


def _items(
    supernet: Supernet, layout: Layout, matrix: npt.NDArray[Any], shape: tuple[int, ...]
) -> Iterator[_Item]:
    """Yield what is timed: the whole networks in `matrix`, an empty network of each input shape, the candidates."""
    for architecture in supernet.space.architectures(matrix):
        yield _Item(f"network {architecture}", shape, partial(_whole, supernet, architecture))
    for own in dict.fromkeys(candidate.input_shape for _, candidate in layout.shown.values()):
        yield _Item(f"empty {shape_text(own)}", own, nn.Identity)
    modules = {key: (own, module) for key, own, module in layout.modules(supernet)}
    yield from (_Item(key, modules[key][0], partial(nn.Module.eval, modules[key][1])) for key in layout.shown)


def _whole(supernet: Supernet, architecture: Architecture) -> nn.Module:
    return supernet.extract(architecture, inherit=False).eval()


def _timed(
    device: Device,
    items: Sequence[_Item],
    rounds: Rounds,
    num_networks: int,
    begun: Path,
    header: Mapping[str, Any],
    max_seconds: float,
    precision: float,
    progress: Progress | None,
) -> Levels:
    """Prepare all items and time them in rounds; save the rounds every few seconds."""
    saved = time.perf_counter()
    tell = progress or (lambda _stage, _share, _note: None)

    def save() -> None:
        known = {"items": [item.name for item in items], "rounds": vars(rounds)}
        atomic_write_json(begun, {"format": PARTIAL_FORMAT, **header, **known})

    def on_round(now: Rounds) -> None:
        nonlocal saved
        if time.perf_counter() - saved > _SAVE_SECONDS:
            save()
            saved = time.perf_counter()
        share = max(now.seconds, 0.0) / max_seconds if now.seconds < max_seconds else 1.0
        tell("measure", min(share, len(now) / _FEWEST_ROUNDS_SHOWN), f"{len(now)} rounds of {len(items)}")

    def told() -> Iterator[tuple[nn.Module, Sequence[int]]]:
        for number, item in enumerate(items):
            tell("prepare", number / len(items), item.name)
            yield item.module(), item.input_shape

    with prepared(device, told()) as networks:
        found = run_rounds(
            device,
            networks,
            rounds,
            precision=precision,
            max_seconds=max_seconds,
            seed=header["seed"],
            watched=slice(0, num_networks),
            on_round=on_round,
        )
    save()
    return found


def _table(
    space: SearchSpace,
    layout: Layout,
    matrix: npt.NDArray[Any],
    names: Sequence[str],
    found: Levels,
    header: Mapping[str, Any],
    rounds: Rounds,
) -> LatencyTable:
    """Return the table: entries from the levels, calibration and errors from the networks that are not noisy."""
    draft = LatencyTable(
        entries=_entries(layout, names, found),
        constant=layout.constant,
        terms=layout.terms,
        calibration=Calibration(),
        space=header["space"],
        device=header["device"],
        input_shape=tuple(header["input_shape"]),
    )
    measured_ms, is_noisy = found.ms[: len(matrix)], found.is_noisy[: len(matrix)]
    sums = draft.predict(space, matrix)
    fitted = np.arange(len(matrix)) < header["num_calibration"]
    calibration = calibrated(sums[fitted & ~is_noisy], measured_ms[fitted & ~is_noisy])
    predicted_ms = calibration.intercept + calibration.slope * sums
    kept = ~fitted & ~is_noisy
    return replace(
        draft,
        calibration=calibration,
        errors=errors_of(measured_ms[kept], predicted_ms[kept]),
        evidence={
            "settings": dict(header),
            "rounds": found.num_rounds,
            "seconds": rounds.seconds,
            "empty_ms": {
                name[6:]: float(ms) for name, ms in zip(names, found.ms, strict=True) if name[:6] == "empty "
            },
            "networks": [
                {
                    "architecture": str(architecture),
                    "use": "calibration" if fitted[index] else "validation",
                    "measured_ms": float(found.ms[index]),
                    "iqr_ms": float(found.iqr_ms[index]),
                    "is_noisy": bool(is_noisy[index]),
                    "sum_ms": float(sums[index]),
                    "predicted_ms": float(predicted_ms[index]),
                }
                for index, architecture in enumerate(space.architectures(matrix))
            ],
        },
    )


def _entries(layout: Layout, names: Sequence[str], found: Levels) -> dict[str, Entry]:
    at = {name: index for index, name in enumerate(names)}
    entries = {}
    for key, (_, candidate) in layout.shown.items():
        index, empty = at[key], at[f"empty {shape_text(candidate.input_shape)}"]
        own_ms = max(0.0, float(found.ms[index] - found.ms[empty]))
        entries[key] = Entry(
            own_ms, float(found.iqr_ms[index]) / 1.349, found.num_rounds, bool(found.is_noisy[index])
        )
    return entries


def calibrated(sums: npt.NDArray[np.float64], measured: npt.NDArray[np.float64]) -> Calibration:
    """Return the least-squares line from sums to measured latencies that neither falls nor begins under 0.

    Only a shift is fitted if the sums are all the same or the line would fall; only a factor is fitted if the line
    would begin under 0.

    Args:
        sums: (n,) sums of entries of whole networks.
        measured: (n,) measured latencies of the same networks.

    Example:
        Sums 1, 2, 3 of networks that take 2.5, 4.5, 6.5 ms: slope 2 and intercept 0.5.
    """
    centred = sums - sums.mean()
    spread = float(centred @ centred)
    slope = float(centred @ measured) / spread if spread > 1e-12 * float(sums @ sums) else 1.0
    slope = slope if slope > 0 else 1.0
    intercept = float(measured.mean() - slope * sums.mean())
    if intercept < 0:
        return Calibration(float(sums @ measured) / float(sums @ sums), 0.0)
    return Calibration(slope, intercept)
