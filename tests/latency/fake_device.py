"""A device whose latencies follow a law; for the command line and other tests as `fake_device.py:Fake`.

A network takes 0.1 ms, and 0.01 ms for each weight of a kernel (height x width) of its convolutions, times the number
in the file that FAKE_FACTOR names, if there is one. Each network that is prepared is a line of the file FAKE_LOG.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import nn

from onepath.latency import Device, Prepared, Schedule

BASE_MS, WEIGHT_MS = 0.1, 0.01


def law_ms(model: nn.Module) -> float:
    """What the network takes."""
    kernels = [module.kernel_size for module in model.modules() if isinstance(module, nn.Conv2d)]
    return BASE_MS + WEIGHT_MS * sum(height * width for height, width in kernels)


class Fake(Device):
    """See the module."""

    name = "fake"
    schedule = Schedule(num_blocks=4, num_runs=1, num_warm_up=0)

    def prepare(self, model: Any, input_shape: Sequence[int]) -> Prepared:
        factor = os.environ.get("FAKE_FACTOR")
        ms = law_ms(model) * (float(Path(factor).read_text()) if factor else 1.0)
        log = os.environ.get("FAKE_LOG")
        if log:
            with Path(log).open("a") as file:
                file.write(f"{ms:.6f}\n")
        return _Constant([ms])


class Noisy(Fake):
    """Every other block takes twice as long."""

    name = "noisy"

    def prepare(self, model: Any, input_shape: Sequence[int]) -> Prepared:
        return _Constant([law_ms(model), 2 * law_ms(model)])


class _Constant:
    def __init__(self, times_ms: list[float]) -> None:
        self._times_ms = itertools.cycle(times_ms)

    def run(self) -> float:
        return next(self._times_ms)

    def close(self) -> None:
        pass
