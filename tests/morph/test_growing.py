"""A child of a space computes what its parent computes, and learns from there."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import onepath as op
from onepath.errors import ConfigurationError
from onepath.morph import grow


def randomised(model: nn.Module, seed: int = 0) -> nn.Module:
    """Random parameters and statistics everywhere, of a size that keeps the activations in range."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if name.endswith("running_var"):
                tensor.uniform_(0.5, 2.0, generator=generator)
            elif tensor.is_floating_point():
                tensor.normal_(0, 0.4, generator=generator)
    return model


@pytest.fixture(scope="module")
def supernet() -> op.Supernet:
    return op.spaces.build("eas", num_classes=5, input_size=8, in_channels=2)


def pair(supernet: op.Supernet, small: str, large: str) -> tuple[nn.Module, nn.Module]:
    parent, child = (
        supernet.extract(supernet.space.parse(text), inherit=False, seed=seed)
        for seed, text in enumerate((small, large))
    )
    return randomised(parent), child


@pytest.mark.parametrize(
    "large",
    ["0,2,0,0,0,0", "2,0,0,0,0,0", "0,0,0,0,0,3", "1,2,3,1,2,2"],
    ids=["wide", "deep", "last", "both"],
)
def test_a_child_computes_what_its_parent_does_in_both_modes(supernet: op.Supernet, large: str) -> None:
    parent, child = pair(supernet, "0,0,0,0,0,0", large)
    examples = torch.randn(32, 2, 8, 8, generator=torch.Generator().manual_seed(1))
    grown = grow(parent, child, examples)
    assert {n: t.shape for n, t in grown.state_dict().items()} == {
        n: t.shape for n, t in child.state_dict().items()
    }
    for training in (False, True):
        with torch.no_grad():
            before, after = (model.train(training)(examples) for model in (parent, grown))
        assert (before - after).abs().max() < 1e-4 * before.abs().max()


def test_neither_network_is_changed(supernet: op.Supernet) -> None:
    parent, child = pair(supernet, "0,0,0,0,0,0", "1,1,0,0,0,0")
    before = [
        {name: tensor.clone() for name, tensor in model.state_dict().items()} for model in (parent, child)
    ]
    grow(parent, child, torch.randn(16, 2, 8, 8))
    for model, known in zip((parent, child), before, strict=True):
        assert all(torch.equal(tensor, known[name]) for name, tensor in model.state_dict().items())


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.norm(self.first(x)).relu()


def chain(num: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(2, 4, 1), nn.Sequential(*(Block() for _ in range(num))))


def test_a_residual_block_begins_as_nothing() -> None:
    parent, child = randomised(chain(1)), chain(3)
    examples = torch.randn(8, 2, 5, 5)
    grown = grow(parent, child, examples)
    torch.testing.assert_close(grown.eval()(examples), parent.eval()(examples))


def test_a_larger_kernel_has_zeros_around_the_smaller_one() -> None:
    parent, child = (nn.Sequential(nn.Conv2d(2, 4, side, padding=side // 2)) for side in (3, 7))
    examples = torch.randn(4, 2, 9, 9)
    grown = grow(parent, child, examples)
    torch.testing.assert_close(grown(examples), parent(examples))
    assert torch.equal(grown[0].weight[:, :, 2:5, 2:5], parent[0].weight)


def test_with_noise_the_copies_learn_apart(supernet: op.Supernet) -> None:
    parent, child = pair(supernet, "0,0,0,0,0,0", "0,2,0,0,0,0")
    examples = torch.randn(32, 2, 8, 8)
    before = parent.eval()(examples)
    differences = [
        (grow(parent, child, examples, noise=noise).eval()(examples) - before).abs().max().item()
        for noise in (0.0, 1e-3, 0.1)
    ]
    assert differences[0] < 1e-3 * before.abs().max() < 10 * differences[2]
    assert differences[0] < differences[1] < differences[2]


def test_another_network_is_refused(supernet: op.Supernet) -> None:
    parent, child = pair(supernet, "1,0,0,0,0,0", "0,0,0,0,0,0")
    with pytest.raises(ConfigurationError, match="a child must be a larger network"):
        grow(parent, child, torch.randn(8, 2, 8, 8))
