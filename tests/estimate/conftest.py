"""A small trained-looking supernet and images to score it on."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from onepath.data import Task, load_data
from onepath.nn import ChoiceBlock, Supernet


def _candidate(kernel_size: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(8, 8, kernel_size, padding=kernel_size // 2, bias=False),
        nn.BatchNorm2d(8, affine=False),
        nn.ReLU(),
        nn.Dropout(0.3),
    )


@pytest.fixture
def supernet() -> Supernet:
    """Two blocks of three candidates; statistics and weights away from their initial values."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        supernet = Supernet(
            nn.Sequential(
                nn.Conv2d(3, 8, 3, padding=1),
                nn.BatchNorm2d(8),
                ChoiceBlock([_candidate(1), _candidate(3), _candidate(5)]),
                ChoiceBlock([_candidate(1), _candidate(3), _candidate(5)]),
                nn.AdaptiveAvgPool2d(1),
                nn.Flatten(),
                nn.Linear(8, 4),
            )
        )
        for module in supernet.modules():
            if isinstance(module, nn.BatchNorm2d):
                assert module.running_mean is not None
                assert module.running_var is not None
                module.running_mean.normal_()
                module.running_var.uniform_(0.5, 2.0)
    return supernet


@pytest.fixture(scope="session")
def task() -> Task:
    """1,000 images (3, 8, 8) in four classes by colour: 640 to train, 160 to validate, 200 to test."""
    rng = np.random.default_rng(0)
    targets = np.repeat(np.arange(4), 250)
    images = rng.integers(0, 120, (1000, 8, 8, 3))
    images[np.arange(1000), :, :, targets % 3] += 60 + 40 * (targets // 3)[:, None, None]
    return load_data((images.astype(np.uint8), targets))
