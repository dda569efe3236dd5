"""One training step of SPOS's supernet, here and in NNI 3.0, side by side.

    python benchmarks/nni_supernet_step.py --environment FOLDER

NNI lives in a virtual environment of its own, which is made in FOLDER on first use (1.5 GB) or named by `--python`;
it is no dependency of onepath. Two processes, one with NNI's `RandomOneShot` on its `ShuffleNetSpace(num_labels=10)`
and one with onepath's `shufflenet`, make their steps in turn: a few in NNI, then the same paths in onepath, while
the other process waits. The networks are the same: width 1, the paper's strides, learned scale and shift of
normalisation (NNI's default; onepath's space goes without them in the supernet). The first path must cost the same
MACs in both. Batch size, loss, optimizer settings and number of threads are the same, too.

A step is all that happens for a batch in memory: sampling the path, forward, backward, optimizer. NNI's step is
timed between Lightning's first and last callback for a batch, with logger, checkpoints and progress bar off.
Prints the ratio of each pair of blocks, their median, and one line of JSON.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import statistics
from typing import Any

from worker_processes import CLOCKS, Worker, add_process_options, answer, environment_python, start_answering

LARGEST_RATIO = 0.72
NUM_CLASSES = 10
SETTINGS = {"lr": 1e-3, "momentum": 0.9, "weight_decay": 4e-5}
LABEL_SMOOTHING = 0.1
CANDIDATES = ("k3", "k5", "k7", "xcep")


def work_with_nni(options: argparse.Namespace) -> None:
    """In a worker: make the requested number of steps and reply with seconds, paths and MACs."""
    import pytorch_lightning as lightning
    import torch
    from nni.nas.evaluator.pytorch import DataLoader, Lightning, LightningModule, Trainer
    from nni.nas.execution import SequentialExecutionEngine
    from nni.nas.hub.pytorch import ShuffleNetSpace
    from nni.nas.space import RawFormatModelSpace
    from nni.nas.strategy import RandomOneShot
    from torch import nn

    torch.set_num_threads(options.threads)
    clock = CLOCKS[options.clock]

    class Training(LightningModule):  # type: ignore[misc]
        def training_step(self, batch: Any, _: int) -> Any:
            inputs, targets = batch
            return nn.functional.cross_entropy(self.model(inputs), targets, label_smoothing=LABEL_SMOOTHING)

        def validation_step(self, *_: Any) -> None: ...

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), **SETTINGS)

    class Steps(lightning.Callback):  # type: ignore[misc]
        def __init__(self) -> None:
            self.num_asked = 0
            self.seconds: list[float] = []
            self.paths: list[list[int]] = []
            self.macs = 0
            self.counters: list[Any] = []

        def on_train_batch_start(self, _: Any, module: Any, *__: Any) -> None:
            if len(self.seconds) == self.num_asked:
                versions = {name: importlib.metadata.version(name) for name in ("torch", "nni")}
                request = answer(
                    {"seconds": self.seconds, "paths": self.paths, "macs": self.macs, "versions": versions}
                )
                self.num_asked, self.seconds, self.paths = request["steps"], [], []
                if request["count"]:
                    self.macs = 0
                    self.counters = [
                        m.register_forward_hook(self.count)
                        for m in module.modules()
                        if isinstance(m, nn.Conv2d | nn.Linear)
                    ]
            self.started = clock()

        def on_train_batch_end(self, _: Any, module: Any, *__: Any) -> None:
            self.seconds.append(clock() - self.started)
            self.paths.append([CANDIDATES.index(block._sampled) for block in module.model.features])
            while self.counters:
                self.counters.pop().remove()

        def count(self, layer: Any, _: Any, output: Any) -> None:
            self.macs += output[0].numel() * layer.weight[0].numel()

    shape = (options.batch_size, 3, options.input_size, options.input_size)
    batch = (torch.randn(shape), torch.arange(options.batch_size) % NUM_CLASSES)
    loader = DataLoader([batch] * 1000, batch_size=None)
    trainer = Trainer(
        accelerator="cpu",
        devices=1,
        max_epochs=-1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        limit_val_batches=0,
        callbacks=[Steps()],
    )
    space = ShuffleNetSpace(num_labels=NUM_CLASSES)
    evaluator = Lightning(Training(), trainer, loader, loader)
    RandomOneShot()(RawFormatModelSpace(space, evaluator), SequentialExecutionEngine())


def work_with_onepath(options: argparse.Namespace) -> None:
    """In a worker: make one step along each of the requested paths and reply with seconds and MACs."""
    import torch
    from supernet_step import Steps, random_task
    from torch import nn

    from onepath import cost, spaces
    from onepath.nn import ElasticBatchNorm2d
    from onepath.randomness import generator
    from onepath.train import Recipe, UniformSampler

    torch.set_num_threads(options.threads)
    clock = CLOCKS[options.clock]
    supernet = spaces.build("shufflenet", NUM_CLASSES, input_size=224)  # all five strides
    for module in supernet.modules():
        if isinstance(module, ElasticBatchNorm2d):
            module.affine = True
            module.weight = nn.Parameter(torch.ones(module.num_features))
            module.bias = nn.Parameter(torch.zeros(module.num_features))
    recipe = Recipe(
        epochs=1,
        batch_size=options.batch_size,
        learning_rate=SETTINGS["lr"],
        momentum=SETTINGS["momentum"],
        weight_decay=SETTINGS["weight_decay"],
        label_smoothing=LABEL_SMOOTHING,
    )
    task = random_task(options.batch_size, options.input_size)
    batch = next(iter(task.train_batches(options.batch_size, seed=0, num_updates=1)))
    steps = Steps(supernet, task, recipe, batch)
    sampler = UniformSampler(supernet.space)
    versions = {"torch": importlib.metadata.version("torch")}
    reply: dict[str, Any] = {}
    while request := answer({**reply, "versions": versions}):
        paths = [supernet.space.parse(",".join(map(str, path))) for path in request["paths"]]
        seconds = []
        for update, path in enumerate(paths):
            started = clock()
            sampler.paths(update, generator(0, "paths", update))  # for its time; NNI chose the path
            steps.step(path)
            seconds.append(clock() - started)
        macs = cost.macs(supernet, paths[0], (3, options.input_size, options.input_size))
        reply = {"seconds": seconds, "macs": macs}


def main(options: argparse.Namespace) -> None:
    python = options.python or environment_python(options.environment, options.torch)
    arguments = [
        f"--{name.replace('_', '-')}={getattr(options, name)}"
        for name in ("batch_size", "input_size", "threads", "clock")
    ]
    workers = (
        Worker(python, __file__, ["--worker=nni", *arguments], options.threads),
        Worker(options.onepath_python, __file__, ["--worker=onepath", *arguments], options.threads),
    )
    nni, onepath = workers
    pairs = []
    print(f"versions: {nni.versions} against {onepath.versions}")
    print(f"{'pair':>4}{'NNI, s':>10}{'onepath, s':>12}{'ratio':>8}{'M MACs':>10}{'':>10}")
    for index in range(options.pairs + 1):  # the first warms up and checks the networks
        theirs = nni.ask(steps=1 if index == 0 else options.steps, count=index == 0)
        ours = onepath.ask(paths=theirs["paths"])
        if index == 0:
            macs = theirs["macs"], ours["macs"]
            if macs[0] != macs[1]:
                raise SystemExit(f"the networks differ: {macs[0]} MACs in NNI, {macs[1]} in onepath")
            print(f"   0{'warm-up':>30}{macs[0] / 1e6:10.3f}{macs[1] / 1e6:10.3f}")
            for _ in range(options.warmup):
                onepath.ask(paths=nni.ask(steps=options.steps, count=False)["paths"])
            continue
        pair = statistics.mean(theirs["seconds"]), statistics.mean(ours["seconds"])
        pairs.append(pair)
        print(f"{index:4}{pair[0]:10.4f}{pair[1]:12.4f}{pair[1] / pair[0]:8.3f}")
    for worker in workers:
        worker.close()
    ratio = statistics.median(b / a for a, b in pairs)
    met = ratio <= LARGEST_RATIO
    print(f"median ratio {ratio:.3f}; required: <= {LARGEST_RATIO}: {'met' if met else 'NOT met'}")
    summary = {
        "nni_seconds": statistics.median(a for a, _ in pairs),
        "onepath_seconds": statistics.median(b for _, b in pairs),
        "ratio": ratio,
        "ratios": [b / a for a, b in pairs],
        "macs": macs,
        "met": met,
        "versions": {"nni": nni.versions, "onepath": onepath.versions},
        **{
            name: getattr(options, name) for name in ("batch_size", "input_size", "threads", "clock", "steps")
        },
    }
    print(json.dumps(summary))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    add_process_options(parser.add_argument)
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--steps", type=int, default=4, help="number of steps in each block")
    parser.add_argument(
        "--warmup", type=int, default=2, help="number of pairs of blocks that are not counted, at the start"
    )
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--input-size", type=int, default=64)
    parser.add_argument("--worker", choices=("nni", "onepath"), help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    OPTIONS = parse()
    if OPTIONS.worker is None:
        main(OPTIONS)
    else:
        start_answering()
        (work_with_nni if OPTIONS.worker == "nni" else work_with_onepath)(OPTIONS)
