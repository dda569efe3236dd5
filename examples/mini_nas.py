"""The whole idea in one file: a module with choices, your own data, one supernet, a search, a plain model.

Run it with `python examples/mini_nas.py`; it takes about a minute on two cores.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

import onepath as op


class Block(nn.Module):
    """A residual block of a depthwise and a pointwise convolution; its width is shared with its neighbours."""

    def __init__(self, width: op.Choice, kernel_size: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            op.ElasticConv2d(width, width, kernel_size, padding=kernel_size // 2, groups=width, bias=False),
            op.ElasticBatchNorm2d(width),
            op.ElasticConv2d(width, width, 1, bias=False),
            op.ElasticBatchNorm2d(width),
            nn.ReLU(),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class Net(nn.Module):
    """An ordinary module with choices: one width, and for each of three positions an operation or none."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        width = op.Choice("width", [8, 16, 24])
        self.stem = op.ElasticConv2d(1, width, 3, padding=1)
        self.norm = op.ElasticBatchNorm2d(width)
        self.blocks = nn.Sequential(
            *(
                op.ChoiceBlock({"k3": Block(width, 3), "k5": Block(width, 5), "skip": nn.Identity()})
                for _ in range(3)
            )
        )
        self.head = op.ElasticLinear(width, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(self.norm(self.stem(x)).relu())
        return self.head(x.mean(dim=(2, 3)))


def bars(num: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Make your own data: noisy 12x12 images of a horizontal, vertical or diagonal bar, and a label for each."""
    rng = np.random.default_rng(seed)
    images = rng.normal(0.0, 0.5, (num, 12, 12, 1)).astype(np.float32)
    labels = rng.integers(0, 3, num)
    for image, label in zip(images, labels, strict=True):
        at = rng.integers(2, 10)
        rows = {0: np.full(12, at), 1: np.arange(12), 2: (np.arange(12) + at) % 12}[int(label)]
        columns = {0: np.arange(12), 1: np.full(12, at), 2: np.arange(12)}[int(label)]
        image[rows, columns] += 1.0
    return images, labels


def main() -> None:
    """Train, search, extract, fine-tune, export."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--out", type=Path, default=Path(tempfile.gettempdir()) / "mini_nas.onnx")
    options = parser.parse_args()

    data = op.load_data(bars(1200, seed=0), test=bars(300, seed=1), flip=False)
    torch.manual_seed(0)
    supernet = op.Supernet(Net(data.num_classes))
    print(f"{supernet.space.num_choices} choices, {supernet.space.size} architectures")

    op.train_supernet(
        supernet, data, sampler=op.UniformSampler(supernet.space), epochs=options.epochs, seed=0
    )
    found = op.search_supernet(
        supernet,
        data,
        op.Evolution(supernet.space, seed=0, population=12, generations=3),
        constraints=[op.MaxMacs(80_000)],
    )
    macs = op.cost.macs(supernet, found.best, data.input_shape)
    print(f"best of {len(found.trials)}: {found.best.options}, {macs:,} MACs")
    print(f"inherited accuracy {found.best_trial.estimate.accuracy:.3f}")

    model = found.model()  # plain torch.nn layers
    recipe = op.Recipe(epochs=options.epochs, batch_size=64, learning_rate=0.05)
    op.train_model(model, data, recipe=recipe, seed=0)
    print(f"test accuracy {op.train.evaluate(model, data, 'test').metric:.3f}")
    path = op.export_onnx(model, data.input_shape, options.out, preprocessing=data.preprocessing)
    print(f"written: {path}")


if __name__ == "__main__":
    main()
