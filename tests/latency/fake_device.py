"""A device whose latencies follow a law; for the command line and other tests as `fake_device.py:Fake`.

A network takes 0.1 ms, and 0.01 ms for each weight of a kernel (height x width) of its convolutions. In a copy of this
file elsewhere, files beside it have a say: all times are multiplied by the number in `factor.txt`, and where there is a
`log.txt`, each network that is prepared is a line of it.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import nn

from onepath.latency import Device, Prepared, Schedule

BASE_MS, WEIGHT_MS = 0.1, 0.01


def law_ms(model: nn.Module) -> float:
    """What the network takes."""
    kernels = [module.kernel_size for module in model.modules() if isinstance(module, nn.Conv2d)]
    factor = Path(__file__).with_name("factor.txt")
    weights = sum(height * width for height, width in kernels)
    return (BASE_MS + WEIGHT_MS * weights) * (float(factor.read_text()) if factor.exists() else 1.0)


class Fake(Device):
    """See the module."""

    name = "fake"
    schedule = Schedule(num_blocks=4, num_runs=1, num_warm_up=0)

    def prepare(self, model: Any, input_shape: Sequence[int]) -> Prepared:
        log = Path(__file__).with_name("log.txt")
        if log.exists():
            with log.open("a") as file:
                file.write(f"{law_ms(model):.6f}\n")
        return _Constant([law_ms(model)])


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
