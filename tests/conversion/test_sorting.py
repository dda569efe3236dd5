"""Channels of a converted network are sorted again after a training, and what is open stays in front."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import timm
import torch
from torch import nn

import onepath as op
from onepath.conversion import convert
from onepath.methods import MemoryJob
from onepath.methods.ofa import Ofa
from onepath.space.ends import end_of

MODELS: dict[str, Any] = {
    "mobilenetv3_small_050": {"num_classes": 10},  # squeeze-and-excitation, residual streams
    "vit_tiny_patch16_224": {"num_classes": 10, "img_size": 32, "depth": 2},  # heads
    "densenet121": {"num_classes": 10, "growth_rate": 16, "block_config": (2, 2)},  # concatenation
}


def trained(name: str) -> op.Supernet:
    """Converted, with parameters and statistics that say nothing of the order that they had."""
    model = timm.create_model(name, **MODELS[name]).double().eval()
    supernet = convert(model, torch.zeros(1, 3, 32, 32, dtype=torch.double), widths=(0.25, 0.5, 0.75, 1.0))
    torch.manual_seed(0)
    for module in supernet.module.modules():
        for tensor in (*module._parameters.values(), *module._buffers.values()):
            if tensor is not None and tensor.is_floating_point():
                tensor.data.copy_(
                    torch.rand_like(tensor.data) + 0.5 if tensor.dim() < 2 else torch.randn_like(tensor) / 8
                )
    return supernet


def widths_of(supernet: op.Supernet) -> list[Any]:
    return [c for c in supernet.space.choices if c.name.endswith(("width", "heads")) and c.num_options > 2]


@pytest.mark.parametrize("name", sorted(MODELS))
@pytest.mark.parametrize("copied", [False, True])
def test_the_whole_network_stays_and_so_does_what_is_open(name: str, copied: bool) -> None:
    supernet = trained(name)
    supernet = copy.deepcopy(supernet) if copied else supernet
    assert supernet.conversion is not None
    full = end_of(supernet.space, max)
    opened = {choice.name: sorted(choice.options)[-2:] for choice in widths_of(supernet)}
    second = supernet.space.parse(full.options | {name: min(options) for name, options in opened.items()})
    smallest = supernet.space.parse(full.options | {c.name: min(c.options) for c in widths_of(supernet)})
    x = torch.randn(2, 3, 32, 32, dtype=torch.double)
    with torch.no_grad():
        assert not torch.equal(supernet.extract(smallest).eval()(x), supernet(x, full))
        before = [supernet.extract(each).eval()(x) for each in (full, second, smallest)]
        supernet.conversion.sorting.sort(supernet.module, opened)
        after = [supernet.extract(each).eval()(x) for each in (full, second, smallest)]
    torch.testing.assert_close(after[0], before[0], rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(after[1], before[1], rtol=1e-9, atol=1e-9)
    assert not torch.allclose(after[2], before[2])


def test_without_anything_open_the_leading_channels_are_those_of_most_weight() -> None:
    layers = [
        nn.Conv2d(3, 32, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(32, 8, 1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    ]
    supernet = convert(nn.Sequential(*layers).eval(), torch.zeros(1, 3, 8, 8))
    first, last = supernet.module[0]._parameters["weight"], supernet.module[2]._parameters["weight"]
    torch.manual_seed(0)
    with torch.no_grad():
        first.copy_(torch.randn_like(first))
        last.copy_(torch.randn_like(last) * torch.rand(1, 32, 1, 1))
    supernet.conversion.sorting.sort(supernet.module, {})
    one, other = first.abs().mean((1, 2, 3)), last.abs().mean((0, 2, 3))
    importance = one / one.mean() + other / other.mean()
    assert bool((importance[:-1] >= importance[1:] - 1e-6).all())


def test_progressive_shrinking_sorts_as_it_opens_widths() -> None:
    supernet = trained("mobilenetv3_small_050").float()
    job = MemoryJob(supernet, op.load_data("digits", input_size=32), batch_size=32)
    supernet_phases = Ofa(epochs=60).resolved(job).phases(job)
    entering = [phase for phase in supernet_phases if phase.enter is not None]
    assert [phase.name for phase in entering] == ["width 1", "width 2"]
    weights = [p.detach().clone() for p in supernet.module.parameters()]
    entering[0].enter(supernet)
    assert any(not torch.equal(p, q) for p, q in zip(supernet.module.parameters(), weights, strict=True))
