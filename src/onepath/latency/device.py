"""A device, to which every latency belongs: a runtime with its batch, threads and precision."""

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
"""What can be measured: a module, or the path of an ONNX file if the device runs ONNX files."""


class Prepared(Protocol):
    """A network that is ready to run on a device."""

    def run(self) -> float:
        """Run one inference and return its time in ms; a device that measures by itself returns what it measured."""
        ...

    def close(self) -> None:
        """Release what the network holds: memory, files, processes. Nothing is run afterwards."""
        ...


@dataclass(frozen=True)
class Schedule:
    """How often `measure` asks a device for a time, unless its arguments say otherwise.

    Attributes:
        num_blocks: number of blocks of every network; the blocks of the networks that are compared alternate.
        num_runs: number of runs in one block; None: as many as fill 2 to 25 ms.
        num_warm_up: number of runs before the first block, which are not counted. If it is positive, one more run, not
            counted either, comes before each block and brings the network back into the caches.

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

    A device of your own is a subclass of this class in a file of yours. On the command line it is named as
    `path/to/file.py:Class`. It must have `prepare`, and may have `name`, `missing`, `version`, `precisions` and
    `schedule`.
    """

    name: str = ""
    """Name of the device, as it is written after `--device`. If a class of your own has none, it is `file.py:Class`."""
    precisions: ClassVar[tuple[str, ...]] = ("float32",)
    """Precisions that the runtime can compute in."""
    schedule: ClassVar[Schedule] = Schedule()
    """How often `measure` asks the device for a time."""

    def __init__(self, *, threads: int | None = None, batch: int = 1, precision: str = "float32") -> None:
        """Store the settings; nothing is loaded yet.

        Args:
            threads: number of threads that one inference may use; None: torch's own number at this moment.
            batch: number of examples in one inference. A latency is the time of the whole batch.
            precision: precision of weights and activations, one of the class's `precisions`.

        Raises:
            ConfigurationError: `threads` or `batch` is under 1 or too large, or the runtime has no such precision.
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
        """Make a copy of a network ready to run, in eval mode.

        Args:
            model: the network; not changed. The copy may have other weights, because a latency does not depend on them.
            input_shape: shape of one example, (C, H, W), without the batch.

        Raises:
            UserError: the runtime cannot take the network.
        """

    def missing(self) -> str | None:
        """Return why the device cannot be used on this machine, in one line; None if it can."""
        return None

    def version(self) -> str | None:
        """Return the version of the runtime; None if it is not known."""
        return None

    def settings(self) -> dict[str, Any]:
        """Return the settings that a latency belongs to, ready for JSON: other settings may mean another latency.

        Returns:
            "name", "batch", "threads", "precision", "version" of the runtime, "processor".

        Raises:
            UserError: `version` or `processor` of the device raises.
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
        """Return the model of the processor that runs the network; None if it is not known."""
        return processor_name()

    def check_usable(self) -> None:
        """Raise unless the device can be used on this machine and is well formed.

        Raises:
            ConfigurationError: the device cannot be used, for the reason in the message; or its name cannot be shown;
                or its schedule is not a `Schedule`.
            UserError: a method of the device raises, or its settings are not plain values.
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
    """Return the model of this machine's processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models and models[0] else platform.processor() or platform.machine()


def module_only(model: Network, name: str) -> nn.Module:
    """Return the network, for a runtime that cannot read ONNX files.

    Args:
        model: a module, or a path, which is an error.
        name: name of the runtime, for the message.

    Raises:
        UserError: `model` is a path.
    """
    if isinstance(model, nn.Module):
        return model
    raise UserError(f"{name} must be given a torch module, but got the file {model}; give the network itself")
