"""Speed of drawing architectures: freely, by mutation and crossover, and inside a cost window.

Prints a table and one line of JSON. Times are processor times of one process, the best of several repeats.
Run: `python benchmarks/sampling_throughput.py [--quick]`
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from onepath.counting import CostTable, CostTerm, WindowSampler
from onepath.space import Choice, SearchSpace

NUM_ROWS = 100_000


def seconds(work: Callable[[], object], repeats: int) -> float:
    best = float("inf")
    for _ in range(repeats):
        start = time.process_time()
        work()
        best = min(best, time.process_time() - start)
    return best


def blocks_space() -> SearchSpace:
    return SearchSpace([Choice(f"blocks.{index}", ["3x3", "5x5", "7x7", "xception"]) for index in range(20)])


def blocks_table(largest: int) -> CostTable:
    rng = np.random.default_rng(0)
    return CostTable(
        0, [CostTerm((f"blocks.{index}",), rng.integers(0, largest, 4)) for index in range(20)], "MACs"
    )


def pairs_space() -> SearchSpace:
    choices = []
    for index in range(20):
        choices += [Choice(f"blocks.{index}", list("abcd")), Choice(f"scales.{index}", list(range(1, 9)))]
    return SearchSpace(choices)


def pairs_table() -> CostTable:
    rng = np.random.default_rng(0)
    terms = []
    for index in range(20):
        costs = rng.integers(10**6, 10**8) * rng.uniform(0.5, 1.5, (4, 1)) * np.arange(1, 9)
        costs *= rng.uniform(0.95, 1.05, (4, 8))
        terms.append(CostTerm((f"blocks.{index}", f"scales.{index}"), costs.astype(np.int64)))
    return CostTable(0, terms, "MACs")


def window(space: SearchSpace, table: CostTable, share: float) -> tuple[int, int]:
    """Return the bounds of a window around the median cost that holds about this share of the space."""
    costs = table.costs(space, space.sample(NUM_ROWS, np.random.default_rng(0)))
    part = max(share, 0.01)
    low, high = np.quantile(costs, [0.5 - part / 2, 0.5 + part / 2])
    middle, half = (low + high) / 2, (high - low) / 2 * share / part
    return int(np.floor(middle - half)), int(np.ceil(middle + half))


def free_draws(repeats: int) -> dict[str, float]:
    """Return architectures per second on 20 choices x 4 options."""
    space, rng = blocks_space(), np.random.default_rng(0)
    first, second = space.sample(NUM_ROWS, rng), space.sample(NUM_ROWS, rng)
    works: dict[str, Callable[[], object]] = {
        "sample": lambda: space.sample(NUM_ROWS, rng),
        "mutate": lambda: space.mutate(first, 0.1, rng),
        "crossover": lambda: space.crossover(first, second, rng),
    }
    return {name: NUM_ROWS / seconds(work, repeats) for name, work in works.items()}


def window_draws(space: SearchSpace, table: CostTable, num: int, repeats: int) -> dict[str, Any]:
    """Return seconds of preparation, draws per second, and milliseconds of a single draw, by window.

    The windows are a narrow and a wide one around the median cost.
    """
    rng = np.random.default_rng(0)
    result: dict[str, Any] = {"prepare_s": seconds(lambda: WindowSampler(space, table), 1)}
    sampler = WindowSampler(space, table)
    result["method"] = sampler.method
    for name, share in (("narrow", 1e-6), ("wide", 0.5)):
        edges = window(space, table, share)

        def first_draw(edges: tuple[int, int] = edges) -> object:
            return sampler.sample(*edges, 1, rng)

        def many(edges: tuple[int, int] = edges) -> object:
            return sampler.sample(*edges, num, rng)

        def from_nothing(edges: tuple[int, int] = edges) -> object:
            return WindowSampler(space, table).acceptance(*edges)

        result[name] = {
            "share": sampler.count(*edges) / sampler.num_total,
            "acceptance": sampler.acceptance(*edges),
            "window_s": seconds(from_nothing, 1),
            "draws_per_s": num / seconds(many, repeats),
            "single_ms": 1000 * min(seconds(first_draw, 50), 1.0),
        }
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="take fewer repeats of each measurement")
    repeats = 3 if parser.parse_args().quick else 15
    free = free_draws(repeats)
    print("20 choices x 4 options         million architectures/s")
    for name, rate in free.items():
        print(f"  {name:<28} {rate / 1e6:8.2f}")
    cases = {
        "20x4, few distinct sums": (blocks_space(), blocks_table(100)),
        "20x4, arbitrary sums": (blocks_space(), blocks_table(10**8)),
        "20x(4x8), arbitrary sums": (pairs_space(), pairs_table()),
    }
    windows = {}
    print(
        f"{'cost windows':<27}{'method':<9}{'share':>9}{'accepted':>10}{'from 0, s':>11}{'draws/s':>10}{'one, ms':>9}"
    )
    for name, (space, table) in cases.items():
        windows[name] = window_draws(space, table, 10_000, repeats)
        for part in ("narrow", "wide"):
            row = windows[name][part]
            print(
                f"  {name:<25}{windows[name]['method']:<9}{row['share']:9.1e}{row['acceptance']:10.3f}"
                f"{row['window_s']:11.3f}{row['draws_per_s']:10.0f}{row['single_ms']:9.3f}"
            )
        narrow, wide = windows[name]["narrow"], windows[name]["wide"]
        whole = {
            key: part["window_s"] + 10_000 / part["draws_per_s"]
            for key, part in (("narrow", narrow), ("wide", wide))
        }
        windows[name]["narrow_over_wide"] = {
            "draws": wide["draws_per_s"] / narrow["draws_per_s"],
            "with_preparation": whole["narrow"] / whole["wide"],
        }
        ratios = windows[name]["narrow_over_wide"]
        print(
            f"    narrow costs {ratios['draws']:.2f} times wide; {ratios['with_preparation']:.2f} with all preparation"
        )
    print(json.dumps({"architectures_per_s": free, "windows": windows}))


if __name__ == "__main__":
    main()
