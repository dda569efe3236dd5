from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from onepath import spaces
from onepath.spaces.small_inputs import scaled, stage_strides


@pytest.mark.parametrize(
    ("input_size", "strides"),
    [
        (224, (2, (2, 2, 2, 2))),
        (64, (1, (2, 2, 2, 2))),
        (32, (1, (2, 2, 1, 2))),
        (28, (1, (2, 2, 1, 2))),
        (16, (1, (1, 2, 2, 1))),
        (8, (1, (1, 1, 2, 1))),
        (4, (1, (1, 1, 1, 1))),
    ],
)
def test_small_inputs_give_up_strides(input_size: int, strides) -> None:
    assert stage_strides(input_size) == strides


@pytest.mark.parametrize("name", [name for name in spaces.names() if name not in ("darts-rnn", "mlp")])
@pytest.mark.parametrize("input_size", [8, 28, 32, 64])
def test_last_map_has_at_least_4x4_pixels(name: str, input_size: int) -> None:
    supernet = spaces.build(name, num_classes=7, input_size=input_size, in_channels=1, width=0.1)
    sizes = []
    model = supernet.extract(supernet.space.random(np.random.default_rng(0)), inherit=False)
    pooling = [module for module in model.modules() if isinstance(module, nn.AdaptiveAvgPool2d)][-1]
    pooling.register_forward_hook(lambda _m, inputs, _o: sizes.append(inputs[0].shape[-1]))
    output = model(torch.randn(2, 1, input_size, input_size))
    assert output.shape == (2, 7)
    assert sizes[0] >= 4


def test_channels_are_multiples_of_4_and_not_below_the_least() -> None:
    assert [scaled(32, width) for width in (0.05, 0.25, 0.3, 1, 1.5)] == [4, 8, 8, 32, 48]
    assert scaled(32, 0.25, 16) == 16
