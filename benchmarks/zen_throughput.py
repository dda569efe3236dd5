"""How many architectures a second Zen-score scores, and where the time goes.

    python benchmarks/zen_throughput.py --threads 2
    python benchmarks/zen_throughput.py --threads 1    # CPU milliseconds of one network tell what a busy machine hides

Networks of the space `zennas` at 32x32 with 18 to 20 million multiply-accumulates, drawn uniformly, scored as `onepath
run --method zen` does: batch 16 (and 64, which the released search takes), one draw of weights and input. Printed are
architectures a second, CPU milliseconds of one, and milliseconds of each part for one network: making it, drawing its
weights, the two passes (without the score's own bookkeeping, which is the rest). Then one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from torch import nn

from onepath import cost, spaces
from onepath.data import load_data
from onepath.estimate import ScoreEstimator
from onepath.estimate.scores.probe import Probe
from onepath.estimate.scores.zen import draw_gaussian_
from onepath.space import Architecture

LOWEST, HIGHEST = 18_000_000, 20_000_000


def milliseconds(call: Callable[[], Any]) -> float:
    """Time of a call."""
    started = time.perf_counter()
    call()
    return 1e3 * (time.perf_counter() - started)


def parts(estimator: ScoreEstimator, found: Iterable[Architecture], batch_size: int) -> dict[str, float]:
    """Median milliseconds of each part, for one network."""
    x = torch.randn(batch_size, 3, 32, 32).contiguous(memory_format=torch.channels_last)
    times: dict[str, list[float]] = {"make": [], "draw weights": [], "two passes": []}
    for architecture in found:
        made: list[nn.Module] = []
        times["make"].append(milliseconds(lambda: made.append(estimator._network(architecture))))  # noqa: B023
        network = made[0].to(memory_format=torch.channels_last)
        probe = Probe(network, x)
        times["draw weights"].append(milliseconds(lambda: draw_gaussian_(network, probe, 0)))  # noqa: B023
        with torch.no_grad():
            times["two passes"].append(milliseconds(lambda: (network(x), network(x))))  # noqa: B023
    return {name: statistics.median(values) for name, values in times.items()}


def measure(batch_size: int, num: int, width: float) -> dict[str, Any]:
    """Architectures a second, and the parts of one."""
    supernet = spaces.build("zennas", num_classes=10, input_size=32, width=width)
    table = cost.table(supernet, (3, 32, 32), "macs")
    rows = supernet.space.sample_within(table, LOWEST, HIGHEST, num + 5, np.random.default_rng(0))
    warm, found = np.split(np.array(supernet.space.architectures(rows), dtype=object), [5])
    images = np.zeros((100, 32, 32, 3), np.uint8)
    task = load_data((images, np.arange(100) % 10))
    estimator = ScoreEstimator("zen", supernet, task, batch_size=batch_size)
    for architecture in warm:
        estimator.value(architecture)
    started, started_cpu = time.perf_counter(), time.process_time()
    values = [estimator.value(architecture) for architecture in found]
    seconds, seconds_cpu = time.perf_counter() - started, time.process_time() - started_cpu
    return {
        "batch": batch_size,
        "threads": torch.get_num_threads(),
        "networks": len(values),
        "architectures_per_second": len(values) / seconds,
        "cpu_milliseconds": 1e3 * seconds_cpu / len(values),
        "degenerate": estimator.num_degenerate,
        "milliseconds": parts(estimator, list(found), batch_size),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--num", type=int, default=200)
    parser.add_argument("--batch", type=int, nargs="+", default=[16, 64])
    parser.add_argument("--width", type=float, default=0.25, help="as a run fits it to a limit of 20 M")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    results = [measure(batch, arguments.num, arguments.width) for batch in arguments.batch]
    for result in results:
        shares = ", ".join(f"{name} {ms:.1f} ms" for name, ms in result["milliseconds"].items())
        print(
            f"batch {result['batch']}, {result['threads']} threads: "
            f"{result['architectures_per_second']:.1f} architectures a second, "
            f"{result['cpu_milliseconds']:.1f} CPU ms each ({shares})"
        )
    print(json.dumps(results))


if __name__ == "__main__":
    main()
