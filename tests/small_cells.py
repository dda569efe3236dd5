"""A task of three brightnesses and a small space of cells, on which whole methods run within seconds."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

import onepath as op
from onepath.data import ImageTask


def brightness_task(noise: int, step: int) -> ImageTask:
    """150 images of 8x8 in three classes, the last 30 of them to test.

    Args:
        noise: pixels are drawn below it; the larger, the harder is the task.
        step: what each class is brighter than the one before it.
    """
    rng = np.random.default_rng(0)
    labels = np.arange(150) % 3
    images = rng.integers(0, noise, (150, 8, 8, 1)) + step * labels[:, None, None, None]
    images = images.astype(np.uint8)
    split = (images[:120], labels[:120]), (images[120:], labels[120:])
    return op.load_data(split[0], test=split[1], validation_fraction=0.3)


def cell_space(**_: Any) -> torch.nn.Module:
    """A small space with choices between candidates alone, its weights drawn from a seed of its own."""
    with torch.random.fork_rng():
        torch.manual_seed(5)
        return op.spaces.build("nasbench201", 3, 8, in_channels=1, width=0.25, num_cells=1).module
