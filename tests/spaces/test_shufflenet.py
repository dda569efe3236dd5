from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from onepath import cost, spaces
from onepath.errors import ConfigurationError
from onepath.spaces.shufflenet import CHANNEL_SCALES, ShuffleUnit, deal

PUBLISHED = "2,1,0,1,2,0,2,0,2,0,2,3,0,0,0,0,3,2,3,3"


@pytest.fixture(scope="module")
def paper():
    return spaces.build("shufflenet", num_classes=1000, input_size=224)


@pytest.mark.parametrize(
    ("text", "macs", "params"),
    [
        (PUBLISHED, 322_918_720, 3_558_464),
        (",".join("0" * 20), 295.84e6, 3.15e6),
        (",".join("3" * 20), 358.83e6, 3.87e6),
    ],
)
def test_published_costs(paper, text: str, macs: float, params: float) -> None:
    architecture = paper.space.parse(text)
    found = cost.macs(paper, architecture, (3, 224, 224)), cost.params(paper, architecture)
    if text == PUBLISHED:
        assert found == (macs, params)
    assert found == pytest.approx((macs, params), rel=2e-3)


def test_space_of_the_paper(paper) -> None:
    assert paper.space.size == 4**20
    assert paper.space.names[:2] == ("stages.0.0", "stages.0.1")
    assert paper.space.choices[0].options == ("shuffle_3x3", "shuffle_5x5", "shuffle_7x7", "xception")
    assert spaces.build("shufflenet-channels", 10, input_size=32, width=0.25).space.size == 32**20


# The released block and channel search, its blocks and the indices of their scales.
BLOCKS = [0, 0, 3, 1, 1, 1, 0, 0, 2, 0, 2, 1, 1, 0, 2, 0, 2, 1, 3, 2]
SCALES = [6, 5, 3, 5, 2, 6, 3, 4, 2, 5, 7, 5, 4, 6, 7, 4, 4, 5, 4, 3]


def test_the_published_network_of_block_and_channel_search_has_its_costs() -> None:
    supernet = spaces.build("shufflenet-channels", 1000, input_size=224)
    names = [name for name in supernet.space.names if not name.endswith(".scale")]
    options = {}
    for name, block, scale in zip(names, BLOCKS, SCALES, strict=True):
        options[name] = supernet.space.choices[supernet.space.column(name)].options[block]
        options[f"{name}.scale"] = CHANNEL_SCALES[scale]
    architecture = supernet.space.architecture(options)
    assert cost.macs(supernet, architecture, (3, 224, 224)) == 327_857_920
    assert cost.params(supernet, architecture) == 3_432_579
    model = supernet.extract(architecture, inherit=False)
    middles = [block.main[0].out_channels for block in model.stages[0][:2]]
    assert middles == [44, 38]


def test_random_paths_spread_as_published(paper) -> None:
    table = cost.table(paper, (3, 224, 224), "macs")
    costs = table.costs(paper.space, paper.space.sample(20_000, np.random.default_rng(0))) / 1e6
    assert np.median(costs) == pytest.approx(327, abs=1)
    assert (costs <= 330).mean() == pytest.approx(0.589, abs=0.015)


def test_unit_passes_the_even_channels_through_and_transforms_the_odd_ones() -> None:
    unit = ShuffleUnit(8, 8, 4, kernel_size=3, stride=1, num_depthwise=1, keeps_shape=True).eval()
    x = torch.randn(2, 8, 5, 5)
    output = unit(x)
    assert torch.equal(output[:, :4], x[:, 0::2])
    assert torch.equal(output[:, 4:], unit.main(x[:, 1::2]))


def test_first_unit_projects_the_whole_input() -> None:
    unit = ShuffleUnit(6, 16, 8, kernel_size=5, stride=2, num_depthwise=3, keeps_shape=False).eval()
    x = torch.randn(2, 6, 8, 8)
    output = unit(x)
    assert output.shape == (2, 16, 4, 4)
    assert torch.equal(output[:, :6], unit.projection(x))


def test_initial_weights_are_the_released_ones() -> None:
    supernet = spaces.build("shufflenet", num_classes=1000, input_size=32, seed=3)
    again = spaces.build("shufflenet", num_classes=1000, input_size=32, seed=3)
    assert all(torch.equal(a, b) for a, b in zip(supernet.parameters(), again.parameters(), strict=True))
    convolutions = {n: m for n, m in supernet.module.named_modules() if isinstance(m, nn.Conv2d)}
    assert convolutions["stem.0"].weight.std().item() == pytest.approx(0.01, rel=0.15)
    assert convolutions["head.0"].weight.std().item() == pytest.approx(1 / 640, rel=0.02)
    assert supernet.module.classifier.weight.std().item() == pytest.approx(0.01, rel=0.02)
    model = supernet.extract(supernet.space.parse(PUBLISHED), inherit=False)
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    assert all(m.weight.eq(1).all() and m.bias.eq(1e-4).all() for m in norms)


def test_wrong_arguments_are_one_line() -> None:
    for arguments, message in (
        ({"input_size": 2}, "input_size >= 4"),
        ({"width": 0.0}, "0 < width"),
        ({"depth": 3}, "must be one of"),
    ):
        with pytest.raises(ConfigurationError, match=message) as error:
            spaces.build("shufflenet", num_classes=10, **arguments)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_dealing_channels_has_the_exact_gradient_in_the_inputs_layout(memory_format) -> None:
    x = torch.randn(2, 6, 3, 3, dtype=torch.float64).to(memory_format=memory_format).requires_grad_()
    even, odd = deal(x)
    assert torch.equal(even, x[:, 0::2])
    assert torch.equal(odd, x[:, 1::2])
    assert torch.autograd.gradcheck(deal, (x,))
    (gradient,) = torch.autograd.grad((2 * even + 3 * odd).sum(), x)
    assert gradient.is_contiguous(memory_format=memory_format)
    with torch.no_grad():
        assert torch.equal(deal(x)[1], odd)
