"""One search step of DARTS, here and in NNI 3.0, side by side: seconds and peak memory.

    python benchmarks/darts_step.py --environment FOLDER

NNI lives in a virtual environment of its own, see `nni_supernet_step.py`; `--sides first second` runs without it. One
step consists of a step of the logits on a validation batch and a step of the weights on a training batch, of the search
network with 16 channels and 8 cells on images of 32x32. NNI's is its `DARTS` strategy, which is of first order, on its
own `DARTS(width=16, num_cells=8, dataset="cifar")`: the same operations on the same edges, with learned scale and shift
of normalisation, timed between Lightning's first and last callback for a batch. onepath's is `train_differentiable`,
batches included. Batch size, optimizers, clipping and number of threads are the same.

Every side has a process of its own. The processes make their steps in turn, while all others wait; ratios are taken
round by round. Peak memory is the peak of a process's resident memory. The memory that it had before the first step,
mostly libraries, is printed beside it. Prints a table, the median ratios to NNI, and one line of JSON.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import json
import resource
import statistics
from collections.abc import Callable
from typing import Any

from worker_processes import CLOCKS, Worker, add_process_options, answer, environment_python, start_answering

LARGEST_TIME_RATIO = 0.5
LARGEST_MEMORY_RATIO = 0.8
NUM_CLASSES = 10
INPUT_SIZE, CHANNELS, CELLS = 32, 16, 8
MOST_STEPS = 1000
SIDES = ("nni", "first", "second")


def peak_mb() -> float:
    """Return the most memory that this process has held, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


class Clocked:
    """In a worker: answers requests for steps with their seconds and the peak of memory so far."""

    def __init__(self, clock: Callable[[], float], versions: dict[str, str]) -> None:
        self._clock, self._versions = clock, versions
        self._seconds: list[float] = []
        self._num_asked = 0
        self._before_mb = peak_mb()
        self._started = 0.0

    def start(self) -> None:
        """Start the clock; call it before a step."""
        if len(self._seconds) == self._num_asked:
            reply = {"seconds": self._seconds, "peak_mb": peak_mb(), "before_mb": self._before_mb}
            self._num_asked = answer({**reply, "versions": self._versions})["steps"]
            self._seconds = []
        self._started = self._clock()

    def end(self) -> None:
        """Stop the clock; call it after a step."""
        self._seconds.append(self._clock() - self._started)


def work_with_nni(options: argparse.Namespace) -> None:
    """In a worker: run steps of NNI's strategy."""
    import pytorch_lightning as lightning
    import torch
    from nni.nas import strategy
    from nni.nas.evaluator.pytorch import DataLoader, Lightning, LightningModule, Trainer
    from nni.nas.execution import SequentialExecutionEngine
    from nni.nas.hub.pytorch import DARTS
    from nni.nas.space import RawFormatModelSpace
    from torch import nn

    torch.set_num_threads(options.threads)

    class Training(LightningModule):  # type: ignore[misc]
        def training_step(self, batch: Any, _: int) -> Any:
            inputs, targets = batch
            return nn.functional.cross_entropy(self.model(inputs), targets)

        def validation_step(self, *_: Any) -> None: ...

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), 0.025, 0.9, weight_decay=3e-4)

    class Steps(lightning.Callback):  # type: ignore[misc]
        clocked: Clocked | None = None

        def on_train_batch_start(self, *_: Any) -> None:
            if self.clocked is None:
                versions = {name: importlib.metadata.version(name) for name in ("torch", "nni")}
                self.clocked = Clocked(CLOCKS[options.clock], versions)
            self.clocked.start()

        def on_train_batch_end(self, *_: Any) -> None:
            assert self.clocked is not None
            self.clocked.end()

    shape = (options.batch_size, 3, INPUT_SIZE, INPUT_SIZE)
    batch = (torch.randn(shape), torch.arange(options.batch_size) % NUM_CLASSES)
    loader = DataLoader([batch] * MOST_STEPS, batch_size=None)
    trainer = Trainer(
        accelerator="cpu",
        devices=1,
        max_epochs=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        limit_val_batches=0,
        callbacks=[Steps()],
    )
    space = DARTS(width=CHANNELS, num_cells=CELLS, dataset="cifar")
    evaluator = Lightning(Training(), trainer, loader, loader)
    strategy.DARTS(gradient_clip_val=5.0)(RawFormatModelSpace(space, evaluator), SequentialExecutionEngine())


