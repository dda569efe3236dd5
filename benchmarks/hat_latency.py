"""HAT's measured latencies: test error of its perceptron, a ridge regression and boosted trees.

The figures to compare with are those of HAT's released recipe and of a plain linear regression, on the split that
shuffling the rows with Python's generator at seed 0 gives. `--splits K` adds the mean over K other splits.

Run: `python benchmarks/hat_latency.py PATH/hat_latency.parquet [--device cpu_xeon] [--splits 5] [--reports DIR]`
One core: about a minute for each device, and as much for each further split.
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path
from typing import Any

import numpy as np

from onepath.latency.predictor import (
    HAT_LATENCY_NORMS_MS,
    LatencyPairs,
    NetworkPredictor,
    Split,
    fit_predictor,
    read_pairs,
    write_report,
)

TASK = "wmt14ende"
PUBLISHED_MS = {
    "gpu_titanxp": {"mlp": 16.7, "linear": 16.1},
    "cpu_xeon": {"mlp": 16.8, "linear": 17.1},
    "cpu_raspberrypi": {"mlp": 505.0, "linear": 510.0},
}


def published_split(num: int) -> Split:
    order = list(range(num))
    random.Random(0).shuffle(order)
    return Split.of_order(order)


def fitted(pairs: LatencyPairs, device: str, split: Split | None, seed: int) -> NetworkPredictor:
    return fit_predictor(pairs, split=split, seed=seed, latency_norm_ms=HAT_LATENCY_NORMS_MS[device])


def rmse_ms(predictor: NetworkPredictor, part: str = "test") -> dict[str, float]:
    return {name: model[part]["rmse_ms"] for name, model in predictor.comparison["models"].items()}


def line(name: str, figures: dict[str, float], note: str = "") -> str:
    return (
        f"  {name:<34}" + "".join(f"{figures[key]:10.2f}" for key in ("mlp", "ridge", "trees")) + f"  {note}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("path", type=Path, help="hat_latency.parquet")
    parser.add_argument("--device", choices=list(PUBLISHED_MS), action="append", help="default: all three")
    parser.add_argument("--splits", type=int, default=0, help="further random splits")
    parser.add_argument("--reports", type=Path, help="directory for the reports and diagrams")
    options = parser.parse_args()
    result: dict[str, Any] = {}
    for device in options.device or PUBLISHED_MS:
        pairs = read_pairs(options.path, where={"task": TASK, "device": device})
        predictor = fitted(pairs, device, published_split(len(pairs)), 0)
        test, published = rmse_ms(predictor), PUBLISHED_MS[device]
        print(f"{device}: root mean square error, ms     mlp     ridge     trees")
        print(line("validation", rmse_ms(predictor, "validation"), f"{predictor.winner} wins"), flush=True)
        print(
            line("test", test, f"published: mlp {published['mlp']}, linear {published['linear']}"), flush=True
        )
        result[device] = {
            "test_rmse_ms": test,
            "test_mape_percent": {
                name: model["test"]["mape_percent"] for name, model in predictor.comparison["models"].items()
            },
            "winner": predictor.winner,
            "error_ms_95": predictor.error_ms_95,
            "mlp_over_published": test["mlp"] / published["mlp"],
            "ridge_over_published": test["ridge"] / published["linear"],
            "best_over_best_published": min(test.values()) / min(published.values()),
            "winner_over_best_published": test[predictor.winner] / min(published.values()),
        }
        if options.reports is not None:
            options.reports.mkdir(parents=True, exist_ok=True)
            write_report(predictor.comparison, options.reports / f"{device}.report.json")
        others = [rmse_ms(fitted(pairs, device, None, seed)) for seed in range(1, options.splits + 1)]
        if others:
            mean = {name: float(np.mean([other[name] for other in others])) for name in test}
            print(line(f"test, mean of {len(others)} other splits", mean), flush=True)
            result[device]["other_splits_test_rmse_ms"] = mean
    print(json.dumps(result))


if __name__ == "__main__":
    main()
