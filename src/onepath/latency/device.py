"""What a latency belongs to: a runtime with its batch, threads and precision."""

from __future__ import annotations

import json
import os
import platform
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Protocol

import torch
from torch import nn

from onepath.errors import ConfigurationError, UserError, shown
from onepath.latency.device_errors import check_count, naming, one_line

MOST_THREADS = max(64, 4 * (os.cpu_count() or 1))
MOST_EXAMPLES = 65_536
_MOST_BLOCKS, _MOST_RUNS = 10_000, 1_000_000
_LONGEST_NAME = 1000
_SETTINGS = ("name", "batch", "threads", "precision", "version", "processor")

Network = nn.Module | Path
"""What can be measured: a module, or the path of an ONNX file where the device runs those."""


class Prepared(Protocol):
    """A network made ready on a device."""

    def run(self) -> float:
        """One inference; its time in ms. A device that measures by itself returns what it measured."""
        ...

    def close(self) -> None:
        """Give back what the network holds: memory, files, processes. Nothing is run after it."""
        ...


@dataclass(frozen=True)
class Schedule:
    """How often `measure` asks a device for a time, unless told otherwise.

    Attributes:
        num_blocks: of every network; the blocks of the networks compared alternate.
        num_runs: of one block; None: as many as fill 2 to 25 ms.
        num_warm_up: runs before the first block, not counted. Where it is positive, so is one more run before
            each block, which brings the network back into the caches.

    Raises:
        ConfigurationError: a number is out of its range.
    """

    num_blocks: int = 20
    num_runs: int | None = None
    num_warm_up: int = 5

    def __post_init__(self) -> None:
        check_count("num_blocks", self.num_blocks, 1, _MOST_BLOCKS)
        if self.num_runs is not None:
            check_count("num_runs", self.num_runs, 1, _MOST_RUNS)
        check_count("num_warm_up", self.num_warm_up, 0, _MOST_RUNS)


class Device(ABC):
    """A runtime and its settings.

    A device of your own is a subclass in a file of yours, named on the command line as `path/to/file.py:Class`.
    It must have `prepare`, and may have `name`, `missing`, `version`, `precisions` and `schedule`.
    """

    name: str = ""
    """As it is written behind `--device`. Where a class of your own leaves it out, it is `file.py:Class`."""
    precisions: ClassVar[tuple[str, ...]] = ("float32",)
    """What the runtime can compute in."""
    schedule: ClassVar[Schedule] = Schedule()

    def __init__(self, *, threads: int | None = None, batch: int = 1, precision: str = "float32") -> None:
        """Keep the settings; nothing is loaded yet.

        Args:
            threads: that one inference may use; None: torch's own number at this moment.
            batch: examples in one inference. A latency is the time of the whole batch.
            precision: of weights and activations, one of the class's `precisions`.

        Raises:
            ConfigurationError: `threads` or `batch` is under 1 or beyond any use, or the runtime has no such precision.
        """
        threads = torch.get_num_threads() if threads is None else threads
        check_count("threads", threads, 1, MOST_THREADS)
        check_count("batch", batch, 1, MOST_EXAMPLES)
        if precision not in self.precisions:
            raise ConfigurationError(
                f"the precision of {self.name or type(self).__name__} must be one of "
                f"{', '.join(self.precisions)}, but got {shown(precision)}; take one of them"
            )
        self.threads: int = int(threads)
        self.batch: int = int(batch)
        self.precision: str = precision

    @abstractmethod
    def prepare(self, model: Network, input_shape: Sequence[int]) -> Prepared:
        """Make a network ready to be run, in eval mode, on a copy.

        Args:
            model: not changed. Its values are free: a latency does not depend on them.
            input_shape: of one example, (C, H, W), without the batch.

        Raises:
            UserError: the runtime cannot take the network.
        """

    def missing(self) -> str | None:
        """Why the device cannot be used on this machine, in one line; None where it can."""
        return None

    def version(self) -> str | None:
        """Of the runtime; None where it is not known."""
        return None

    def settings(self) -> dict[str, Any]:
        """What a latency belongs to, ready for JSON: another value of any entry may mean other milliseconds.

        Returns:
            "name", "batch", "threads", "precision", "version" of the runtime, "processor".
        """
        with naming(self, "tell its settings"):
            version, processor = self.version(), self.processor()
            return {
                "name": self.name,
                "batch": self.batch,
                "threads": self.threads,
                "precision": self.precision,
                "version": None if version is None else one_line(version),
                "processor": None if processor is None else one_line(processor),
            }

    def processor(self) -> str | None:
        """The model of what computes; None where it is not known."""
        return processor_name()

    def check_usable(self) -> None:
        """Raise unless the device can be used here and is well formed.

        Raises:
            ConfigurationError: it cannot, with the reason; its name cannot be shown, or its schedule is none.
            UserError: a method of it raises.
        """
        name: object = self.name
        if not (isinstance(name, str) and 0 < len(name) <= _LONGEST_NAME and name.isprintable()):
            raise ConfigurationError(
                f"the name of a device must be 1 to {_LONGEST_NAME} printable characters, but it is {shown(name)}; "
                "rename it"
            )
        with naming(self, "tell whether it can be used"):
            reason = self.missing()
        if reason is not None:
            raise ConfigurationError(
                f"the device must be usable on this machine, but {name} is not: {one_line(reason)}; "
                "`onepath devices` lists those that are"
            )
        schedule: object = self.schedule
        if not isinstance(schedule, Schedule):
            raise ConfigurationError(
                f"`schedule` of the device {name} must be an onepath.latency.Schedule, but it is {shown(schedule)}; "
                "fix its class"
            )
        with naming(self, "tell its settings as plain values"):
            settings = self.settings()
            json.dumps([settings[name] for name in _SETTINGS], allow_nan=False)


@cache
def processor_name() -> str:
    """The model of this machine's processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models and models[0] else platform.processor() or platform.machine()


def module_only(model: Network, name: str) -> nn.Module:
    """The network, for a runtime that cannot read an ONNX file.

    Raises:
        UserError: it is a path.
    """
    if isinstance(model, nn.Module):
        return model
    raise UserError(
        f"{name} must be given a torch module, but got the file {model}; give the network itself"
    )
