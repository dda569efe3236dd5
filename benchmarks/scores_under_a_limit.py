"""How well scores without training, and means of them, rank networks that all meet a limit on multiply-accumulates.

    python benchmarks/scores_under_a_limit.py nasbench_macro_cifar10_half.parquet --data cifar10_train.parquet

The rows of NAS-Bench-Macro with at most the median number of multiply-accumulates are what a search under such a limit
may choose from. Random ones of them are scored on one batch of 64 training images, with fresh weights; means are taken
of values in standard deviations from the mean over the first 32, as `ScoreEstimator` takes them. Printed are Kendall's
tau-b with the table's test accuracy, and the accuracy of the networks with the best values.
"""

from __future__ import annotations

import argparse
from itertools import combinations

import numpy as np
import numpy.typing as npt
from pyarrow import parquet
from scipy.stats import kendalltau

import onepath as op
from onepath.estimate import scores

NAMES = ("nwot", "layers", "fisher", "grad_norm", "macs", "params", "zen", "synflow", "jacob_cov", "snip")
REFERENCE, BATCH = 32, 64

Values = npt.NDArray[np.float64]


def scored(architectures: list[str], data: str, width: float) -> dict[str, Values]:
    """The values of each score for each architecture."""
    supernet = op.spaces.build("nasbench-macro", 10, width=width)
    inputs, targets = next(op.load_data(data).batches("train", BATCH, num_examples=BATCH, seed=0))
    found = []
    for text in architectures:
        network = supernet.extract(supernet.space.parse(text), inherit=False, seed=0)
        found.append({name: score.value for name, score in scores(NAMES, network, inputs, targets).items()})
    return {name: np.array([values[name] for values in found]) for name in NAMES}


def line(name: str, values: Values, accuracies: Values) -> str:
    """A row of the table."""
    best = accuracies[np.argsort(-values, kind="stable")]
    means = " | ".join(f"{best[:num].mean():.2f}" for num in (1, 5, 20))
    return f"| {name} | {kendalltau(values, accuracies)[0]:.2f} | {means} |"


def main() -> None:
    """Score the networks, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("table")
    parser.add_argument("--data", required=True)
    parser.add_argument("--num", type=int, default=200)
    parser.add_argument("--width", type=float, default=0.35)
    given = parser.parse_args()
    table = parquet.read_table(given.table).to_pydict()
    macs = np.array(table["macs"], dtype=float)
    within = np.flatnonzero(macs <= np.median(macs))
    drawn = np.random.default_rng(1).choice(within, given.num, replace=False)
    accuracies = np.array(table["test_accuracy"], dtype=float)[drawn]
    values = scored([str(table["architecture"][row]) for row in drawn], given.data, given.width)
    placed = {
        name: (each - each[:REFERENCE].mean()) / each[:REFERENCE].std() for name, each in values.items()
    }
    print(
        f"{given.num} networks of at most the median MACs: mean {accuracies.mean():.2f}, best {accuracies.max():.2f}"
    )
    print("| score | tau-b | best one | best 5 | best 20 |\n|---|---|---|---|---|")
    for name in NAMES:
        print(line(name, values[name], accuracies))
    for pair in combinations(NAMES[:4], 2):
        print(line(" + ".join(pair), np.add(*(placed[name] for name in pair)), accuracies))


if __name__ == "__main__":
    main()
