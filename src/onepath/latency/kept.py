"""Profiled tables for later runs: one file for each space, device and machine, in a cache folder of the user."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from onepath.errors import UserError
from onepath.latency.catalogue import DEVICES
from onepath.latency.device import Device
from onepath.latency.evidence import save_with_page
from onepath.latency.keys import structure_digest
from onepath.latency.measure import measure
from onepath.latency.profiling import partial_of, profile
from onepath.latency.table import LatencyTable
from onepath.latency.table_nodes import FORMAT
from onepath.nn import Supernet

CACHE = "ONEPATH_CACHE"
"""Environment variable with the folder of the kept tables; if it is empty, no table is kept."""
MAX_DRIFT = 0.1
"""A kept table holds while networks are at most this share faster or slower than when the table was profiled."""
_NUM_KNOWN = 3
_NUM_SESSIONS = 3
_UNITS = (("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1))


@dataclass(frozen=True)
class KeptTable:
    """A table of an earlier profile, judged by a few networks that were measured again.

    Attributes:
        table: the kept table; its space, device, input shape and machine are the present ones.
        age_seconds: time since the table was profiled, in s.
        slowness: time that known networks of the table take now, divided by the time they took then; None if every
            measurement was noisy.
    """

    table: LatencyTable
    age_seconds: float
    slowness: float | None

    @property
    def holds(self) -> bool:
        """Whether the machine is as fast as when the table was profiled, or its speed could not be measured."""
        return self.slowness is None or abs(self.slowness - 1) <= MAX_DRIFT

    @property
    def sentence(self) -> str:
        """The age of the table and the slowness of its networks, in words."""
        now = (
            "known networks are too noisy to compare"
            if self.slowness is None
            else f"known networks take {self.slowness:.2f} times as long now"
        )
        return f"{age_text(self.age_seconds)} old, and {now}"


def cache_folder() -> Path | None:
    """Return the folder where tables are kept; it need not exist.

    It is `$ONEPATH_CACHE`, else `$XDG_CACHE_HOME/onepath`, else `~/.cache/onepath`.

    Returns:
        None if `ONEPATH_CACHE` is set and empty, or the user has no home.
    """
    own = os.environ.get(CACHE)
    if own == "":
        return None
    folder = Path(own) if own else Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "onepath"
    try:
        return folder.expanduser()
    except RuntimeError:
        return None


def kept_path(supernet: Supernet, device: Device, input_shape: Sequence[int]) -> Path | None:
    """Return the file in which a table of this supernet on this device and machine is kept; it need not exist.

    Its name is a digest of the choices, the network's structure, the input shape, the device's settings (batch,
    threads, precision, version, processor), the versions of torch and Python, and the number of cores. For a device of
    your own, the current directory is also part of the digest, because its command or file is looked up there.

    Returns:
        None if no table is kept; see `cache_folder`.
    """
    folder = cache_folder()
    if folder is None:
        return None
    told = {
        "format": FORMAT,
        "space": supernet.space.fingerprint,
        "network": structure_digest(supernet.module),
        "input_shape": list(input_shape),
        "device": device.settings(),
        "versions": [torch.__version__, platform.python_version()],
        "cores": os.cpu_count(),
        "place": None if device.name in DEVICES else str(Path.cwd()),
    }
    digest = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()
    return folder / f"latency-table-{digest[:20]}.json"


def kept_table(supernet: Supernet, device: Device, input_shape: Sequence[int]) -> KeptTable | None:
    """Return the table that was kept for this supernet, device and machine, with the present speed of the machine.

    A kept table is checked in the same way as a table that the user gives. Then three networks that were measured for
    it are measured again, until the median of their times is within a tenth of what they took, in up to three sessions.
    So one slow moment of the machine does not count against the table.

    Returns:
        None if there is no such table, or the file is damaged or does not fit.
    """
    path = kept_path(supernet, device, input_shape)
    if path is None or not path.is_file():
        return None
    try:
        age_seconds = max(0.0, time.time() - path.stat().st_mtime)
        table = LatencyTable.load(path)
        table.check(supernet.space, device, input_shape)
        table.check_network(supernet)
    except (UserError, OSError):
        return None
    return KeptTable(table, age_seconds, _slowness(table, supernet, device))


def _slowness(table: LatencyTable, supernet: Supernet, device: Device) -> float | None:
    """Return how many times as long known networks take now as then, from the session that is nearest to 1.

    None if the table knows no networks, or every measurement was noisy.
    """
    known = table.known_networks(_NUM_KNOWN)
    models = [supernet.extract(supernet.space.parse(name), inherit=False) for name, _ in known]
    found: list[float] = []
    for _ in range(_NUM_SESSIONS if known else 0):
        # Several networks in turn: alone in the caches, one took 0.93 times as long as among those of a profile.
        now = zip(measure(device, models, table.input_shape), known, strict=True)
        ratios = [latency.median_ms / ms for latency, (_, ms) in now if not latency.is_noisy]
        if ratios:
            found.append(statistics.median(ratios))
            if abs(found[-1] - 1) <= MAX_DRIFT:
                break
    return min(found, key=lambda slowness: abs(slowness - 1), default=None)


def kept_or_profiled(
    supernet: Supernet,
    device: Device,
    input_shape: Sequence[int],
    *,
    path: Path,
    say: Callable[[str], None] = lambda _: None,
    **options: Any,
) -> LatencyTable:
    """Return the kept table of this supernet, device and machine if it still holds; else profile a table and keep it.

    Args:
        supernet: the supernet; its weights do not matter; not changed.
        device: device to measure on.
        input_shape: shape of one example, without the batch.
        path: file of the table, `.json`, in an existing directory. The table is written there, with its evidence as a
            page beside it. If the file exists and fits, it is returned as it is; a profile that was interrupted there
            continues.
        say: called with one line if a kept table is used (the line has its age), if a kept table no longer holds, or if
            a new table cannot be kept.
        options: further arguments of `profile`.

    Raises:
        ConfigurationError, DataError, SpaceError, ShapeError, UserError: the errors of `profile`.
    """
    if path.exists():
        table = LatencyTable.load(path)
        table.check(supernet.space, device, input_shape)
        table.check_network(supernet)
        return table
    kept = None if partial_of(path).exists() else kept_table(supernet, device, input_shape)
    if kept is not None and kept.holds:
        say(f"using a latency table that was kept for this space, device and machine: it is {kept.sentence}")
        save_with_page(kept.table, path)
        return kept.table
    if kept is not None:
        say(f"profiling anew, as the latency table that was kept no longer holds: it is {kept.sentence}")
    table = profile(supernet, device, input_shape, path=path, **options)
    own = kept_path(supernet, device, input_shape)
    try:
        if own is not None:
            own.parent.mkdir(parents=True, exist_ok=True)
            table.save(own)
    except (UserError, OSError) as error:
        say(f"the latency table cannot be kept for later runs: {error}")
    return table


def age_text(seconds: float) -> str:
    """Return a duration in its largest whole unit: "3 days", "1 hour", "0 seconds".

    Example:
        `age_text(7_300)` is "2 hours".
    """
    name, size = next((unit for unit in _UNITS if seconds >= unit[1]), _UNITS[-1])
    num = int(seconds // size)
    return f"{num} {name}{'' if num == 1 else 's'}"
