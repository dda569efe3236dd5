from __future__ import annotations

import copy

import pytest
import torch
from nn.networks import EveryChoice
from torch import nn

from onepath import spaces
from onepath.nn import ChoiceBlock, ElasticConv2d, Supernet
from onepath.nn.alignment import align_candidates, copy_matching, widest_path
from onepath.space import Choice


def test_widest_path_takes_first_candidates_and_largest_sizes() -> None:
    options = widest_path(Supernet(EveryChoice())).options
    assert (options["width"], options["ratio"], options["depth"]) == (16, 2, 3)
    assert (options["kernel0"], options["mixed"]) == (7, "conv")


def test_shuffle_candidates_compute_the_same_after_alignment() -> None:
    supernet = spaces.build("shufflenet", num_classes=5, input_size=16, width=0.25).eval()
    x = torch.randn(2, 3, 16, 16)
    paths = [supernet.space.parse(",".join([option] * 20)) for option in "012"]
    before = [supernet(x, path) for path in paths]
    assert not torch.allclose(before[0], before[1], rtol=0.1, atol=0.0)
    align_candidates(supernet, paths[0])
    for path in paths:
        assert torch.allclose(supernet(x, path), before[0], rtol=1e-3, atol=1e-6)


def test_xception_starts_from_the_shuffle_branch() -> None:
    unit, xception = list(
        spaces.build("shufflenet", num_classes=5, input_size=16, width=0.25).module.stages[2][1].candidates
    )[::3]
    unit.eval(), xception.eval()
    xception.inherit_from(unit)
    x = torch.rand(4, 80, 6, 6)
    with torch.no_grad():
        taken = x[:, 1::2]
        middle = unit.main[:5](taken)  # before the last pointwise convolution
        # Xception adds one ReLU in its middle; everything else is passed through.
        expected = unit.main[5:](middle.relu())
        epsilon = 1 / (1 + xception.main[1].eps) ** 0.5
        assert torch.allclose(xception.main(taken), expected, rtol=1e-3, atol=1e-4 / epsilon)


def test_other_modules_copy_what_fits() -> None:
    source, target = nn.Conv2d(4, 4, 3, groups=4), nn.Conv2d(4, 4, 7, groups=4)
    copy_matching(target, source)
    assert torch.equal(target.weight[..., 2:5, 2:5], source.weight)
    assert target.weight.abs().sum().item() == pytest.approx(source.weight.abs().sum().item())
    assert torch.equal(target.bias, source.bias)
    back = nn.Conv2d(4, 4, 5, groups=4)
    copy_matching(back, target)
    assert torch.equal(back.weight, target.weight[..., 1:6, 1:6])
    other = nn.Conv2d(8, 4, 3)
    before = copy.deepcopy(other.weight)
    copy_matching(other, source)
    assert torch.equal(other.weight, before)


def test_only_blocks_on_the_path_are_aligned() -> None:
    width = Choice("width", [2, 4])
    block = ChoiceBlock({"a": ElasticConv2d(1, width, 1), "b": ElasticConv2d(1, width, 3, padding=1)})
    supernet = Supernet(nn.Sequential(block))
    align_candidates(supernet, widest_path(supernet))
    first, second = block.candidates
    assert torch.equal(second.weight[..., 1:2, 1:2], first.weight)


def test_a_module_may_say_where_to_start() -> None:
    module = nn.Sequential(
        ChoiceBlock([nn.Identity(), nn.Conv2d(1, 1, 1)]), ChoiceBlock([nn.ReLU(), nn.Tanh()])
    )
    assert str(widest_path(Supernet(module))) == "0,0"
    module.start = "1,0"
    assert str(widest_path(Supernet(module))) == "1,0"


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ((1, 7), (7, 1)),
        ((7, 1), (1, 7)),
        ((3, 3), (1, 5)),
        ((5, 5), (3, 5)),
        ((3, 5), (5, 5)),
        ((2, 4), (4, 2)),
        ((3,), (7,)),
        ((5,), (3,)),
        ((3, 1, 3), (1, 3, 5)),
    ],
)
def test_kernels_are_put_centre_on_centre(source: tuple[int, ...], target: tuple[int, ...]) -> None:
    from onepath.nn.alignment import copy_centre

    given, found = torch.randn(2, 3, *source), torch.full((2, 3, *target), 9.0)
    copy_centre(found, given)
    side = 9 + source[0] % 2 - 1  # a frame in which both have the same centre
    frames = []
    for kernel in (given, found):
        pads = [
            p
            for size in reversed(kernel.shape[2:])
            for p in ((side - size) // 2, (side - size) - (side - size) // 2)
        ]
        frames.append(nn.functional.pad(kernel, pads))
    inside = nn.functional.pad(
        torch.ones(2, 3, *target),
        [p for size in reversed(target) for p in ((side - size) // 2, (side - size) - (side - size) // 2)],
    )
    assert torch.equal(frames[1], frames[0] * inside)


@pytest.mark.parametrize(
    ("source", "target"), [((2, 3, 3, 3), (2, 3, 4, 3)), ((2, 3, 3, 3), (2, 2, 1, 1)), ((4, 3), (4, 5))]
)
def test_other_shapes_are_left(source: tuple[int, ...], target: tuple[int, ...]) -> None:
    from onepath.nn.alignment import copy_centre

    found = torch.full(target, 9.0)
    copy_centre(found, torch.randn(source))
    assert (found == 9).all()
