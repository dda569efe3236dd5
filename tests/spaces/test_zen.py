from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from onepath import cost, spaces
from onepath.errors import SpaceError
from onepath.space import SearchSpace
from onepath.spaces.zen import RATIOS, WIDTHS
from onepath.spaces.zen_blocks import BlockLayers, Layer, block_cost, block_layers

SHAPE = (3, 32, 32)
SUPERNET = spaces.build("zennas", num_classes=10)


def first_options(**changed: object) -> dict[str, object]:
    """The smallest network but for what is changed, names written with `_` for the dots."""
    options = {choice.name: choice.options[0] for choice in SUPERNET.space.choices}
    return options | {name.replace("_", "."): value for name, value in changed.items()}


def test_size_counts_what_a_network_depends_on() -> None:
    # of each stage: plain, or two residual types of three ratios; kernel, width, depth
    stage = (1 + 2 * len(RATIOS)) * 3 * len(WIDTHS) * 6
    assert SUPERNET.space.size == 5 * stage**4 * 5
    plain = SUPERNET.space.architecture(first_options())
    assert "stages.0.ratio" not in plain.options
    assert plain == SUPERNET.space.architecture(first_options(stages_0_ratio=1.0))


def test_every_width_is_a_multiple_of_8() -> None:
    for width in (0.1, 0.25, 1.0, 1.7):
        space: SearchSpace = spaces.build("zennas", num_classes=3, width=width).space
        for choice in space.choices:
            if choice.name.endswith("width"):
                assert all(option % 8 == 0 for option in choice.options)
                assert len(set(choice.options)) == len(choice.options)


def test_layers_of_the_blocks() -> None:
    assert block_layers("plain", 16, 32, 5, 0.5, 2) == BlockLayers((Layer(16, 32, 5, 2),), None, False)
    basic = block_layers("basic", 32, 32, 3, 0.5, 1)
    assert basic == BlockLayers((Layer(32, 16, 3, 1), Layer(16, 32, 3, 1)), None, True)
    chain, projection, _ = block_layers("bottleneck", 16, 64, 7, 0.25, 2)
    assert chain == (Layer(16, 16, 1, 1), Layer(16, 16, 7, 2), Layer(16, 64, 1, 1))
    assert projection == Layer(16, 64, 1, 2)
    # 1x1 at 8x8, then 7x7 and 1x1 at 4x4, and the projection
    assert block_cost(block_layers("bottleneck", 16, 64, 7, 0.25, 2), (8, 8), "macs") == (
        256 * 64 + 256 * 49 * 16 + 1024 * 16 + 1024 * 16
    )


def test_cost_of_a_network_by_hand() -> None:
    architecture = SUPERNET.space.architecture(first_options(stages_3_type="basic", stages_3_ratio=0.5))
    plain = 16 * 16 * 9
    stages = plain * (32 * 32 + 16 * 16 + 8 * 8)
    last = (16 * 8 * 9 + 8 * 16 * 9 + 16 * 16) * 4 * 4
    macs = 3 * 16 * 9 * 32 * 32 + stages + last + 16 * 64 * 16 + 64 * 10
    assert cost.macs(SUPERNET, architecture, SHAPE) == macs
    assert cost.table(SUPERNET, SHAPE, "macs").cost(architecture) == macs
    assert cost.layers(SUPERNET, architecture) == 1 + 3 + 3 + 1 + 1


@pytest.mark.parametrize("kind", ["macs", "params", "layers"])
def test_closed_form_equals_the_count_of_the_networks(kind: str) -> None:
    narrow = spaces.build("zennas", num_classes=10, width=0.1)
    table = cost.table(narrow, SHAPE, kind)
    for architecture in narrow.space.architectures(narrow.space.sample(10, np.random.default_rng(3))):
        model = narrow.extract(architecture, inherit=False)
        counted = {
            "macs": cost.module_cost(model, SHAPE).macs,
            "params": sum(p.numel() for p in model.parameters()),
            "layers": sum(isinstance(m, nn.Conv2d | nn.Linear) for m in model.modules()),
        }
        assert table.cost(architecture) == counted[kind]


def test_networks_are_drawn_exactly_within_a_limit() -> None:
    table = cost.table(SUPERNET, SHAPE, "macs")
    rows = SUPERNET.space.sample_within(table, None, 20e6, 300, np.random.default_rng(0))
    macs = table.costs(SUPERNET.space, rows)
    assert macs.max() <= 20e6 < 2 * np.median(macs)


def test_extracted_networks_are_plain_fresh_and_repeatable() -> None:
    table = cost.table(SUPERNET, SHAPE, "params")
    row = SUPERNET.space.sample_within(table, None, 200_000, 1, np.random.default_rng(5))
    architecture = SUPERNET.space.architectures(row)[0]
    model, again, other = (SUPERNET.extract(architecture, inherit=False, seed=seed) for seed in (1, 1, 2))
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))
    assert not torch.equal(model.stages[0][0].chain[0].weight, other.stages[0][0].chain[0].weight)
    assert not any(type(module).__name__.startswith(("Elastic", "Choice")) for module in model.modules())
    for norm in (module for module in model.modules() if isinstance(module, nn.BatchNorm2d)):
        assert torch.equal(norm.running_var, torch.ones_like(norm.running_var))
        assert torch.equal(norm.weight, torch.ones_like(norm.weight))
    assert torch.isfinite(model.eval()(torch.randn(2, *SHAPE))).all()


def test_there_is_no_supernet() -> None:
    architecture = SUPERNET.space.random(np.random.default_rng(0))
    assert not spaces.has_supernet("zennas")
    assert spaces.has_supernet("shufflenet")
    with pytest.raises(SpaceError, match="shared weights to run") as error:
        SUPERNET(torch.randn(1, *SHAPE), architecture)
    assert "\n" not in str(error.value)
    with pytest.raises(SpaceError, match="shared weights to extract"):
        SUPERNET.extract(architecture)
