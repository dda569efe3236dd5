"""Time and peak memory of one step of DARTS's search, first and second order.

One step is a step of the logits on a validation batch and one of the weights on a training batch, of the search network
with 16 channels and 8 cells on images of 32x32. Each order runs in a process of its own, of which the peak of resident
memory is printed, with what the process had before the first step.

    python benchmarks/darts_step.py [--batch 16] [--steps 3] [--orders first second]
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import resource
import subprocess
import sys
import time

import torch

import onepath as op
from onepath.methods import darts_recipe
from onepath.nn.relaxations import SoftmaxRelaxation
from onepath.train import ArchitectureRecipe, ArchitectureTraining
from onepath.train.loop import train_relaxed


def measure(order: str, batch: int, steps: int) -> dict[str, float]:
    """Median seconds of a step after the first, and megabytes."""
    rng = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (6 * batch * (steps + 1), 32, 32, 3), generator=rng, dtype=torch.uint8)
    labels = torch.arange(len(images)) % 10
    data = op.load_data((images.numpy(), labels.numpy()), validation_fraction=0.4)
    supernet = op.spaces.build("darts", 10, 32)
    architecture = ArchitectureTraining(
        supernet,
        SoftmaxRelaxation(supernet),
        ArchitectureRecipe(order=order),  # type: ignore[arg-type]
        seed=0,
    )
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    times = [time.perf_counter()]

    class EnoughError(Exception):
        pass

    def note(done: int, _: int) -> None:
        times.append(time.perf_counter())
        if done > steps:
            raise EnoughError

    with contextlib.suppress(EnoughError):
        train_relaxed(supernet, data, architecture, recipe=darts_recipe(9, batch), on_update=note)
    seconds = sorted(b - a for a, b in itertools.pairwise(times))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"seconds": seconds[len(seconds) // 2], "before_mb": before, "peak_mb": peak}


def main() -> None:
    """Measure every order in its own process and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--orders", nargs="+", default=["first", "second"])
    parser.add_argument("--one", action="store_true", help="measure in this process and print JSON")
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.orders[0], options.batch, options.steps)))
        return
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, batch {options.batch}")
    for order in options.orders:
        command = [sys.executable, __file__, "--one", "--orders", order]
        command += ["--batch", str(options.batch), "--steps", str(options.steps)]
        found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        print(
            f"{order:13} {found['seconds']:6.2f} s a step, peak {found['peak_mb']:6.0f} MB "
            f"({found['before_mb']:.0f} MB before)"
        )


if __name__ == "__main__":
    main()
