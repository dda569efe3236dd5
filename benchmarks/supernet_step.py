"""One training step of a supernet against the same subnets stand-alone: seconds and peak memory.

    python benchmarks/supernet_step.py --paths 20

For each of many random paths, the supernet and the stand-alone network extracted from it make the steps that
`onepath.train` makes (forward, backward, optimizer; channels_last), in one process, in turn, on the same batch,
with 4 and with 16 candidates per block. Extraction and each network's first step are not timed.

Peak memory is the most that PyTorch's allocator held at once during a step, above what it held before: the
profiler reports every single allocation and release, so the number is exact to the byte, where resident memory
depends on what the C library keeps. The memory that a supernet needs between steps, for the weights and momentum
of every candidate, is listed separately. Prints a table and one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # the profiler's own messages

import numpy as np
import torch
from torch import Tensor, nn
from torch._C._profiler import _EventType
from torch.profiler import ProfilerActivity, profile

from onepath import spaces
from onepath.data import Batch, Task, load_data
from onepath.nn import ChoiceBlock, Supernet
from onepath.spaces.shufflenet import ShuffleNet, ShuffleUnit, shufflenet
from onepath.train import Phase, Recipe, keep_freed_memory
from onepath.train.training import Training

Clock = Callable[[], float]
CLOCKS: dict[str, Clock] = {"wall": time.perf_counter, "cpu": time.process_time}
MIDDLE_FACTORS = (0.4, 0.8, 1.2, 1.6)
LARGEST_TIME_RATIO = 1.05
LARGEST_MEMORY_RATIO = 1.1


class WideShuffleNet(ShuffleNet):
    """SPOS's network with 16 candidates in each block: its four, each with four widths of the main branch."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        for blocks in self.stages:
            for index, block in enumerate(blocks):  # type: ignore[arg-type]
                candidates = [
                    _unit_like(unit, factor) for unit in block.candidates for factor in MIDDLE_FACTORS
                ]
                blocks[index] = ChoiceBlock(candidates)  # type: ignore[index]
        self.reset_parameters()


def _unit_like(unit: ShuffleUnit, factor: float) -> ShuffleUnit:
    """A new unit of the same shape whose main branch has `factor` times the middle channels."""
    convolutions = [module for module in unit.main if isinstance(module, nn.Conv2d)]
    passed, emitted = convolutions[0].in_channels, convolutions[-1].out_channels
    depthwise = [module for module in convolutions if module.groups > 1]
    return ShuffleUnit(
        passed * 2 if unit.keeps_shape else passed,
        passed + emitted,
        max(2, round(convolutions[-1].in_channels * factor / 2) * 2),
        kernel_size=int(depthwise[0].kernel_size[0]),
        stride=int(depthwise[0].stride[0]),
        num_depthwise=len(depthwise),
        keeps_shape=unit.keeps_shape,
    )


BUILDERS: dict[int, Callable[..., nn.Module]] = {4: shufflenet, 16: WideShuffleNet}


def random_task(num: int, input_size: int) -> Task:
    """Return a task of random images in ten classes; half of them train."""
    images = np.random.default_rng(0).integers(0, 256, (2 * num, input_size, input_size, 3), dtype=np.uint8)
    targets = np.arange(2 * num) % 10
    return load_data((images, targets), test=(images[:10], targets[:10]), validation_fraction=0.5)


