"""A task of your own: a number instead of a class, from a table of ten measurements.

Run it with `python examples/regression.py`; training the smallest network within the limit takes some seconds.
"""

from __future__ import annotations

import argparse

import torch
from torch.utils.data import TensorDataset

import onepath as op


def main() -> None:
    """Search a perceptron of at most 20,000 parameters for scikit-learn's diabetes data."""
    from sklearn.datasets import load_diabetes

    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--out", default="runs/regression")
    options = parser.parse_args()

    x, y = (
        torch.as_tensor(part, dtype=torch.float32) for part in load_diabetes(return_X_y=True, scaled=True)
    )
    rows = TensorDataset(x, (y - y.mean()) / y.std())
    task = op.Task.from_datasets(rows, loss="mse", metric="rmse", name="diabetes")
    print(*task.notes, sep="\n")
    epochs = {"epochs": options.epochs, "retrain_epochs": options.epochs}
    found = op.run(
        task, space="mlp", width=0.25, max_params="20k", num_baselines=1, out=options.out, **epochs
    )
    print(f"root mean squared error {found.result['metric']['retrained_test']:.3f} of a standard deviation")


if __name__ == "__main__":
    main()
