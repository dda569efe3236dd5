"""Peak memory of a search step of ProxylessNAS against a step of a single path, for 3, 6 and 12 candidates per block.

    python benchmarks/two_path_memory.py

The network is ProxylessNAS's with candidates of one size (inverted bottlenecks of expansion 6 and kernels 3, 5 and 7 in
turn), so that all paths need the same memory. A search step consists of a step of the logits on a validation batch,
with two paths or with all gates, and a step of the weights. Peak memory is the most that PyTorch's allocator held at
once during a step, above what it held before, see `supernet_step.py`. Prints a table and one line of JSON.
"""

from __future__ import annotations

import argparse
import dataclasses
import json

import torch
from supernet_step import peak_bytes, random_task

from onepath.data import Task
from onepath.nn import ChoiceBlock, Supernet
from onepath.nn.relaxations import BinaryRelaxation, Relaxation, TwoPathRelaxation
from onepath.spaces.bottleneck import InvertedBottleneck
from onepath.spaces.proxylessnas import ProxylessNas
from onepath.train import ArchitectureRecipe, ArchitectureTraining, Recipe, differentiable_phases
from onepath.train.training import Training

LARGEST_RATIO = 2.2
KERNELS = (3, 5, 7)
RELAXATIONS: dict[str, type[Relaxation]] = {"two-path": TwoPathRelaxation, "full": BinaryRelaxation}


class EvenProxylessNas(ProxylessNas):
    """ProxylessNAS's network with `num_candidates` candidates of one size in each block."""

    def __init__(self, num_classes: int, input_size: int, in_channels: int, num_candidates: int) -> None:
        super().__init__(num_classes, input_size, in_channels)
        for blocks in self.stages:
            for index, block in enumerate(blocks):  # type: ignore[arg-type]
                first, last = block.candidates[0].expand[0], block.candidates[0].project[0]
                stride = block.candidates[0].depthwise[0].stride[0]
                candidates = [
                    InvertedBottleneck(
                        first.in_channels,
                        last.out_channels,
                        kernel_size=KERNELS[number % len(KERNELS)],
                        expansion=6,
                        stride=stride,
                    )
                    for number in range(num_candidates)
                ]
                blocks[index] = ChoiceBlock(candidates)  # type: ignore[index]
        self.reset_parameters()


def step_bytes(supernet: Supernet, task: Task, relaxation: Relaxation, *, single: bool, batch: int) -> int:
    """Return the peak memory of a step of the weights alone, or of a step of the logits and of the weights."""
    architecture = ArchitectureTraining(supernet, relaxation, ArchitectureRecipe(), seed=0)
    recipe = Recipe(epochs=1, batch_size=batch, learning_rate=1e-3)
    (phase,) = differentiable_phases(architecture, recipe)
    if single:
        phase = dataclasses.replace(phase, before=None)
    training = Training(supernet.train(), supernet, task, [phase], seed=0, device=torch.device("cpu"))
    inputs, targets = next(iter(task.train_batches(batch, seed=0, num_updates=1)))

    def step() -> None:
        training.update = 0  # the same path every time
        training._step(inputs, targets, 1e-3)

    step()  # makes the momentum
    return peak_bytes(step)


def main() -> None:
    """Measure, and print a table and one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--candidates", type=int, nargs="+", default=(3, 6, 12))
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--input-size", type=int, default=32)
    options = parser.parse_args()
    task = random_task(options.batch_size, options.input_size)
    found = {}
    print(f"{'candidates':12}{'single, MB':>12}" + f"{'two-path':>12}{'ratio':>8}{'full':>12}{'ratio':>8}")
    for num in options.candidates:
        supernet = Supernet(EvenProxylessNas(10, options.input_size, 3, num))
        single = step_bytes(
            supernet, task, TwoPathRelaxation(supernet), single=True, batch=options.batch_size
        )
        row: dict[str, float] = {"single_bytes": single}
        print(f"{num:<12}{single / 1e6:12.1f}", end="")
        for name, kind in RELAXATIONS.items():
            peak = step_bytes(supernet, task, kind(supernet), single=False, batch=options.batch_size)
            row |= {f"{name}_bytes": peak, f"{name}_ratio": peak / single}
            print(f"{peak / 1e6:12.1f}{peak / single:8.3f}", end="")
        print()
        found[num] = row
    met = all(row["two-path_ratio"] <= LARGEST_RATIO for row in found.values())
    print(f"required: two-path <= {LARGEST_RATIO}: {'met' if met else 'NOT met'}")
    print(json.dumps({**vars(options), "met": met, "found": found}))


if __name__ == "__main__":
    main()
