"""What scores without training cost, as ratios measured side by side.

    python benchmarks/zero_cost_scores.py --repeats 5

On a NAS-Bench-201 network of the paper's size (16 channels, 5 cells a stage) with random images of 32x32:

- `gradsign` of 32 examples against the loop of single-example passes, and the relative difference of the two values;
- `grad_norm`, `snip`, `fisher` and `plain` together against `grad_norm` alone, batch 64;
- the seconds of `synflow`, and of every score alone.

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
    "all 3x3": "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|nor_conv_3x3~0|nor_conv_3x3~1|nor_conv_3x3~2|",
}
SHARED = ("grad_norm", "snip", "fisher", "plain")


def gradsign_by_loop(model: nn.Module, inputs: Tensor, targets: Tensor) -> float:
    """Batches of one example through the network, as the released code."""
    network = Probe(model, inputs, targets).copy()
    weights = [layer.weight for layer in weighted_layers(network)]
    sums = [torch.zeros_like(weight) for weight in weights]
    for x, target in zip(inputs.split(1), targets.split(1), strict=True):
        loss = functional.cross_entropy(network(x), target)
        for signs, gradient in zip(sums, torch.autograd.grad(loss, weights), strict=True):
            signs.add_(gradient.sign())
    return sum(float(total.abs().sum(dtype=torch.float64)) for total in sums)


def seconds(call: Callable[[], Any]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def compare(ours: Callable[[], Any], other: Callable[[], Any], repeats: int) -> dict[str, float]:
    """Median seconds of both, and of the ratio other / ours in the same round."""
    ours(), other()
    rounds = [(seconds(ours), seconds(other)) for _ in range(repeats)]
    ratios = [theirs / mine for mine, theirs in rounds]
    return {
        "seconds": statistics.median(mine for mine, _ in rounds),
        "other_seconds": statistics.median(theirs for _, theirs in rounds),
        "ratio": statistics.median(ratios),
        "least_ratio": min(ratios),
        "largest_ratio": max(ratios),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--cell", choices=list(CELLS), default="mixed")
    parser.add_argument("--only", choices=["gradsign", "shared", "each"], help="one of the parts")
    options = parser.parse_args()
    keep_freed_memory()
    supernet = spaces.build("nasbench201", 10, input_size=32)
    model = supernet.extract(supernet.space.parse(CELLS[options.cell]), inherit=False, seed=0)
    draws = torch.Generator().manual_seed(0)
    inputs, targets = (
        torch.randn(64, 3, 32, 32, generator=draws),
        torch.randint(0, 10, (64,), generator=draws),
    )
    result: dict[str, Any] = {"cell": options.cell, "threads": torch.get_num_threads()}
    few, labels = inputs[:32], targets[:32]
    if options.only in (None, "gradsign"):
        found = compare(
            lambda: score("gradsign", model, few, labels),
            lambda: gradsign_by_loop(model, few, labels),
            options.repeats,
        )
        ours, loop = score("gradsign", model, few, labels), gradsign_by_loop(model, few, labels)
        found["relative_difference"] = abs(ours - loop) / loop
        result["gradsign"] = found
        print(
            f"gradsign, 32 examples: {found['seconds']:.3f} s, loop {found['other_seconds']:.3f} s, "
            f"{found['ratio']:.2f} times as fast ({found['least_ratio']:.2f} to {found['largest_ratio']:.2f}); "
            f"values differ by {found['relative_difference']:.1e}",
            flush=True,
        )
    if options.only in (None, "shared"):
        found = compare(
            lambda: scores(["grad_norm"], model, inputs, targets),
            lambda: scores(SHARED, model, inputs, targets),
            options.repeats,
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
            times = []
            for _ in range(min(3, options.repeats) + 1):
                times.append(seconds(lambda name=name: score(name, model, inputs, targets)))  # type: ignore[misc]
            result["each"][name] = statistics.median(times[1:])
            print(f"{name:<13} {result['each'][name]:.3f} s, batch 64", flush=True)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
