"""A step of a converted supernet beside one of the same network cut out: `python benchmarks/converted_step.py`.

Forward and backward pass in training mode of three random architectures for each model, alternately in one process; the
ratio is of the medians of eight. Needs timm.
"""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

import onepath as op

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

# Examples and side of the images; attention takes the side that it is made for.
MODELS = {
    "resnet18": (32, 96),
    "mobilenetv3_small_100": (8, 128),
    "test_vit": (8, 160),
    "densenet121": (16, 96),
}


def seconds(network: nn.Module, inputs: Tensor) -> float:
    """Of one step."""
    began = time.perf_counter()
    network(inputs).square().mean().backward()
    taken = time.perf_counter() - began
    network.zero_grad(set_to_none=True)
    return taken


def main() -> None:
    """Print the three ratios of each model."""
    from conversion.zoo import built

    for name, (num, side) in MODELS.items():
        model, example = built(name)
        supernet, inputs = op.convert(model, example).train(), torch.randn(num, 3, side, side)
        ratios = []
        for architecture in supernet.space.architectures(supernet.space.sample(3, np.random.default_rng(0))):
            plain = supernet.extract(architecture).train()
            supernet.activate(architecture)
            pairs = [(seconds(supernet.module, inputs), seconds(plain, inputs)) for _ in range(10)][2:]
            ours, alone = zip(*pairs, strict=True)
            ratios.append(statistics.median(ours) / statistics.median(alone))
        print(f"{name:24} {', '.join(f'{ratio:.2f}' for ratio in ratios)}", flush=True)


if __name__ == "__main__":
    main()
