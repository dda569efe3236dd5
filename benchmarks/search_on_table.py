"""Search algorithms on the NAS-Bench-201 table, against the closed form of random search.

The space has 6 choices of 5 operations, 15,625 architectures, no two of them equal as strings; 6,466 of them differ as
graphs. Isomorphic strings were trained separately and differ by training noise (0.44 points on average), so that the
best of many is partly luck: `--isomorphic mean` gives every string the mean of its graph. All five operations on all
edges are searched, also the 341 cells without a path from input to output; they have an accuracy of 10.

The budget counts distinct strings. For random search without repetition, the expected value of the best of n is
`sum over i of x_(i) * C(i - 1, n - 1) / C(N, n)`, where x_(i) is the i-th smallest of N accuracies. If the searched
column is not the reported one, x_(i) is the reported value of the architecture that is i-th in the searched column.

The front of accuracy against parameters is measured by its hypervolume as a share of the true front's, with 10 %
accuracy and the most parameters as the reference point.

Run: `python benchmarks/search_on_table.py PATH/nasbench201_cifar10.parquet [--seeds 50] [--json FILE]`
One core: 20 seconds without the controller, whose 50 searches take minutes.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import gammaln

from onepath.search import (
    NSGA2,
    Algorithm,
    Evolution,
    FeasibleSet,
    Proposal,
    RandomSearch,
    RegularizedEvolution,
    Reinforce,
    hypervolume,
    run_search,
)
from onepath.space import Choice, SearchSpace

OPERATIONS = ["none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3"]
EDGES = [(source, target) for target in (1, 2, 3) for source in range(target)]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Table:
    """Columns of the table in the order in which the space lists its architectures, all of shape (15625,)."""

    space: SearchSpace
    searched: Floats
    reported: Floats
    params: Floats

    def rows(self, matrix: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
        """Return the index in the columns of each architecture, (N,)."""
        return matrix.astype(np.int64) @ 5 ** np.arange(5, -1, -1)


def read_table(path: Path, searched: str, reported: str, isomorphic: str) -> Table:
    import pyarrow.parquet as pq

    columns = pq.read_table(path, columns=list({"architecture", "canonical", "params", searched, reported}))
    space = SearchSpace([Choice(f"edges.{source}-{target}", OPERATIONS) for source, target in EDGES])
    operations = [re.findall(r"([a-z0-9_]+)~\d", text) for text in columns["architecture"].to_pylist()]
    indices = np.array([[OPERATIONS.index(name) for name in names] for names in operations])
    order = np.lexsort(indices.T[::-1])
    assert (indices[order] == space.enumerate_matrix()).all(), "the table must hold every cell once"

    def column(name: str) -> Floats:
        values = columns[name].to_numpy().astype(np.float64)
        if isomorphic == "mean":
            _, graphs = np.unique(columns["canonical"].to_pylist(), return_inverse=True)
            values = (np.bincount(graphs, values) / np.bincount(graphs))[graphs]
        return values[order]

    return Table(space, column(searched), column(reported), column("params"))


def expected_best(table: Table, num: int) -> float:
    """Return the expected best of random search by the closed form of the module's docstring."""
    values = table.reported[np.lexsort((table.reported, table.searched))]
    total, place = len(values), np.arange(num, len(values) + 1)

    def log_binomial(n: Any, k: Any) -> Any:
        return gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)

    weights = np.exp(log_binomial(place - 1, num - 1) - log_binomial(total, num))
    return float(weights @ values[num - 1 :])


def evaluated(table: Table, algorithm: Algorithm) -> npt.NDArray[np.int64]:
    """Return the rows that a search evaluates, in its order."""
    found: list[int] = []

    def evaluate(proposal: Proposal) -> float:
        found.append(int(table.rows(table.space.matrix([proposal.architecture]))[0]))
        return float(table.searched[found[-1]]) / 100

    run_search(algorithm, FeasibleSet(table.space), evaluate)
    return np.array(found, dtype=np.int64)


Make = Callable[[Table, int, int], Algorithm]


