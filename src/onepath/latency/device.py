"""What a latency belongs to: a runtime with its batch, threads and precision."""

from __future__ import annotations

import platform
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Protocol

import torch
from torch import nn

from onepath.errors import ConfigurationError, UserError

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
    """

    num_blocks: int = 20
    num_runs: int | None = None
    num_warm_up: int = 5


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
            ConfigurationError: `threads` or `batch` is under 1, or the runtime has no such precision.
        """
        threads = torch.get_num_threads() if threads is None else threads
        for what, value in (("threads", threads), ("batch", batch)):
            if value < 1:
                raise ConfigurationError(f"{what} must be 1 or more, but got {value}. Give at least 1.")
        if precision not in self.precisions:
            raise ConfigurationError(
                f"the precision of {self.name or type(self).__name__} must be one of "
                f"{', '.join(self.precisions)}, but got {precision!r}. Take one of them."
            )
        self.threads: int = threads
        self.batch: int = batch
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
        return {
            "name": self.name,
            "batch": self.batch,
            "threads": self.threads,
            "precision": self.precision,
            "version": self.version(),
            "processor": self.processor(),
        }

    def processor(self) -> str | None:
        """The model of what computes; None where it is not known."""
        return processor_name()

    def check_usable(self) -> None:
        """Nothing, where the device can be used here.

        Raises:
            ConfigurationError: it cannot, with the reason.
        """
        reason = self.missing()
        if reason is not None:
            raise ConfigurationError(
                f"the device must be usable on this machine, but {self.name} is not: {reason}. "
                "`onepath devices` lists those that are."
            )


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
        f"{name} must be given a torch module, but got the file {model}. Give the network itself."
    )
