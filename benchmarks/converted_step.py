"""Seconds of a step of an elastic supernet against the same network cut out: `python benchmarks/converted_step.py`.

For each converted model and each space, a forward and backward pass of three random architectures is timed as a
training makes it (channels last, with the faster gradients of depthwise convolutions). The elastic network and the one
cut out of it take turns in one process; the ratio is that of the medians of eight steps. Needs timm.
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
from onepath.nn.layout import lay_channels_last
from onepath.train.depthwise import fast_depthwise

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

# Name -> (number of examples, side of the images in pixels); a model with attention has a fixed side.
MODELS = {
    "resnet18": (32, 96),
    "mobilenetv3_small_100": (8, 128),
    "test_vit": (8, 160),
    "densenet121": (16, 96),
}


SPACES = {"ofa-mobilenetv3": (64, 32), "ofa-resnet50": (64, 32)}


def seconds(network: nn.Module, inputs: Tensor) -> float:
    """Return the seconds of one forward and backward pass."""
    began = time.perf_counter()
    network(inputs).square().mean().backward()
    taken = time.perf_counter() - began
    network.zero_grad(set_to_none=True)
    return taken


def main() -> None:
    """Print the three ratios of each model."""
    from conversion.zoo import built

    for name, (num, side) in (MODELS | SPACES).items():
        if name in SPACES:
            supernet = op.spaces.build(name, 10, side, width=0.25).train()
        else:
            supernet = op.convert(*built(name)).train()
        lay_channels_last(supernet)
        inputs = torch.randn(num, 3, side, side).contiguous(memory_format=torch.channels_last)
        ratios = []
        for architecture in supernet.space.architectures(supernet.space.sample(3, np.random.default_rng(0))):
            plain = supernet.extract(architecture).train()
            lay_channels_last(plain)
            supernet.activate(architecture)
            with fast_depthwise(supernet), fast_depthwise(plain):
                pairs = [(seconds(supernet.module, inputs), seconds(plain, inputs)) for _ in range(10)][2:]
            ours, alone = zip(*pairs, strict=True)
            ratios.append(statistics.median(ours) / statistics.median(alone))
        print(f"{name:24} {', '.join(f'{ratio:.2f}' for ratio in ratios)}", flush=True)


if __name__ == "__main__":
    main()