def population(num: int) -> int:
    return min(50, num // 10)


ALGORITHMS: dict[str, Make] = {
    "random search": lambda table, seed, num: RandomSearch(table.space, seed, num, batch=50),
    "evolution": lambda table, seed, num: Evolution(
        table.space, seed, population(num), num // population(num) - 1
    ),
    "regularized evolution": lambda table, seed, num: RegularizedEvolution(
        table.space, seed, num, population=min(100, num // 10)
    ),
    "NSGA-II": lambda table, seed, num: NSGA2(table.space, seed, population(num), num // population(num) - 1),
    "reinforce": lambda table, seed, num: Reinforce(table.space, seed, num),
}
FRONT_ALGORITHMS: dict[str, Make] = {
    "random search": ALGORITHMS["random search"],
    "NSGA-II": lambda table, seed, num: NSGA2(
        table.space,
        seed,
        population(num),
        num // population(num) - 1,
        costs=[lambda matrix: table.params[table.rows(matrix)]],
    ),
}


def summary(values: list[float]) -> dict[str, float]:
    return {
        "mean": float(np.mean(values)),
        "standard_error": float(np.std(values, ddof=1) / np.sqrt(len(values))),
        "least": min(values),
        "largest": max(values),
    }


def best_values(table: Table, make: Make, num: int, seeds: int) -> dict[str, float]:
    """Return statistics over seeds of the reported value of the architecture that is best in the searched column."""
    best = []
    for seed in range(seeds):
        rows = evaluated(table, make(table, seed, num))
        assert len(rows) == len(set(rows.tolist())) <= num
        best.append(float(table.reported[rows[table.searched[rows].argmax()]]))
    return summary(best)


def front_shares(table: Table, make: Make, num: int, seeds: int) -> dict[str, float]:
    points = np.column_stack([table.searched, -table.params])
    reference = np.array([10.0, points[:, 1].min()])
    true = hypervolume(points, reference)
    shares = [
        hypervolume(points[evaluated(table, make(table, seed, num))], reference) / true
        for seed in range(seeds)
    ]
    return summary(shares)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("path", type=Path, help="path of nasbench201_cifar10.parquet")
    parser.add_argument("--budgets", type=int, nargs="+", default=[100, 1000])
    parser.add_argument("--seeds", type=int, default=50)
    parser.add_argument("--algorithms", nargs="+", choices=list(ALGORITHMS), default=list(ALGORITHMS))
    parser.add_argument(
        "--searched", default="test_accuracy", help="column of the values that the algorithms see"
    )
    parser.add_argument(
        "--reported", default="test_accuracy", help="column of the value that is reported of a winner"
    )
    parser.add_argument("--isomorphic", choices=["separate", "mean"], default="separate")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args()
    table = read_table(options.path, options.searched, options.reported, options.isomorphic)
    result: dict[str, Any] = {
        "searched": options.searched,
        "reported": options.reported,
        "isomorphic": options.isomorphic,
        "seeds": options.seeds,
        "num_architectures": len(table.searched),
        "num_disconnected": int((table.reported <= 10.0).sum()),
        "best": float(table.reported.max()),
        "budgets": {},
    }
    for num in options.budgets:
        expected = expected_best(table, num)
        print(f"{num} evaluations, {options.seeds} seeds; random search is expected at {expected:.3f}")
        found = {
            name: best_values(table, make, num, options.seeds)
            for name, make in ALGORITHMS.items()
            if name in options.algorithms
        }
        for name, value in found.items():
            print(
                f"  {name:<22} best {value['mean']:.3f} +- {value['standard_error']:.3f}"
                f" ({value['least']:.2f} to {value['largest']:.2f}), {value['mean'] - expected:+.3f}",
                flush=True,
            )
        fronts = {
            name: front_shares(table, make, num, options.seeds)
            for name, make in FRONT_ALGORITHMS.items()
            if name in options.algorithms
        }
        for name, value in fronts.items():
            print(
                f"  {name:<22} hypervolume {value['mean']:.4f} +- {value['standard_error']:.4f} of the true"
            )
        result["budgets"][str(num)] = {"expected_random": expected, "best": found, "front": fronts}
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
