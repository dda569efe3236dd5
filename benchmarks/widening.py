"""Does opening sizes from the largest down train a supernet of channel numbers better than drawing all at once?

Trains `shufflenet-channels` on digits with either sampler, the same seed and the same number of updates, and scores the
same random architectures with inherited weights and recalibrated normalisation. Prints a table and JSON.
"""

from __future__ import annotations

import argparse
import dataclasses
import json

import numpy as np

import onepath as op
from onepath.estimate import SupernetEstimator


def accuracies(name: str, epochs: int, num: int, seed: int, one_path: float | None) -> list[float]:
    """Return the inherited validation accuracies of `num` random architectures after a training with one sampler."""
    task = op.load_data("digits")
    supernet = op.spaces.build("shufflenet-channels", 10, input_size=8, in_channels=1, width=0.2, seed=seed)
    recipe = op.Recipe.supernet(task.num_examples("train"), epochs)
    if one_path is not None:
        recipe = dataclasses.replace(recipe, one_path=one_path)
    num_updates = epochs * task.updates_per_epoch(recipe.batch_size)
    samplers: dict[str, op.train.Sampler] = {
        "uniform": op.UniformSampler(supernet.space),
        "widening": op.WideningSampler(supernet.space, num_updates),
    }
    op.train_supernet(supernet, task, sampler=samplers[name], recipe=recipe, seed=seed)
    estimator = SupernetEstimator(supernet, task)
    architectures = supernet.space.architectures(supernet.space.sample(num, np.random.default_rng(seed)))
    return [estimator.estimate(architecture).accuracy for architecture in architectures]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samplers", nargs="+", default=["uniform", "widening"])
    parser.add_argument("--epochs", type=int, default=16)
    parser.add_argument("--num", type=int, default=24, help="number of architectures that are scored")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--one-path",
        type=float,
        help="share of the updates that train a single path first; default: the recipe's",
    )
    options = parser.parse_args()
    found = {}
    print(f"{'sampler':10} {'median':>8} {'lowest':>8} {'highest':>8}")
    for name in options.samplers:
        values = accuracies(name, options.epochs, options.num, options.seed, options.one_path)
        found[name] = values
        print(f"{name:10} {np.median(values):8.3f} {min(values):8.3f} {max(values):8.3f}", flush=True)
    print(json.dumps({"epochs": options.epochs, "seed": options.seed, "inherited_validation": found}))


if __name__ == "__main__":
    main()
