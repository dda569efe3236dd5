"""A task of your own: a class for every pixel, by a network whose width and kernels are searched.

Run it with `python examples/segmentation.py`; it takes some seconds.
"""

from __future__ import annotations

import argparse

import torch
from torch import nn
from torch.utils.data import TensorDataset

import onepath as op


def squares(num: int) -> TensorDataset:
    """Make noisy images (num, 1, 16, 16) with a bright square, and targets (num, 16, 16): 1 inside the square."""
    rows, columns = torch.meshgrid(torch.arange(16), torch.arange(16), indexing="ij")
    corners = torch.randint(0, 10, (num, 2, 1, 1), generator=(rng := torch.Generator().manual_seed(num)))
    inside = (rows - corners[:, 0]).div(6, rounding_mode="floor").eq(0)
    inside &= (columns - corners[:, 1]).div(6, rounding_mode="floor").eq(0)
    return TensorDataset((inside + torch.randn(num, 16, 16, generator=rng))[:, None], inside.long())


def build(seed: int = 0) -> nn.Module:
    """Return two elastic convolutions with kernels of 3 or 5 pixels per side, which give two scores for each pixel."""
    torch.manual_seed(seed)
    kernel, width = op.Choice("kernel", [3, 5]), op.Choice("width", [4, 8, 16])
    first, second = (
        op.ElasticConv2d(1, width, kernel, padding="same"),
        op.ElasticConv2d(width, 2, kernel, padding="same"),
    )
    return nn.Sequential(first, nn.ReLU(), second)


def main() -> None:
    """Search under a limit on multiply-accumulates."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--out", default="runs/segmentation")
    options = parser.parse_args()
    task = op.Task.from_datasets(squares(400), test=squares(100), metric="mean-iou", num_outputs=2)
    epochs = {"epochs": options.epochs, "retrain_epochs": options.epochs}
    found = op.run(task, space=build, max_macs="300k", num_baselines=1, out=options.out, **epochs)
    print(f"mean intersection over union {found.result['metric']['retrained_test']:.3f}")


if __name__ == "__main__":
    main()