def work_with_onepath(options: argparse.Namespace) -> None:
    """In a worker: run steps of a search of first or second order."""
    import torch

    import onepath as op
    from onepath.methods import darts_recipe
    from onepath.nn.relaxations import SoftmaxRelaxation
    from onepath.train import ArchitectureRecipe, ArchitectureTraining
    from onepath.train.loop import train_differentiable

    torch.set_num_threads(options.threads)
    rng = torch.Generator().manual_seed(0)
    shape = (20 * options.batch_size, INPUT_SIZE, INPUT_SIZE, 3)
    images = torch.randint(0, 256, shape, generator=rng, dtype=torch.uint8)
    labels = torch.arange(len(images)) % NUM_CLASSES
    data = op.load_data((images.numpy(), labels.numpy()), validation_fraction=0.4)
    supernet = op.spaces.build("darts", NUM_CLASSES, INPUT_SIZE, channels=CHANNELS, cells=CELLS)
    architecture = ArchitectureTraining(
        supernet, SoftmaxRelaxation(supernet), ArchitectureRecipe(order=options.worker), seed=0
    )
    clocked = Clocked(CLOCKS[options.clock], {"torch": importlib.metadata.version("torch")})

    def between(*_: Any) -> None:
        clocked.end()
        clocked.start()

    recipe = darts_recipe(MOST_STEPS, options.batch_size)
    clocked.start()
    train_differentiable(supernet, data, architecture, recipe=recipe, on_update=between)


def main(options: argparse.Namespace) -> None:
    """Start the sides, let them take turns, and print their seconds and memory."""
    pythons = dict.fromkeys(options.sides, options.onepath_python)
    if "nni" in pythons:
        pythons["nni"] = options.python or environment_python(options.environment, options.torch)
    settings = [
        f"--{name.replace('_', '-')}={getattr(options, name)}" for name in ("batch_size", "threads", "clock")
    ]
    workers: dict[str, Worker] = {}
    for side, python in pythons.items():
        workers[side] = Worker(python, __file__, [f"--worker={side}", *settings], options.threads)
        print(f"{side:8} {workers[side].versions}")
        for _ in range(options.warmup):
            workers[side].ask(steps=1)
    rounds: list[dict[str, float]] = []
    peaks: dict[str, tuple[float, float]] = {}
    print("\nseconds a step\nround " + "".join(f"{side:>10}" for side in workers))
    for index in range(options.rounds):
        rounds.append({})
        for side, worker in workers.items():
            reply = worker.ask(steps=options.steps)
            rounds[-1][side] = statistics.mean(reply["seconds"])
            peaks[side] = reply["peak_mb"], reply["before_mb"]
        print(f"{index + 1:5} " + "".join(f"{seconds:10.3f}" for seconds in rounds[-1].values()))
    for worker in workers.values():
        worker.close()
    summary: dict[str, Any] = {"batch_size": options.batch_size, "threads": options.threads}
    summary |= {"clock": options.clock, "steps": options.steps}
    print(f"\n{'':8}{'s a step':>10}{'peak, MB':>10}{'before':>8}{'time':>8}{'memory':>8} of NNI's")
    for side, (peak, before) in peaks.items():
        row = {"seconds": statistics.median(r[side] for r in rounds), "peak_mb": peak, "before_mb": before}
        print(f"{side:8}{row['seconds']:10.3f}{peak:10.0f}{before:8.0f}", end="")
        if "nni" in peaks:
            row["time_ratio"] = statistics.median(r[side] / r["nni"] for r in rounds)
            row["memory_ratio"] = peak / peaks["nni"][0]
            print(f"{row['time_ratio']:8.3f}{row['memory_ratio']:8.3f}", end="")
        print()
        summary[side] = row
    if "nni" in peaks and "first" in peaks:
        first = summary["first"]
        summary["met"] = (
            first["time_ratio"] <= LARGEST_TIME_RATIO and first["memory_ratio"] <= LARGEST_MEMORY_RATIO
        )
        print(
            f"aim of the first order: time <= {LARGEST_TIME_RATIO}, memory <= {LARGEST_MEMORY_RATIO}: "
            f"{'met' if summary['met'] else 'NOT met'}"
        )
    print(json.dumps(summary))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    add_process_options(parser.add_argument)
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=SIDES)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=1, help="steps of each side in a round")
    parser.add_argument("--warmup", type=int, default=1, help="steps of each side before the first round")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--worker", choices=SIDES, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    OPTIONS = parse()
    if OPTIONS.worker is None:
        main(OPTIONS)
    else:
        start_answering()
        with contextlib.suppress(KeyboardInterrupt):
            (work_with_nni if OPTIONS.worker == "nni" else work_with_onepath)(OPTIONS)
