"""The side of a converted network's images as a choice."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from conversion.zoo import randomise
from torch import nn
from torch.nn import functional

import onepath as op
from onepath.errors import ConfigurationError
from onepath.space.ends import end_of

SHAPE = (3, 32, 32)


class Net(nn.Module):
    """A stem, a residual block, a classifier behind a global mean."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 32, 3, 2, 1), nn.BatchNorm2d(32), nn.ReLU())
        self.block = nn.Sequential(nn.Conv2d(32, 64, 1), nn.ReLU(), nn.Conv2d(64, 32, 1))
        self.head = nn.Linear(32, 5)

    def forward(self, x: torch.Tensor) -> Any:
        x = self.stem(x)
        return self.head((x + self.block(x)).mean((2, 3)))


def converted(**options: Any) -> tuple[nn.Module, op.Supernet]:
    model = Net().eval()
    randomise(model)
    return model, op.convert(model, torch.zeros(1, *SHAPE), resolutions=[16, 24, 32], **options)


def test_the_largest_is_the_model_and_a_smaller_one_the_model_of_resized_images() -> None:
    model, supernet = converted(widths=[1])
    images = torch.randn(4, *SHAPE)
    with torch.no_grad():
        for side in (16, 24, 32):
            architecture = supernet.space.parse({**end_of(supernet.space, max).options, "resolution": side})
            resized = functional.interpolate(images, (side, side), mode="bilinear")
            expected = model(images if side == 32 else resized)
            assert torch.allclose(supernet.eval()(images, architecture), expected, atol=1e-5)
            assert torch.allclose(supernet.extract(architecture).eval()(images), expected, atol=1e-5)


def test_costs_follow_the_side() -> None:
    _, supernet = converted()
    whole = end_of(supernet.space, max)
    half = supernet.space.parse({**whole.options, "resolution": 16})
    macs = [op.cost.macs(supernet, one, SHAPE) for one in (whole, half)]
    assert macs[0] - 160 == 4 * (macs[1] - 160)  # but for the classifier of 32 x 5
    drawn = supernet.space.architectures(supernet.space.sample(20, np.random.default_rng(0)))
    for architecture in drawn:
        counted = op.cost.module_cost(supernet.extract(architecture), SHAPE)
        assert counted.macs == op.cost.macs(supernet, architecture, SHAPE)


def test_the_report_names_the_choice_and_sorting_still_works() -> None:
    _, supernet = converted()
    assert supernet.conversion is not None
    assert supernet.conversion.rows[0].choices == ("resolution",)
    assert [row.path for row in supernet.conversion.rows] == [path for path, _ in Net().named_modules()]
    randomise(supernet.module)
    images, whole = torch.randn(2, *SHAPE), end_of(supernet.space, max)
    with torch.no_grad():
        before = supernet.eval()(images, whole)
        weight = supernet.module.get_parameter("model.stem.0.weight").clone()
        supernet.conversion.sorting.sort(supernet.module, {})
        assert not torch.equal(weight, supernet.module.get_parameter("model.stem.0.weight"))
        assert torch.allclose(supernet(images, whole), before, atol=1e-4)


class Fixed(nn.Module):
    """Takes one size only."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.head = nn.Linear(3 * 32 * 32, 32), nn.Linear(32, 5)

    def forward(self, x: torch.Tensor) -> Any:
        return self.head(self.hidden(x.flatten(1)).relu())


@pytest.mark.parametrize(
    ("model", "resolutions", "words"),
    [
        (Net(), [16, 24], "must be the side of the images, 32, but it is 24"),
        (Net(), [16, 64], "must be the side of the images, 32, but it is 64"),
        (Net(), [0, 32], "whole numbers of 1 or more"),
        (Net(), [15.5, 32], "whole numbers of 1 or more"),
        (Fixed(), [16, 32], "at 16 pixels it raised"),
        (nn.Conv2d(3, 16, 3, padding=1), [16, 32], "must return the same shapes at every resolution"),
    ],
)
def test_what_cannot_be_is_refused(model: nn.Module, resolutions: list[Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        op.convert(model, torch.zeros(1, *SHAPE), resolutions=resolutions)


def test_it_needs_images() -> None:
    with pytest.raises(ConfigurationError, match="one batch of square images"):
        op.convert(nn.Sequential(nn.Linear(8, 32), nn.Linear(32, 4)), torch.zeros(2, 8), resolutions=[8])
