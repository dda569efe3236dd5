from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from onepath import cost, spaces
from onepath.errors import ConfigurationError
from onepath.nn.alignment import align_candidates
from onepath.train import UniformSampler

FAIRNAS_A = "2,0,2,3,5,0,0,5,5,1,3,1,1,3,3,5,3,5,4"


@pytest.fixture(scope="module")
def paper():
    return spaces.build("mobilenet", num_classes=1000)


@pytest.fixture
def small():
    return spaces.build("mobilenet", num_classes=5, input_size=32, width=0.25)


def test_published_costs(paper) -> None:
    architecture = paper.space.parse(FAIRNAS_A)
    macs, params = cost.macs(paper, architecture, (3, 224, 224)), cost.params(paper, architecture)
    assert (round(macs / 1e6, 2), round(params / 1e6, 3)) == (388.12, 4.651)
    assert (macs, params) == (388_122_848, 4_651_352)


@pytest.mark.parametrize(("squeeze_ratio", "params"), [(1.0, 5_835_322), (0.5, 4_613_730)])
def test_published_params_with_squeeze_and_excitation(squeeze_ratio: float, params: int) -> None:
    supernet = spaces.build("mobilenet", num_classes=10, squeeze_ratio=squeeze_ratio)
    assert cost.params(supernet, supernet.space.parse(FAIRNAS_A)) == params


def test_space_of_the_paper(paper) -> None:
    assert paper.space.size == 6**19
    assert paper.space.choices[0].options == ("k3_e3", "k5_e3", "k7_e3", "k3_e6", "k5_e6", "k7_e6")
    block = paper.module.stages[2][1].candidates[4]
    assert (block.depthwise[0].kernel_size, block.expand[0].out_channels) == ((5, 5), 480)


def test_maps_of_a_small_input(small) -> None:
    sizes = []
    for stage in small.module.stages:
        stage[-1].register_forward_hook(lambda _m, _i, output: sizes.append(output.shape[-1]))
    small(torch.randn(2, 3, 32, 32), small.space.parse(FAIRNAS_A))
    assert sizes == [16, 8, 8, 8, 4, 4]


@pytest.mark.parametrize("squeeze_ratio", [None, 0.5])
def test_uniform_paths_are_extracted_exactly(squeeze_ratio: float | None) -> None:
    supernet = spaces.build(
        "mobilenet", 5, input_size=32, in_channels=1, width=0.25, squeeze_ratio=squeeze_ratio
    )
    sampler = UniformSampler(supernet.space)
    x = torch.randn(4, 1, 32, 32)
    for update in range(4):
        (path,) = sampler.paths(update, np.random.default_rng(update))
        supernet.train()(x, path).sum().backward()
        supernet.eval()
        with torch.no_grad():
            assert (supernet.extract(path)(x) - supernet(x, path)).abs().max() <= 1e-6


def test_initial_weights_are_those_of_mobilenet(paper) -> None:
    convolutions = {name: m for name, m in paper.module.named_modules() if isinstance(m, nn.Conv2d)}
    deviation = {"stem.0": 32 * 9, "head.0": 1280, "stages.4.1.candidates.5.depthwise.0": 1152 * 49}
    for name, fan_out in deviation.items():
        assert convolutions[name].weight.std().item() == pytest.approx(math.sqrt(2 / fan_out), rel=0.05)
    assert paper.module.classifier.weight.std().item() == pytest.approx(0.01, rel=0.02)
    assert paper.module.classifier.bias.eq(0).all()


@pytest.mark.parametrize("squeeze_ratio", [None, 0.5])
@pytest.mark.parametrize("training", [False, True])
def test_wider_candidates_with_larger_kernels_start_with_the_same_function(
    squeeze_ratio: float | None, training: bool
) -> None:
    supernet = spaces.build("mobilenet", 5, input_size=16, width=0.25, squeeze_ratio=squeeze_ratio)
    supernet.train(training)
    for dropout in (m for m in supernet.modules() if isinstance(m, nn.Dropout)):
        dropout.p = 0.0
    first, *others = (supernet.space.parse(",".join([option] * 19)) for option in "012345")
    x = torch.randn(6, 3, 16, 16)
    with torch.no_grad():
        expected = supernet(x, first)
        assert not torch.allclose(supernet(x, others[-1]), expected, rtol=0.1)
        align_candidates(supernet, first)
        if training:
            expected = supernet(x, first)
        for path in others:
            assert torch.allclose(supernet(x, path), expected, rtol=1e-3, atol=1e-4)


def test_what_a_wider_candidate_adds_is_its_own_and_learns(small) -> None:
    align_candidates(small, small.space.parse(",".join("0" * 19)))
    narrow, wide = small.module.stages[2][1].candidates[0], small.module.stages[2][1].candidates[3]
    assert torch.equal(wide.expand[0].weight[:96], narrow.expand[0].weight)
    assert not torch.equal(wide.expand[0].weight[96:], narrow.expand[0].weight)
    assert wide.project[0].weight[:, 96:].eq(0).all()
    wide(torch.randn(4, 32, 8, 8)).square().sum().backward()
    assert wide.project[0].weight.grad[:, 96:].abs().min() > 0


def test_a_narrower_candidate_keeps_the_channels_that_weigh_most(small) -> None:
    small.eval()
    narrow, wide = small.module.stages[2][1].candidates[0], small.module.stages[2][1].candidates[5]
    silent = torch.randperm(192)[:96]
    with torch.no_grad():
        wide.project[0].weight[:, silent] = 0.0
    x = torch.randn(2, 32, 8, 8)
    narrow.inherit_from(wide)
    centre = wide.depthwise[0].weight.detach().clone()
    with torch.no_grad():
        wide.depthwise[0].weight.zero_()
        wide.depthwise[0].weight[..., 2:5, 2:5] = centre[..., 2:5, 2:5]
        assert torch.allclose(narrow(x), wide(x), rtol=1e-3, atol=1e-5)


def test_wrong_arguments_are_one_line() -> None:
    for arguments, message in (
        ({"input_size": 2}, "input_size >= 4"),
        ({"width": 9.0}, "0 < width"),
        ({"squeeze_ratio": 0.0}, "argument squeeze_ratio of space mobilenet must be a number above 0"),
    ):
        with pytest.raises(ConfigurationError, match=message) as error:
            spaces.build("mobilenet", num_classes=10, **arguments)
        assert "\n" not in str(error.value)
