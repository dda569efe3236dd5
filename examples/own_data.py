"""Your own data, as arrays: `python examples/own_data.py` searches a network for it.

The docstring of `onepath.load_data` says what arrays may hold and how they are read; `task.notes` lists its guesses.
"""

from __future__ import annotations

import argparse

import numpy as np

import onepath as op


def stripes(num: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Make images (num, 8, 8, 3) of 8-bit colours, and labels (num,): horizontal pattern, vertical pattern or none."""
    rng = np.random.default_rng(seed)
    images, labels = rng.integers(0, 120, (num, 8, 8, 3), dtype=np.uint8), rng.integers(0, 3, num)
    images[labels == 0, ::2] += 100
    images[labels == 1, :, ::2] += 100
    return images, labels


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", default="runs/own-data")
    parser.add_argument("--epochs", type=int, default=8)
    given = parser.parse_args()
    result = op.run(
        stripes(900, seed=0), test_data=stripes(200, seed=1), max_params=90_000, out=given.out,
        epochs=given.epochs, retrain_epochs=given.epochs, population=8, generations=1, num_baselines=1,
    )  # fmt: skip
    print(result.result["architecture"], result.result["accuracy"])
