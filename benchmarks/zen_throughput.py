"""How many architectures per second Zen-score scores, and which parts take the time.

    python benchmarks/zen_throughput.py
    python benchmarks/zen_throughput.py --threads 1    # CPU milliseconds of one network tell what a busy machine hides

Networks of the space `zennas` at 32x32 with 18 to 20 million multiply-accumulates are drawn uniformly and scored as
`onepath run --method zen` does: batch 16 (and 64, which the released search takes), one draw of weights and input.
First everything runs in this process; printed are architectures per second, CPU milliseconds of one, and milliseconds
of each part for one network: making it, drawing its weights, and a pass over the input and its perturbation; the rest
is the score's own bookkeeping. Then as many processes as a run has (--processes; batch 16) score the same networks,
timed from the first score to the last. Then one line of JSON.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from onepath import cost, spaces
from onepath.data import load_data
from onepath.estimate import ScoreEstimator
from onepath.estimate.scores.probe import Probe
from onepath.estimate.scores.zen import draw_gaussian_
from onepath.nn import Supernet
from onepath.runs import make_config
from onepath.runs.definition import RunDefinition
from onepath.runs.scoring import pooled_scores
from onepath.space import Architecture
from onepath.train.threads import usable_cores

LOWEST, HIGHEST = 18_000_000, 20_000_000
NUM_WARM = 10


def milliseconds(call: Callable[[], Any]) -> float:
    """Return the milliseconds that a call takes."""
    started = time.perf_counter()
    call()
    return 1e3 * (time.perf_counter() - started)


def parts(estimator: ScoreEstimator, found: Iterable[Architecture], batch_size: int) -> dict[str, float]:
    """Return the median milliseconds of each part, for one network."""
    x = torch.randn(batch_size, 3, 32, 32).contiguous(memory_format=torch.channels_last)
    both = torch.cat([x, x])
    times: dict[str, list[float]] = {"make": [], "draw weights": [], "pass": []}
    for architecture in found:
        made: list[nn.Module] = []
        times["make"].append(milliseconds(lambda: made.append(estimator._network(architecture))))  # noqa: B023
        network = made[0].to(memory_format=torch.channels_last)
        probe = Probe(network, x)
        times["draw weights"].append(milliseconds(lambda: draw_gaussian_(network, probe, 0)))  # noqa: B023
        with torch.no_grad():
            times["pass"].append(milliseconds(lambda: network(both)))  # noqa: B023
    return {name: statistics.median(values) for name, values in times.items()}


def networks(num: int, width: float) -> tuple[Supernet, list[Architecture]]:
    """Return the supernet of the space, and `num` of its architectures after `NUM_WARM` others."""
    supernet = spaces.build("zennas", num_classes=10, input_size=32, width=width)
    table = cost.table(supernet, (3, 32, 32), "macs")
    rows = supernet.space.sample_within(table, LOWEST, HIGHEST, num + NUM_WARM, np.random.default_rng(0))
    return supernet, supernet.space.architectures(rows)


def measure_team(num: int, width: float, num_processes: int) -> float:
    """Return architectures per second of a run's processes; their start, which takes seconds, is not counted."""
    config = make_config({"method": "zen", "space": "zennas", "width": width, "workers": num_processes})
    facts = {"input_shape": [3, 32, 32], "classes": 10, "train": 16}
    _, found = networks(num, width)
    definition = RunDefinition(Path(), config, facts)
    with contextlib.closing(pooled_scores(definition, "zen", 16, num_processes)) as team:
        team.anticipate(found[:NUM_WARM])
        for architecture in found[:NUM_WARM]:
            team.estimate(architecture)
        started = time.perf_counter()
        team.anticipate(found[NUM_WARM:])
        for architecture in found[NUM_WARM:]:
            team.estimate(architecture)
        return num / (time.perf_counter() - started)


def measure(batch_size: int, num: int, width: float) -> dict[str, Any]:
    """Return architectures per second, and the milliseconds of each part."""
    supernet, drawn = networks(num, width)
    warm, found = drawn[:NUM_WARM], drawn[NUM_WARM:]
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
    parser.add_argument("--processes", type=int, default=usable_cores())
    parser.add_argument("--num", type=int, default=200)
    parser.add_argument("--batch", type=int, nargs="+", default=[16, 64])
    parser.add_argument(
        "--width",
        type=float,
        default=0.25,
        help="width of the space; the default is what a run chooses for a limit of 20 M",
    )
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
    team = measure_team(arguments.num, arguments.width, arguments.processes)
    print(f"batch 16, {arguments.processes} processes: {team:.1f} architectures a second")
    print(json.dumps([*results, {"processes": arguments.processes, "architectures_per_second": team}]))


if __name__ == "__main__":
    main()
