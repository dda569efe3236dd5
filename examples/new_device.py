"""A device of your own, and a limit on its latency in milliseconds: a simulated processor that multiplies slowly.

Run it with `python examples/new_device.py`; it takes some seconds. To use the same class in a run:
`onepath run --device examples/new_device.py:SmallProcessor --max-latency-ms 1200`.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

import torch

import onepath as op
from onepath.latency import Device, Network, Schedule, confirm


# --- the device --------------------------------------------------------------------------------------------------
@dataclass
class Simulated:
    """A network on the device; a real one would be copied there."""

    milliseconds: float

    def run(self) -> float:
        return self.milliseconds

    def close(self) -> None: ...


class SmallProcessor(Device):
    """A processor that takes 1 ms to begin, 0.1 ms per layer and 1 us per two multiply-accumulates."""

    name = "small-processor"
    schedule = Schedule(num_blocks=3, num_runs=1, num_warm_up=0)

    def prepare(self, model: Network, input_shape: Sequence[int]) -> Simulated:
        macs = op.cost.COSTS["macs"].count(model, tuple(input_shape)).total
        layers = op.cost.COSTS["layers"].count(model, tuple(input_shape)).total
        return Simulated(1 + 0.1 * layers + self.batch * macs / 2000)


# -----------------------------------------------------------------------------------------------------------------


def main() -> None:
    """Search under the limit, and measure the winner."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--max-latency-ms", type=float, default=40.0)
    options = parser.parse_args()

    # Imported here, because a command that is given this file loads it without its folder.
    from mini_nas import Net, bars

    data = op.load_data(bars(1200, seed=0), test=bars(300, seed=1), flip=False)
    torch.manual_seed(0)
    supernet = op.Supernet(Net(data.num_classes))
    op.train_supernet(
        supernet, data, sampler=op.UniformSampler(supernet.space), epochs=options.epochs, seed=0
    )
    processor = SmallProcessor()
    found = op.search_supernet(
        supernet,
        data,
        op.Evolution(supernet.space, seed=0, population=12, generations=3),
        constraints=[op.MaxLatency(processor, options.max_latency_ms)],
    )
    latency = confirm(processor, supernet.extract(found.best), data.input_shape)
    print(f"best of {len(found.trials)}: {found.best.options}, {latency.median_ms:.2f} ms")


if __name__ == "__main__":
    main()
