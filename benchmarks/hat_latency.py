"""HAT's measured latencies: the test error of its perceptron, a ridge regression and boosted trees.

The errors are compared with those of HAT's released recipe and of a plain linear regression. All are on the split that
shuffling the rows with Python's generator at seed 0 gives. The spread of the plain linear regression over other random
splits shows how much 200 test rows can tell.

Run: `python benchmarks/hat_latency.py PATH/hat_latency.parquet [--device cpu_xeon] [--reports DIR]`
One core: about a minute for each device.
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
    Ridge,
    Split,
    fit_predictor,
    read_pairs,
    write_report,
)
from onepath.randomness import generator

TASK = "wmt14ende"
NUM_OTHER_SPLITS = 50
PUBLISHED_MS = {
    "gpu_titanxp": {"mlp": 16.7, "linear": 16.1},
    "cpu_xeon": {"mlp": 16.8, "linear": 17.1},
    "cpu_raspberrypi": {"mlp": 505.0, "linear": 510.0},
}


def published_split(num: int) -> Split:
    order = list(range(num))
    random.Random(0).shuffle(order)
    return Split.of_order(order)


def rmse_ms(predictor: NetworkPredictor, part: str = "test") -> dict[str, float]:
    return {name: model[part]["rmse_ms"] for name, model in predictor.comparison["models"].items()}


def linear_rmse_ms(pairs: LatencyPairs, split: Split) -> float:
    """Return the error of a linear regression on the ten features alone, in milliseconds."""
    model = Ridge.fit(pairs.inputs[split.train], pairs.latencies_ms[split.train])
    error = model.predict(pairs.inputs[split.test]) - pairs.latencies_ms[split.test]
    return float(np.sqrt(np.mean(error**2)))


def line(name: str, figures: dict[str, float], note: str = "") -> str:
    return (
        f"  {name:<34}" + "".join(f"{figures[key]:10.2f}" for key in ("mlp", "ridge", "trees")) + f"  {note}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("path", type=Path, help="path of hat_latency.parquet")
    parser.add_argument(
        "--device",
        choices=list(PUBLISHED_MS),
        action="append",
        help="device to predict, may be repeated; default: all three",
    )
    parser.add_argument("--reports", type=Path, help="directory for the reports and diagrams")
    options = parser.parse_args()
    result: dict[str, Any] = {}
    for device in options.device or PUBLISHED_MS:
        pairs = read_pairs(options.path, where={"task": TASK, "device": device})
        split, published = published_split(len(pairs)), PUBLISHED_MS[device]
        predictor = fit_predictor(pairs, split=split, latency_norm_ms=HAT_LATENCY_NORMS_MS[device])
        test, linear_ms = rmse_ms(predictor), linear_rmse_ms(pairs, split)
        print(f"{device}: root mean square error, ms     mlp     ridge     trees")
        print(line("validation", rmse_ms(predictor, "validation"), f"{predictor.winner} wins"), flush=True)
        print(
            line("test", test, f"published: mlp {published['mlp']}, linear {published['linear']}"), flush=True
        )
        print(f"  test, ten features alone            {linear_ms:18.2f}", flush=True)
        result[device] = {
            "linear_test_rmse_ms": linear_ms,
            "test_rmse_ms": test,
            "test_mape_percent": {
                name: model["test"]["mape_percent"] for name, model in predictor.comparison["models"].items()
            },
            "winner": predictor.winner,
            "error_ms_95": predictor.error_ms_95,
            "mlp_over_published": test["mlp"] / published["mlp"],
            "linear_over_published": linear_ms / published["linear"],
            "best_over_best_published": min(test.values()) / min(published.values()),
            "winner_over_best_published": test[predictor.winner] / min(published.values()),
        }
        if options.reports is not None:
            options.reports.mkdir(parents=True, exist_ok=True)
            write_report(predictor.comparison, options.reports / f"{device}.report.json")
        spread = [
            linear_rmse_ms(pairs, Split.of_order(generator(seed, "other split").permutation(len(pairs))))
            for seed in range(NUM_OTHER_SPLITS)
        ]
        mean, deviation = float(np.mean(spread)), float(np.std(spread))
        print(
            f"  the same on {NUM_OTHER_SPLITS} other splits: {mean:.2f}, standard deviation {deviation:.2f}",
            flush=True,
        )
        result[device]["linear_on_other_splits_ms"] = {"mean": mean, "standard_deviation": deviation}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
