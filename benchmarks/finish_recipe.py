"""What finishes a network best? `python benchmarks/finish_recipe.py --data cifar10_train.parquet --max-macs 4000000`.

Random networks under a limit on multiply-accumulates are trained from scratch by recipes that differ from the default
in one thing, for equally many updates, and judged on the validation split; the test set is not read. Printed is each
recipe's mean accuracy, and its difference to the default on the same networks with a 95 % interval over them
(Student's t). Results are kept in `--out`, and the same command continues there.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import t as student
from torch import Tensor
from torchvision.transforms.v2 import CutMix, MixUp

import onepath as op
from onepath.data import Batch, ImageTask
from onepath.estimate import recalibrate_on_task
from onepath.runs.fitting import fitting_width
from onepath.train import WeightAverage, evaluate

Mix = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


class MixedTask(ImageTask):
    """A task whose training images and labels are mixed in pairs."""

    def __init__(self, task: ImageTask, mix: Mix) -> None:
        self.__dict__.update(task.__dict__)
        self._mix = mix

    def train_batches(self, batch_size: int, **options: Any) -> Iterator[Batch]:
        """The task's own batches, mixed; targets are probabilities (B, classes)."""
        for inputs, targets in super().train_batches(batch_size, **options):
            yield Batch(*self._mix(inputs, targets))

    def tally(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """A mixed image counts as one of its larger part's class."""
        return super().tally(outputs, targets.argmax(1) if targets.ndim == 2 else targets)


@dataclass(frozen=True)
class Arm:
    """What differs from the default.

    Args:
        recipe: fields of the recipe -> values.
        times: fields of the recipe -> factors on the default's value.
        mix: makes the mixture of a task's classes; None mixes nothing.
        average: share of the updates after which weights are averaged; None averages nothing.
    """

    recipe: dict[str, Any] = field(default_factory=dict)
    times: dict[str, float] = field(default_factory=dict)
    mix: Callable[[int], Mix] | None = None
    average: float | None = None


ARMS = {
    "default": Arm(),
    "cosine": Arm({"schedule": "cosine"}),
    "no label smoothing": Arm({"label_smoothing": 0.0}),
    "averaged over the last quarter": Arm(average=0.75),
    "averaged over the last tenth": Arm(average=0.9),
    "mixup": Arm(mix=lambda num_classes: MixUp(num_classes=num_classes, alpha=0.2)),
    "cutmix": Arm(mix=lambda num_classes: CutMix(num_classes=num_classes, alpha=1.0)),
    "AdamW": Arm({"optimizer": "adamw", "learning_rate": 3e-3, "weight_decay": 0.05}),
    "half the rate": Arm(times={"learning_rate": 0.5}),
    "twice the rate": Arm(times={"learning_rate": 2.0}),
    "a fifth of the decay": Arm(times={"weight_decay": 0.2}),
    "twice the batch": Arm(times={"batch_size": 2.0, "epochs": 2.0}),
}


def trained(task: ImageTask, network: Any, arm: Arm, epochs: float, seed: int) -> float:
    """Train a network, and return its validation accuracy."""
    recipe = replace(op.Recipe.for_task(task, retrain=True, epochs=epochs), **arm.recipe)
    changed = {name: type(getattr(recipe, name))(getattr(recipe, name) * f) for name, f in arm.times.items()}
    recipe = replace(recipe, **changed)
    learnt = task if arm.mix is None else MixedTask(task, arm.mix(task.num_classes))
    average = None if arm.average is None else WeightAverage(network, begin=arm.average)
    observe = None if average is None else average.observe
    op.train_model(network, learnt, recipe=recipe, seed=seed, on_update=observe)
    if average is not None:
        average.apply()
    recalibrate_on_task(network, task, 1000, seed=seed)
    return evaluate(network, task, "validation").metric


def networks(task: ImageTask, given: argparse.Namespace) -> list[Any]:
    """Random networks within the limit, in the space at the width that a run would take."""

    def build(width: float) -> op.Supernet:
        shape = task.input_shape
        return op.spaces.build(given.space, task.num_classes, shape[-1], in_channels=shape[0], width=width)

    supernet = build(fitting_width(build, task.input_shape, {"macs": given.max_macs}))
    space, rng, found = supernet.space, np.random.default_rng(given.seed), []
    while len(found) < given.num:
        (architecture,) = space.architectures(space.sample(1, rng))
        network = supernet.extract(architecture, inherit=False, seed=len(found))
        if op.cost.module_cost(network, task.input_shape).macs <= given.max_macs:
            found.append(network)
    return found


def row(name: str, values: list[float], beside: list[float]) -> str:
    """A line of the table."""
    differences = np.subtract(values, beside)
    text = f"| {name} | {np.mean(values):.4f} | {differences.mean():+.4f} "
    if len(values) < 2 or name == "default":
        return text + "| |"
    reach = student.ppf(0.975, len(values) - 1) * differences.std(ddof=1) / len(values) ** 0.5
    return text + f"| [{differences.mean() - reach:+.4f}, {differences.mean() + reach:+.4f}] |"


def main() -> None:
    """Train what is missing, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True)
    parser.add_argument("--input-size", type=int)
    parser.add_argument("--space", default="nasbench-macro")
    parser.add_argument("--max-macs", type=int, required=True)
    parser.add_argument("--epochs", type=float, default=12)
    parser.add_argument("--num", type=int, default=4, help="networks")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--arms", nargs="*", default=list(ARMS), choices=list(ARMS))
    parser.add_argument("--out", type=Path, default=Path("runs/finish-recipe.json"))
    given = parser.parse_args()
    task = op.load_data(given.data, input_size=given.input_size)
    setting = {k: v for k, v in vars(given).items() if k not in ("out", "arms", "num")}
    stored = (
        json.loads(given.out.read_text()) if given.out.is_file() else {"setting": setting, "accuracies": {}}
    )
    if stored["setting"] != setting:
        raise SystemExit(f"{given.out} holds results of {stored['setting']}; give another --out")
    known: dict[str, float] = stored["accuracies"]
    given.out.parent.mkdir(parents=True, exist_ok=True)
    for number, network in enumerate(networks(task, given)):
        start = {key: value.clone() for key, value in network.state_dict().items()}
        for name in ("default", *(arm for arm in given.arms if arm != "default")):
            if f"{name} {number}" not in known:
                network.load_state_dict(start)
                known[f"{name} {number}"] = trained(task, network, ARMS[name], given.epochs, number)
                given.out.write_text(json.dumps(stored, indent=1))
                print(f"{name}, network {number}: {known[f'{name} {number}']:.4f}", flush=True)
    values = {
        name: [known[f"{name} {number}"] for number in range(given.num)] for name in ("default", *given.arms)
    }
    print("| recipe | validation accuracy | minus the default | 95 % interval |\n|---|---|---|---|")
    for name, each in values.items():
        print(row(name, each, values["default"]))


if __name__ == "__main__":
    main()
