"""Seconds to evaluate one candidate with inherited weights, against the plainest way to do it.

    python benchmarks/candidate_evaluation.py --candidates 6

The plain way extracts the candidate, recalibrates it by `momentum=None` in train mode and scores it, in
contiguous float32, and reads the data anew. Both ways run in one process, in turn, with the same batches
and the same allocator settings, on random images in the SPOS space. Prints a table and one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from onepath import spaces
from onepath.data import Task, load_data
from onepath.estimate import Estimate, SupernetEstimator
from onepath.nn import Supernet
from onepath.space import Architecture
from onepath.train import keep_freed_memory

BATCH_SIZE = 125


def plain(
    supernet: Supernet, task: Task, architecture: Architecture, calibration: int
) -> tuple[Estimate, float]:
    """Return the estimate of a candidate, and the part of its seconds that recalibration took."""
    started = time.perf_counter()
    model = supernet.extract(architecture)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None
    model.train()
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.eval()
    recalibration = time.perf_counter()
    with torch.no_grad():
        for batch in task.batches("train", BATCH_SIZE, num_examples=calibration):
            model(batch.inputs.contiguous())
        recalibration = time.perf_counter() - recalibration
        model.eval()
        correct, loss, num = 0.0, 0.0, 0
        for batch in task.batches("validation", BATCH_SIZE):
            outputs = model(batch.inputs.contiguous())
            correct += float(task.tally(outputs, batch.targets)[0])
            loss += task.loss(outputs, batch.targets).item() * len(batch.targets)
            num += len(batch.targets)
    return Estimate(correct / num, loss / num, time.perf_counter() - started, num), recalibration


def ours(
    supernet: Supernet, task: Task, calibration: int, precision: str
) -> Callable[[Architecture], tuple[Estimate, float]]:
    """Return a function that estimates an architecture and returns the same pair as `plain`.

    The seconds of recalibration are the time by which an estimate takes longer with it than without it.
    """
    whole, scoring = (
        SupernetEstimator(
            supernet,
            task,
            calibration_images=calibration,
            batch_size=BATCH_SIZE,
            precision=precision,  # type: ignore[arg-type]
            recalibrate=recalibrate,
        )
        for recalibrate in (True, False)
    )

    def estimate(architecture: Architecture) -> tuple[Estimate, float]:
        result = whole.estimate(architecture)
        return result, result.seconds - scoring.estimate(architecture).seconds

    return estimate


def random_task(num_train: int, num_validation: int, input_size: int) -> Task:
    """Random images in ten classes."""
    rng = np.random.default_rng(0)
    num = num_train + num_validation
    images = rng.integers(0, 256, (num, input_size, input_size, 3), dtype=np.uint8)
    targets = np.arange(num) % 10
    return load_data(
        (images, targets), test=(images[:10], targets[:10]), validation_fraction=num_validation / num
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--candidates", type=int, default=6)
    parser.add_argument("--calibration", type=int, default=2000)
    parser.add_argument("--validation", type=int, default=2000)
    parser.add_argument("--input-size", type=int, default=32)
    parser.add_argument("--width", type=float, default=1.0)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    keep_freed_memory()

    task = random_task(options.calibration, options.validation, options.input_size)
    supernet = spaces.build("shufflenet", num_classes=10, input_size=options.input_size, width=options.width)
    ways: dict[str, Callable[[Architecture], tuple[Estimate, float]]] = {
        "plain float32": lambda a: plain(supernet, task, a, options.calibration),
        "float32": ours(supernet, task, options.calibration, "float32"),
        "bfloat16": ours(supernet, task, options.calibration, "bfloat16"),
    }
    rng = np.random.default_rng(1)
    found: dict[str, list[tuple[Estimate, float]]] = {name: [] for name in ways}
    for index in range(options.candidates + 1):  # the first warms up
        architecture = supernet.space.random(rng)
        for name, way in ways.items():
            result = way(architecture)
            if index:
                found[name].append(result)

    summary = {}
    print(f"{'':14}{'total s':>9}{'recalib. s':>12}{'scoring s':>11}{'speed-up':>10}{'max |loss diff.|':>18}")
    plain_seconds = statistics.median(e.seconds for e, _ in found["plain float32"])
    for name, results in found.items():
        total = statistics.median(e.seconds for e, _ in results)
        recalibration = statistics.median(seconds for _, seconds in results)
        difference = max(
            abs(e.loss - p.loss) for (e, _), (p, _) in zip(results, found["plain float32"], strict=True)
        )
        summary[name] = {
            "seconds": total,
            "recalibration_seconds": recalibration,
            "speedup": plain_seconds / total,
            "max_abs_loss_difference": difference,
        }
        print(
            f"{name:14}{total:9.3f}{recalibration:12.3f}{total - recalibration:11.3f}{plain_seconds / total:10.2f}"
            f"{difference:18.1e}"
        )
    print(json.dumps({"machine": platform.machine(), **vars(options), "ways": summary}))


if __name__ == "__main__":
    main()
