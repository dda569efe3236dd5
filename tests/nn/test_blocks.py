"""Which modules are blocks, and what belongs to them."""

from __future__ import annotations

import torch
from bottlenecks import Net
from torch import nn

import onepath as op
from onepath.nn.blocks import blocks_of


def test_a_bottleneck_is_a_block_and_its_stage_is_none() -> None:
    torch.manual_seed(0)
    supernet = op.convert(Net().eval(), torch.zeros(2, 1, 8, 8))
    blocks = {path: [choice.name for choice in choices] for path, choices in blocks_of(supernet).items()}
    assert list(blocks) == ["stage.0", "stage.1", "stage.2"]
    for path, names in blocks.items():
        assert {f"{path}.expand.width", f"{path}.depthwise.kernel"} <= set(names)
    assert any(".width" in name and name.startswith("stem") for name in supernet.space.names)
    assert not any(name.startswith("stem") for names in blocks.values() for name in names)


def test_a_space_with_one_block_of_operations_each() -> None:
    supernet = op.Supernet(
        nn.Sequential(
            op.ChoiceBlock({"one": nn.Conv2d(1, 4, 1), "three": nn.Conv2d(1, 4, 3, padding=1)}),
            op.ChoiceBlock({"one": nn.Conv2d(4, 4, 1), "three": nn.Conv2d(4, 4, 3, padding=1)}),
        )
    )
    assert {p: [c.name for c in choices] for p, choices in blocks_of(supernet).items()} == {
        "0": ["0"],
        "1": ["1"],
    }
