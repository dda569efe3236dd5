"""Error of the finite difference of second-order DARTS against the exact product, by the length of the difference.

Both are (grad_a grad_w L_train) v at the initial weights of the search network of `darts`, in float64, with v the
gradient of the validation loss. ReLU and max pooling have kinks; a difference over e sees the kinks within e.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from onepath import spaces
from onepath.nn.frozen_statistics import frozen_statistics
from onepath.nn.relaxations import SoftmaxRelaxation
from onepath.train import bilevel


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--channels", type=int, default=4)
    parser.add_argument("--cells", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    supernet = spaces.build(
        "darts", 3, 16, channels=options.channels, cells=options.cells, seed=options.seed
    ).double()
    relaxation = SoftmaxRelaxation(supernet, seed=options.seed, deviation=0.3).double()
    rng = np.random.default_rng(options.seed)
    images = torch.from_numpy(rng.normal(size=(2, 8, 3, 16, 16)))
    labels = torch.from_numpy(rng.integers(0, 3, (2, 8)))

    def loss(split: int) -> Tensor:
        path = relaxation.architecture_path(rng, 0.0)
        return functional.cross_entropy(supernet(images[split], path), labels[split])

    weights, logits = list(supernet.parameters()), list(relaxation.logits)
    supernet.train()
    with frozen_statistics(supernet):
        v = torch.autograd.grad(loss(1), weights)
        exact = torch.cat(bilevel.exact_product(lambda: loss(0), weights, logits, v))
        print(f"norm of the exact product: {exact.norm():.4g}")
        for epsilon in (1e-2, 1e-3, 1e-4, 1e-5, 1e-6):
            bilevel._EPSILON = epsilon
            product = torch.cat(bilevel.finite_difference_product(lambda: loss(0), weights, logits, v))
            error = float((product - exact).norm() / exact.norm())
            print(f"e = {epsilon:g} / |v|: relative difference {error:.3g}")


if __name__ == "__main__":
    main()