class Steps:
    """A network in training, one step at a time."""

    def __init__(self, network: nn.Module, task: Task, recipe: Recipe, batch: Batch) -> None:
        keep_freed_memory()
        self.path: Any = None
        self.batch = batch
        forward = network if isinstance(network, Supernet) else lambda inputs, _: network(inputs)
        self.training = Training(
            network.train(),
            forward,
            task,
            [Phase("step", recipe, self)],
            seed=0,
            device=torch.device("cpu"),
        )

    def paths(self, update: int, rng: np.random.Generator) -> tuple[Any]:  # noqa: ARG002
        """Return the path of the next step, in the form in which a sampler returns it."""
        return (self.path,)

    def step(self, path: Any = None) -> None:
        """Make the training loop's own update along `path`."""
        self.path = path
        self.training._step(self.batch.inputs, self.batch.targets, 1e-3)

    def seconds(self, clock: Clock, path: Any = None) -> float:
        """Return the seconds that a step takes."""
        started = clock()
        self.step(path)
        return clock() - started

    def peak_bytes(self, path: Any = None) -> int:
        """Return the peak memory of a step along `path`; see the function of the same name."""
        return peak_bytes(lambda: self.step(path))

    def state_bytes(self) -> int:
        """Return the bytes that are kept between steps: parameters, buffers and momentum."""
        tensors: list[Tensor] = [
            *self.training.module.state_dict().values(),
            *self.training.optimizer.state_dict()["momentum"].values(),
        ]
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def peak_bytes(step: Callable[[], None]) -> int:
    """Return the most bytes that were allocated at once during a step, above those allocated before it."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        step()
    held = peak = 0
    events = profiler.profiler.kineto_results.experimental_event_tree()  # type: ignore[union-attr]
    for event in sorted(_allocations(events), key=lambda event: event.start_time_ns):
        held += event.extra_fields.alloc_size
        peak = max(peak, held)
    return peak


def _allocations(events: list[Any]) -> Iterator[Any]:
    for event in events:
        if event.tag == _EventType.Allocation:
            yield event
        yield from _allocations(event.children)


def compare(supernet: Supernet, task: Task, recipe: Recipe, batch: Batch, options: argparse.Namespace) -> Any:
    """Return medians over random paths; ratios are medians of the ratios of single paths."""
    clock = CLOCKS[options.clock]
    ours = Steps(supernet, task, recipe, batch)
    rng = np.random.default_rng(1)
    seconds: list[tuple[float, float]] = []
    peaks: list[tuple[int, int]] = []
    alone_state = 0
    for index in range(options.paths + 1):  # the first warms up
        path = supernet.space.random(rng)
        alone = Steps(supernet.extract(path), task, recipe, batch)
        ours.step(path)  # the first step along a path also makes its momentum
        alone.step()
        if index % 2:
            pair = ours.seconds(clock, path), alone.seconds(clock)
        else:
            pair = (alone.seconds(clock), ours.seconds(clock, path))[::-1]
        if index:
            seconds.append(pair)
        if index < options.memory_paths:
            peaks.append((ours.peak_bytes(path), alone.peak_bytes()))
            alone_state = alone.state_bytes()
    time_ratios = [a / b for a, b in seconds]
    return {
        "supernet_seconds": statistics.median(a for a, _ in seconds),
        "alone_seconds": statistics.median(b for _, b in seconds),
        "time_ratio": statistics.median(time_ratios),
        "time_ratio_quartiles": statistics.quantiles(time_ratios, n=4)[::2],
        "supernet_peak_bytes": statistics.median(a for a, _ in peaks),
        "alone_peak_bytes": statistics.median(b for _, b in peaks),
        "memory_ratio": statistics.median(a / b for a, b in peaks),
        "memory_ratio_max": max(a / b for a, b in peaks),
        "supernet_state_bytes": ours.state_bytes(),
        "alone_state_bytes": alone_state,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--paths", type=int, default=20, help="number of random paths to time")
    parser.add_argument(
        "--memory-paths", type=int, default=5, help="number of random paths whose memory is measured"
    )
    parser.add_argument("--candidates", type=int, nargs="+", choices=tuple(BUILDERS), default=tuple(BUILDERS))
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--input-size", type=int, default=64)
    parser.add_argument("--width", type=float, default=1.0)
    parser.add_argument(
        "--clock",
        choices=tuple(CLOCKS),
        default="wall",
        help="wall time or CPU time; cpu is for a busy machine, with --threads 1",
    )
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)

    task = random_task(options.batch_size, options.input_size)
    batch = next(iter(task.train_batches(options.batch_size, seed=0, num_updates=1)))
    recipe = Recipe(epochs=1, batch_size=options.batch_size, learning_rate=1e-3)
    found = {}
    print(f"{'':14}{'step, s':>20}{'':8}{'peak, MB':>20}{'':8}{'kept, MB':>20}")
    print(f"{'candidates':14}" + f"{'supernet':>10}{'alone':>10}{'ratio':>8}" * 3)
    for num in options.candidates:
        supernet = spaces.build(BUILDERS[num], 10, options.input_size, 3, options.width)
        row = found[num] = compare(supernet, task, recipe, batch, options)
        peaks = row["supernet_peak_bytes"] / 1e6, row["alone_peak_bytes"] / 1e6
        kept = row["supernet_state_bytes"] / 1e6, row["alone_state_bytes"] / 1e6
        print(
            f"{num:<14}{row['supernet_seconds']:10.4f}{row['alone_seconds']:10.4f}{row['time_ratio']:8.3f}"
            f"{peaks[0]:10.2f}{peaks[1]:10.2f}{row['memory_ratio']:8.3f}"
            f"{kept[0]:10.2f}{kept[1]:10.2f}{kept[0] / kept[1]:8.2f}"
        )
    met = all(
        row["time_ratio"] <= LARGEST_TIME_RATIO and row["memory_ratio_max"] <= LARGEST_MEMORY_RATIO
        for row in found.values()
    )
    print(
        f"required: step <= {LARGEST_TIME_RATIO}, peak <= {LARGEST_MEMORY_RATIO}: {'met' if met else 'NOT met'}"
    )
    print(json.dumps({"machine": platform.machine(), **vars(options), "met": met, "found": found}))


if __name__ == "__main__":
    main()
