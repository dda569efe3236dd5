"""Time to predict latencies from a layer-wise table, and to draw architectures under a limit in milliseconds.

The table has the structure of `shufflenet` (20 blocks of 4 candidates) or of `shufflenet-channels` (20 blocks of 4
candidates and 8 widths). Its entries are drawn at random, unless `--table` names a profiled table of `shufflenet`.
Times are processor times of one core, the best of several repeats.
Run: `python benchmarks/latency_prediction.py [--table FILE]`
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable

import numpy as np

from onepath import spaces
from onepath.latency import LatencyTable
from onepath.latency.keys import structure_digest
from onepath.latency.splitting import find_layout
from onepath.latency.table import Calibration, Entry
from onepath.nn import Supernet

NUM_ROWS = 100_000
SIZE = 32


def seconds(work: Callable[[], object], repeats: int = 7) -> float:
    best = float("inf")
    for _ in range(repeats):
        start = time.process_time()
        work()
        best = min(best, time.process_time() - start)
    return best


def drawn_table(name: str, supernet: Supernet) -> LatencyTable:
    """Return a table of the space's structure with random entries."""
    layout, rng = find_layout(supernet, (3, SIZE, SIZE)), np.random.default_rng(0)
    return LatencyTable(
        entries={key: Entry(float(rng.uniform(0.05, 0.3)), 0.0, 1) for key in layout.shown},
        constant=layout.constant,
        terms=layout.terms,
        calibration=Calibration(1.1, 0.2),
        space={
            "name": name,
            "arguments": {},
            "fingerprint": supernet.space.fingerprint,
            "network": structure_digest(supernet.module),
        },
        device={"name": "drawn"},
        input_shape=(3, SIZE, SIZE),
    )


def report(name: str, path: str | None) -> dict[str, float]:
    """Measure one table, and return microseconds per architecture."""
    supernet = spaces.build(name, 10, input_size=SIZE)
    space = supernet.space
    table = LatencyTable.load(path) if path else drawn_table(name, supernet)
    rows = space.sample(NUM_ROWS, np.random.default_rng(0))
    costs = table.cost_table(space)
    median = space.window_sampler(costs).quantile(0.5)
    micro = 1e6 / NUM_ROWS
    return {
        "predict_us": micro * seconds(lambda: table.predict(space, rows)),
        "sample_within_us": 10
        * micro
        * seconds(
            lambda: space.sample_within(costs, None, median, NUM_ROWS // 10, np.random.default_rng(0)), 3
        ),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--table", help="a table of shufflenet that `onepath profile` wrote")
    path = parser.parse_args().table
    found = {
        name: report(name, path if name == "shufflenet" else None)
        for name in ("shufflenet", "shufflenet-channels")
    }
    print(f"{'microseconds an architecture':<30}{'predicted':>12}{'drawn under the median ms':>28}")
    for name, row in found.items():
        print(f"{name:<30}{row['predict_us']:12.3f}{row['sample_within_us']:28.3f}")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
