"""Profiled tables that later runs find: one file for each space, device and machine in a cache folder of the user."""

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
"""Environment variable: the folder of what is kept; empty: nothing is kept."""
MAX_DRIFT = 0.1
"""A kept table holds while networks are at most this much faster or slower than when it was profiled, as a share."""
_NUM_KNOWN = 3
_NUM_SESSIONS = 3
_UNITS = (("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1))


@dataclass(frozen=True)
class KeptTable:
    """A table of an earlier profile, judged by a few networks that were measured again.

    Attributes:
        table: as it was kept; of the space, device, input shape and machine of now.
        age_seconds: since it was profiled.
        slowness: how many times as long known networks of it take now; None where no measurement was steady.
    """

    table: LatencyTable
    age_seconds: float
    slowness: float | None

    @property
    def holds(self) -> bool:
        """Whether the machine is as fast as when the table was profiled, as far as could be measured."""
        return self.slowness is None or abs(self.slowness - 1) <= MAX_DRIFT

    @property
    def sentence(self) -> str:
        """The age and what was measured, in words."""
        now = (
            "known networks are too noisy to compare"
            if self.slowness is None
            else f"known networks take {self.slowness:.2f} times as long now"
        )
        return f"{age_text(self.age_seconds)} old, and {now}"


def cache_folder() -> Path | None:
    """Where tables are kept: `$ONEPATH_CACHE`, else `$XDG_CACHE_HOME/onepath`, else `~/.cache/onepath`.

    Returns:
        None where `ONEPATH_CACHE` is set and empty, or the user has no home. The folder need not exist.
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
    """The file that a table of this supernet on this device and machine is kept in, whether it exists or not.

    Its name is a digest of the choices, the network's structure, the input shape, the device's settings (batch,
    threads, precision, version, processor), the versions of torch and Python, and the number of cores. For a device of
    your own the current directory counts as well, where its command or file is looked up.

    Returns:
        None where nothing is kept; see `cache_folder`.
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
    """The table that was kept for this supernet, device and machine, and whether the machine still is as fast.

    A table is checked as a given one is. Then three networks that were measured for it are measured again, in up to
    three sessions, until the median of what they take is within a tenth of what they took: a slow moment of the machine
    is not held against the table.

    Returns:
        None where there is none, or the file is damaged or of something else.
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
    """How many times as long networks take as when the table was profiled; the session nearest to 1."""
    known = table.known_networks(_NUM_KNOWN)
    models = [supernet.extract(supernet.space.parse(name), inherit=False) for name, _ in known]
    found: list[float] = []
    for _ in range(_NUM_SESSIONS if known else 0):
        # Several in turns: alone in the caches, a network took 0.93 times as long as among those of a profile.
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
    """The kept table of this supernet, device and machine where it still holds; else one that is profiled and kept.

    Args:
        supernet: its weights do not matter; not changed.
        device: where.
        input_shape: of one example, without the batch.
        path: of the table, `.json`, in an existing directory; written, with the evidence as a page beside it. A profile
            that was killed there goes on, and a table that is there and fits is returned as it is.
        say: told in one line that a kept table is used and how old it is, that it no longer holds, or that a new one
            cannot be kept.
        options: further ones of `profile`.

    Raises:
        ConfigurationError, SpaceError, ShapeError, UserError: as `profile`.
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
    """A duration in its largest whole unit: "3 days", "1 hour", "0 seconds".

    Example:
        `age_text(7_300)` is "2 hours".
    """
    name, size = next((unit for unit in _UNITS if seconds >= unit[1]), _UNITS[-1])
    num = int(seconds // size)
    return f"{num} {name}{'' if num == 1 else 's'}"
