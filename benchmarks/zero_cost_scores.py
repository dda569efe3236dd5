"""What scores without training cost, as ratios measured side by side.

    python benchmarks/zero_cost_scores.py --repeats 5
    python benchmarks/zero_cost_scores.py --only gradsign --threads 1 --clock cpu    # on a busy machine

On NAS-Bench-201 networks of the paper's size (16 channels, 5 cells a stage) with random images of 32x32:

- for cells of different operations, `gradsign` of 32 examples against the loop of single-example passes, and the
  relative difference of the two values;
- for one of them, `grad_norm`, `snip`, `fisher` and `plain` together against `grad_norm` alone, batch 64;
- for the same, the seconds of every score alone.

Each pair is timed in turn, and the median ratio of the rounds is printed with the range; then one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from onepath import spaces
from onepath.estimate import SCORES, score, scores
from onepath.estimate.scores.probe import Probe, weighted_layers
from onepath.train import keep_freed_memory

CELLS = {
    "mixed": "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_1x1~1|+|skip_connect~0|nor_conv_3x3~1|avg_pool_3x3~2|",
    "pooling": "|avg_pool_3x3~0|+|nor_conv_1x1~0|avg_pool_3x3~1|+|nor_conv_3x3~0|nor_conv_1x1~1|skip_connect~2|",
    "all 3x3": "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|nor_conv_3x3~0|nor_conv_3x3~1|nor_conv_3x3~2|",
}
SHARED = ("grad_norm", "snip", "fisher", "plain")


def gradsign_by_loop(model: nn.Module, inputs: Tensor, targets: Tensor) -> float:
    """Return `gradsign` by a loop over batches of one example, as in the released code."""
    network = Probe(model, inputs, targets).copy()
    weights = [layer.weight for layer in weighted_layers(network)]
    sums = [torch.zeros_like(weight) for weight in weights]
    for x, target in zip(inputs.split(1), targets.split(1), strict=True):
        loss = functional.cross_entropy(network(x), target)
        for signs, gradient in zip(sums, torch.autograd.grad(loss, weights), strict=True):
            signs.add_(gradient.sign())
    return sum(float(total.abs().sum(dtype=torch.float64)) for total in sums)


def seconds(call: Callable[[], Any], clock: Callable[[], float]) -> float:
    started = clock()
    call()
    return clock() - started


def compare(
    ours: Callable[[], Any], other: Callable[[], Any], repeats: int, clock: Callable[[], float]
) -> dict[str, float]:
    """Return the median seconds of both calls, and the median of the ratio other / ours in the same round."""
    ours(), other()
    rounds = [(seconds(ours, clock), seconds(other, clock)) for _ in range(repeats)]
    ratios = [theirs / mine for mine, theirs in rounds]
    return {
        "seconds": statistics.median(mine for mine, _ in rounds),
        "other_seconds": statistics.median(theirs for _, theirs in rounds),
        "ratio": statistics.median(ratios),
        "least_ratio": min(ratios),
        "largest_ratio": max(ratios),
    }


def measure_gradsign(
    model: nn.Module, inputs: Tensor, targets: Tensor, repeats: int, clock: Callable[[], float]
) -> dict[str, float]:
    """Measure `gradsign` beside the loop, and how far their values are apart."""
    found = compare(
        lambda: score("gradsign", model, inputs, targets),
        lambda: gradsign_by_loop(model, inputs, targets),
        repeats,
        clock,
    )
    ours, loop = score("gradsign", model, inputs, targets), gradsign_by_loop(model, inputs, targets)
    return {**found, "relative_difference": abs(ours - loop) / loop}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--cells", nargs="+", choices=list(CELLS), default=list(CELLS))
    parser.add_argument(
        "--only", choices=["gradsign", "shared", "each"], help="measure only this part of the three"
    )
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument(
        "--clock",
        choices=["wall", "cpu"],
        default="wall",
        help="wall time or CPU time; cpu is for runs with --threads 1",
    )
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    clock = time.perf_counter if options.clock == "wall" else time.process_time
    keep_freed_memory()
    supernet = spaces.build("nasbench201", 10, input_size=32)
    models = {
        cell: supernet.extract(supernet.space.parse(CELLS[cell]), inherit=False, seed=0)
        for cell in options.cells
    }
    draws = torch.Generator().manual_seed(0)
    inputs, targets = (
        torch.randn(64, 3, 32, 32, generator=draws),
        torch.randint(0, 10, (64,), generator=draws),
    )
    result: dict[str, Any] = {"threads": torch.get_num_threads(), "clock": options.clock}
    if options.only in (None, "gradsign"):
        result["gradsign"] = {}
        for cell, model in models.items():
            found = measure_gradsign(model, inputs[:32], targets[:32], options.repeats, clock)
            result["gradsign"][cell] = found
            print(
                f"gradsign, 32 examples, cell {cell}: {found['seconds']:.3f} s, loop {found['other_seconds']:.3f} s, "
                f"{found['ratio']:.2f} times as fast ({found['least_ratio']:.2f} to {found['largest_ratio']:.2f}); "
                f"values differ by {found['relative_difference']:.1e}",
                flush=True,
            )
    model = models[options.cells[0]]
    if options.only in (None, "shared"):
        found = compare(
            lambda: scores(["grad_norm"], model, inputs, targets),
            lambda: scores(SHARED, model, inputs, targets),
            options.repeats,
            clock,
        )
        result["shared"] = found
        print(
            f"{', '.join(SHARED)}: {found['other_seconds']:.3f} s, grad_norm alone {found['seconds']:.3f} s, "
            f"{found['ratio']:.2f} times ({found['least_ratio']:.2f} to {found['largest_ratio']:.2f})",
            flush=True,
        )
    if options.only in (None, "each"):
        result["each"] = {}
        for name in SCORES:
            times = [
                seconds(lambda name=name: score(name, model, inputs, targets), clock)  # type: ignore[misc]
                for _ in range(min(3, options.repeats) + 1)
            ]
            result["each"][name] = statistics.median(times[1:])
            print(f"{name:<13} {result['each'][name]:.3f} s, batch 64", flush=True)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
