"""SMASH's memory banks: what an operation reads and writes, and what it costs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import onepath as op
from onepath.nn import Supernet
from onepath.space import Choice
from onepath.spaces.memory_banks import BankOperation, BankWrite, FixedWrite, MemoryBanks


def small() -> Supernet:
    return op.spaces.build("smash", num_classes=5, input_size=16, in_channels=2, width=0.5)


def test_the_space() -> None:
    space = small().space
    assert space.size == 900**9
    assert space.names[:3] == ("blocks.0.0.read", "blocks.0.0.body", "blocks.0.0.write")
    assert space.choices[0].options[:6] == ("0", "1", "2", "3", "0,1", "0,2")


def test_an_extracted_network_computes_what_the_supernet_computes() -> None:
    supernet, rng = small().eval(), np.random.default_rng(0)
    x = torch.randn(2, 2, 16, 16)
    with torch.no_grad():
        for _ in range(4):
            architecture = supernet.space.random(rng)
            model = supernet.extract(architecture)
            assert torch.allclose(model(x), supernet(x, architecture), atol=1e-5)
            assert model(x).shape == (2, 5)


def operation_of(text: str) -> tuple[Supernet, nn.Module]:
    class One(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.only = BankOperation("only", 4)

        def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
            return self.only(*torch.chunk(x, 4, 1))

    supernet = Supernet(One()).eval()
    return supernet, supernet.extract(supernet.space.parse(text))


def test_banks_that_are_not_read_have_no_weights_and_others_are_not_written() -> None:
    supernet, model = operation_of("5,0,10")
    assert supernet.space.parse("5,0,10").options == {
        "only.read": "0,2",
        "only.body": "conv_3x3",
        "only.write": "0,1,2",
    }
    assert model.only.read.conv.weight.shape == (4, 8, 1, 1)
    full = supernet.module.only.read.conv.weight
    assert torch.equal(model.only.read.conv.weight, torch.cat([full[:, :4], full[:, 8:12]], 1))
    x = torch.randn(1, 16, 6, 6)
    changed = x.clone()
    changed[:, 4:8] += 1  # a bank that is not read
    changed[:, 12:] += 1
    with torch.no_grad():
        before, after = model(x), model(changed)
    assert torch.equal(after[0], before[0])
    assert torch.equal(after[3], changed[:, 12:])
    results = [bank - x[:, 4 * number : 4 * number + 4] for number, bank in enumerate(before)]
    assert torch.allclose(results[0], results[1], atol=1e-6)
    assert float(results[0].abs().max()) > 0
    assert torch.equal(results[3], torch.zeros_like(results[3]))


def test_a_write_is_fixed_when_it_is_extracted() -> None:
    write = BankWrite(Choice("write", ("1,3", "0")))  # before a supernet binds it, the first option is taken
    fixed = write.extracted(inherit=True)
    assert isinstance(fixed, FixedWrite)
    banks = [torch.full((1, 1), float(number)) for number in range(4)]
    assert [float(bank) for bank in fixed(torch.ones(1, 1), *banks)] == [0.0, 2.0, 2.0, 4.0]


def test_macs_and_parameters_in_closed_form() -> None:
    supernet = op.spaces.build("smash", num_classes=10, input_size=32)
    options = {name: "0" if not name.endswith("body") else "conv_3x3" for name in supernet.space.names}
    architecture = supernet.space.architecture([0] * supernet.space.num_choices)
    assert architecture.options == options
    macs = 32 * 32 * (3 * 9 * 32 + 3 * (8 * 8 + 9 * 8 * 8))
    macs += 32 * 32 * 32 * 64 + 16 * 16 * 3 * (16 * 16 + 9 * 16 * 16)
    macs += 16 * 16 * 64 * 128 + 8 * 8 * 3 * (32 * 32 + 9 * 32 * 32) + 128 * 10
    assert op.cost.macs(supernet, architecture, (3, 32, 32)) == macs
    table = op.cost.table(supernet, (3, 32, 32), "macs")
    rng = np.random.default_rng(1)
    for _ in range(3):
        other = supernet.space.random(rng)
        assert table.cost(other) == op.cost.macs(supernet, other, (3, 32, 32))


@pytest.mark.parametrize(("size", "maps"), [(4, 4), (8, 4), (12, 6), (13, 4), (32, 8)])
def test_small_inputs_keep_the_strides_that_they_allow(size: int, maps: int) -> None:
    module = MemoryBanks(3, size, 1, 0.5)
    x = torch.zeros(2, 1, size, size)
    for entry in module.entries:
        x = entry(x)
    assert x.shape[-1] == maps


@pytest.mark.parametrize("kind", ["smash", "ghn"])
def test_a_hypernetwork_makes_the_weights_of_reads_and_bodies(kind: str) -> None:
    supernet = small()
    made = (
        op.HyperNetwork.ghn(supernet, (2, 16, 16), width=8)
        if kind == "ghn"
        else op.HyperNetwork.smash(supernet)
    )
    assert {layer.path.split(".")[3] for layer in made.layers} == {"read", "body"}
    supernet.take_weights_from(made)
    supernet.eval()
    architecture = supernet.space.random(np.random.default_rng(3))
    x = torch.randn(2, 2, 16, 16)
    with torch.no_grad():
        model = supernet.extract(architecture)
        assert torch.allclose(model(x), supernet(x, architecture), atol=1e-5)
    assert op.cost.table(supernet, (2, 16, 16), "params").cost(architecture) == sum(
        parameter.numel() for parameter in model.parameters()
    )
