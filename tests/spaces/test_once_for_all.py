"""Once-for-All's spaces."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from conversion.zoo import randomise

import onepath as op
from onepath.cost import module_cost
from onepath.methods.ofa import kinds_of
from onepath.space.ends import end_of
from onepath.spaces.once_for_all import OfaBottleneck
from onepath.spaces.once_for_all_resnet import OfaResidual


def ends(supernet: op.Supernet) -> tuple[op.Architecture, op.Architecture]:
    return end_of(supernet.space, max), end_of(supernet.space, min)


@pytest.mark.parametrize(
    ("name", "width", "largest", "smallest"),
    [
        ("ofa-mobilenetv3", 1.0, (566_170_656, 7_664_760), (121_278_672, 3_410_792)),  # the released networks
        ("ofa-mobilenetv3", 1.2, (843_101_040, 10_701_632), (193_078_200, 4_602_456)),
        ("ofa-proxyless", 1.3, (1_004_908_032, 7_942_056), (265_526_256, 3_718_832)),
        ("ofa-resnet50", 1.0, (7_491_643_904, 48_105_992), (962_192_128, 6_539_280)),
    ],
)
def test_sizes_to_the_digit(
    name: str, width: float, largest: tuple[int, int], smallest: tuple[int, int]
) -> None:
    supernet = op.spaces.build(name, 1000, 224, width=width).on_meta()
    for architecture, expected in zip(ends(supernet), (largest, smallest), strict=True):
        found = module_cost(supernet.extract(architecture), (3, 224, 224))
        assert (found.macs, found.params) == expected


def test_size_of_the_space_is_that_of_the_paper() -> None:
    """Five stages of 2 to 4 blocks with 3 kernels and 3 expansions each: about 2 * 10^19."""
    space = op.spaces.build("ofa-mobilenetv3", 10, 32).space
    assert space.size == (9**2 + 9**3 + 9**4) ** 5
    assert len(space.choices) == 5 + 20 * 2


@pytest.mark.parametrize("name", ["ofa-mobilenetv3", "ofa-proxyless", "ofa-resnet50"])
def test_extracted_networks_compute_the_same(name: str) -> None:
    supernet = op.spaces.build(name, 10, 32, width=0.25, resolutions=[16, 24, 32]).eval()
    randomise(supernet)
    x = torch.randn(2, 3, 32, 32)
    drawn = supernet.space.architectures(supernet.space.sample(4, np.random.default_rng(0)))
    for architecture in (*ends(supernet), *drawn):
        plain = supernet.extract(architecture).eval()
        with torch.no_grad():
            assert torch.allclose(plain(x), supernet(x, architecture), atol=1e-6)
        assert not any("transforms" in key for key in plain.state_dict())
        counted = op.cost.macs(supernet, architecture, (3, 32, 32))
        assert counted == module_cost(plain, (3, 32, 32)).macs


def test_a_depth_of_two_runs_the_first_two_blocks() -> None:
    supernet = op.spaces.build("ofa-mobilenetv3", 10, 32, width=0.25).eval()
    options = ends(supernet)[0].options | {"stages.1.depth": 2}
    plain: Any = supernet.extract(supernet.space.parse(options))
    module: Any = supernet.module
    assert [len(stage) for stage in plain.stages] == [4, 2, 4, 4, 4]
    for kept, own in zip(plain.stages[1], module.stages[1].blocks[:2], strict=True):
        assert torch.equal(kept.project[0].weight, own.project[0].weight)


def test_a_lower_resolution_costs_less_and_exports() -> None:
    supernet = op.spaces.build("ofa-mobilenetv3", 10, 32, width=0.25, resolutions=[16, 32]).eval()
    large, _ = ends(supernet)
    small = supernet.space.parse(large.options | {"resolution": 16})
    costs = [op.cost.macs(supernet, each, (3, 32, 32)) for each in (large, small)]
    assert 0.2 < costs[1] / costs[0] < 0.4
    assert {choice.name: choice.role for choice in supernet.space.choices}["resolution"] == "resolution"
    program = torch.export.export(supernet.extract(small).eval(), (torch.randn(1, 3, 32, 32),))
    assert program.module()(torch.randn(1, 3, 32, 32)).shape == (1, 10)


def test_kinds_of_choices() -> None:
    kinds = kinds_of(op.spaces.build("ofa-mobilenetv3", 10, 32, width=0.25, resolutions=[16, 32]))
    assert {kind: len(choices) for kind, choices in kinds.items()} == {
        "resolution": 1,
        "kernel": 20,
        "depth": 5,
        "width": 20,
    }


def test_sorting_channels_leaves_the_full_network_as_it_is() -> None:
    supernet = op.spaces.build("ofa-mobilenetv3", 10, 32, width=0.25).double().eval()
    randomise(supernet)
    x, full = torch.randn(2, 3, 32, 32, dtype=torch.double), ends(supernet)[0]
    module: Any = supernet.module
    with torch.no_grad():
        before = supernet(x, full)
        smaller = supernet(x, supernet.space.parse(full.options | {"stages.0.0.expand": 3}))
        module.sort_channels({})
        assert torch.allclose(supernet(x, full), before, rtol=1e-10, atol=1e-10)
        after = supernet(x, supernet.space.parse(full.options | {"stages.0.0.expand": 3}))
        assert not torch.allclose(after, smaller)
    for block in (each for each in supernet.modules() if isinstance(each, OfaBottleneck)):
        weights: Any = block.project[0].weight
        importance = weights.abs().sum((0, 2, 3))
        assert bool((importance[:-1] >= importance[1:]).all())


def test_sorting_again_keeps_what_is_open_in_front() -> None:
    supernet = op.spaces.build("ofa-mobilenetv3", 10, 32, width=0.25).double().eval()
    randomise(supernet)
    x, full = torch.randn(2, 3, 32, 32, dtype=torch.double), ends(supernet)[0]
    four = supernet.space.parse({**full.options, **{n: 4 for n in full.options if n.endswith("expand")}})
    three = supernet.space.parse({**full.options, **{n: 3 for n in full.options if n.endswith("expand")}})
    module: Any = supernet.module
    excitations = [each for each in supernet.modules() if type(each).__name__ == "OfaExcitation"]
    for each in excitations:
        each.sort_middle = lambda: None  # type: ignore[union-attr, assignment]
    with torch.no_grad():
        before = supernet(x, four), supernet(x, three)
        module.sort_channels({name: [4] for name in full.options if name.endswith("expand")})
        assert torch.allclose(supernet(x, four), before[0], rtol=1e-10, atol=1e-10)
        assert not torch.allclose(supernet(x, three), before[1])


@pytest.mark.parametrize("ratio", [0.2, 0.25])
def test_the_middles_of_a_resnet_are_sorted_and_what_is_open_stays_in_front(ratio: float) -> None:
    supernet = op.spaces.build("ofa-resnet50", 10, 32, width=0.5).double().eval()
    randomise(supernet)
    x, full = torch.randn(2, 3, 32, 32, dtype=torch.double), ends(supernet)[0]
    ratios = [name for name in full.options if name.endswith("ratio")]
    smaller = supernet.space.parse({**full.options, **dict.fromkeys(ratios, ratio)})
    module: Any = supernet.module
    with torch.no_grad():
        before = supernet(x, full), supernet(x, smaller)
        module.sort_channels({name: [0.25, 0.35] for name in ratios})
        torch.testing.assert_close(supernet(x, full), before[0], rtol=1e-10, atol=1e-10)
        assert torch.allclose(supernet(x, smaller), before[1], rtol=1e-10, atol=1e-10) == (ratio == 0.25)
        module.sort_channels({})
        torch.testing.assert_close(supernet(x, full), before[0], rtol=1e-10, atol=1e-10)
    for block in (each for each in supernet.modules() if isinstance(each, OfaResidual)):
        for layer in (block.layers[1][0], block.layers[2][0]):
            importance = layer.weight.abs().sum((0, 2, 3))
            assert bool((importance[:-1] >= importance[1:]).all())


def test_fresh_networks_are_trained_from_the_initial_weights_of_mobilenets() -> None:
    supernet = op.spaces.build("ofa-proxyless", 10, 32, width=0.25)
    fresh = supernet.extract(ends(supernet)[1], inherit=False, seed=1)
    again = supernet.extract(ends(supernet)[1], inherit=False, seed=1)
    for one, other in zip(fresh.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)
    assert all(bool(p.isfinite().all()) for p in fresh.parameters())


@pytest.mark.parametrize("name", ["ofa-mobilenetv3", "ofa-proxyless", "ofa-resnet50"])
def test_residual_blocks_start_as_their_shortcuts(name: str) -> None:
    """In the supernet and in a network with fresh weights; fresh weights as such are not zeros."""
    supernet = op.spaces.build(name, 10, 32, width=0.25)
    fresh = supernet.extract(ends(supernet)[0], inherit=False, seed=3)
    for module in (supernet.module, fresh):
        blocks: list[Any] = [m for m in module.modules() if isinstance(m, OfaBottleneck | OfaResidual)]
        norms = [b.project[1] if isinstance(b, OfaBottleneck) else b.layers[2][1] for b in blocks]
        identities = [getattr(block, "is_residual", True) for block in blocks]
        assert [not norm.weight.any() for norm in norms] == identities
        assert sum(identities) > 8
