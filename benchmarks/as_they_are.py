"""Winners used as they are, beside the same networks trained alone: `python benchmarks/as_they_are.py --data FILE`.

Three supernets of one space are trained for an equal number of passes of a network over the data: on uniform paths
(`spos`), by the sandwich rule, and by progressive shrinking (`ofa`). Each is searched under five limits; its winners
are tested as they are, recalibrated. The networks of the smallest, the middle and the largest limit are then trained
alone, each for a fifth of the passes. Everything is kept in `--out`, and the same command continues there.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import onepath as op
from onepath.data import Task
from onepath.evidence import wilson
from onepath.train import evaluate

METHODS: dict[str, dict[str, Any]] = {
    "uniform": {"method": "spos", "sampler": "uniform"},
    "sandwich": {"method": "sandwich"},
    "shrinking": {"method": "ofa"},
}
_PATHS = {"uniform": 1, "sandwich": 4, "shrinking": 1}
"""Passes of an epoch; progressive shrinking counts its own."""


def searched(name: str, given: argparse.Namespace, limits: str) -> op.runs.result.Result:
    """The run of a method, finished or continued."""
    return op.run(
        given.data,
        test_data=given.test_data,
        space="ofa-mobilenetv3",
        width=given.width,
        finish="as-is",
        num_baselines=0,
        max_macs=limits,
        epochs=max(1, given.passes // _PATHS[name]),
        population=given.population,
        generations=given.generations,
        out=given.out / name,
        **METHODS[name],
    )


def limits_of(task: Task, width: float) -> str:
    """Five limits between the smallest and the largest network."""
    from onepath.conversion import reachable

    channels, size, _ = task.input_shape
    supernet = op.spaces.build("ofa-mobilenetv3", task.num_classes, size, in_channels=channels, width=width)
    low, high = reachable(supernet, task.input_shape)["macs"]
    return ",".join(str(int(low + share * (high - low))) for share in (0.05, 0.2, 0.4, 0.65, 1.0))


def alone(task: Task, supernet: op.Supernet, architecture: str, given: argparse.Namespace) -> float:
    """Test accuracy of a network that is trained by itself, kept once it is known."""
    file = given.out / f"alone-{given.passes // 5}-{architecture.replace(',', '')}.json"
    if file.is_file():
        return float(json.loads(file.read_text()))
    model = supernet.extract(supernet.space.parse(architecture), inherit=False, seed=0)
    recipe = dataclasses.replace(
        op.Recipe.for_task(task, retrain=True, epochs=max(1, given.passes // 5)), one_path=0.0
    )
    op.train_model(model, task, recipe=recipe, seed=0)
    found = evaluate(model, task, "test").metric
    file.write_text(json.dumps(found))
    return found


def main() -> None:
    """Print a row for each method and limit."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True)
    parser.add_argument("--test-data")
    parser.add_argument("--out", type=Path, default=Path("runs/as-they-are"))
    parser.add_argument("--passes", type=int, default=40)
    parser.add_argument("--width", type=float, default=0.5)
    parser.add_argument("--population", type=int, default=16)
    parser.add_argument("--generations", type=int, default=5)
    parser.add_argument("--methods", nargs="*", default=list(METHODS), choices=list(METHODS))
    given = parser.parse_args()
    task = op.load_data(given.data, test=given.test_data)
    limits, num = limits_of(task, given.width), task.num_examples("test")
    print("| method | limit | MACs | test accuracy as it is | trained alone | minutes of training |")
    print("|---|---|---|---|---|---|")
    for name in given.methods:
        result = searched(name, given, limits)
        supernet = result.supernet()
        for place, winner in enumerate(result.result["winners"]):
            tested, folder = winner["accuracy"]["retrained_test"], result.path / winner["path"]
            found = op.load_run(folder)
            by_itself = "-"
            if place in (0, 2, 4):
                score = alone(task, supernet, str(found.architecture), given)
                by_itself = f"{score:.3f} {_interval(score, num)}"
            minutes = result.result["seconds"]["train"] / 60
            print(
                f"| {name} | {winner['limits']['max_macs'] / 1e6:.2f} M | {winner['cost']['macs'] / 1e6:.2f} M | "
                f"{tested:.3f} {_interval(tested, num)} | {by_itself} | {minutes:.1f} |",
                flush=True,
            )


def _interval(share: float, num: int) -> str:
    low, high = wilson(share, num)
    return f"[{low:.3f}, {high:.3f}]" if math.isfinite(low) else ""


if __name__ == "__main__":
    main()
