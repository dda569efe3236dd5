"""Gradients of single examples and GradSign."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from estimate.scores.small_networks import Everything, batch, blocks, chain, seeded
from torch import Tensor, nn
from torch.nn import functional

from onepath import spaces
from onepath.estimate import score, scores
from onepath.estimate.scores import per_sample
from onepath.estimate.scores.per_sample import chunk_size, per_sample_gradients
from onepath.estimate.scores.probe import Probe, weighted_layers


def by_single_passes(network: nn.Module, inputs: Tensor, targets: Tensor) -> list[Tensor]:
    """Batches of one, with batch normalisation in training mode: the definition."""
    weights = [layer.weight for layer in weighted_layers(network)]
    rows = []
    for x, target in zip(inputs.split(1), targets.split(1), strict=True):
        loss = functional.cross_entropy(network(x), target)
        found = torch.autograd.grad(loss, weights, allow_unused=True)
        rows.append([torch.zeros_like(w) if g is None else g for w, g in zip(weights, found, strict=True)])
    return [torch.stack(gradients) for gradients in zip(*rows, strict=True)]


def agree(one: list[Tensor], other: list[Tensor]) -> None:
    assert len(one) == len(other)
    for a, b in zip(one, other, strict=True):
        assert a.shape == b.shape
        assert float((a - b).abs().max()) <= 1e-5 * max(1.0, float(b.abs().max()))


class Reflected(nn.Module):
    """Padding that a grouped convolution does not know, a layer in one dimension, a batch that is folded."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect")
        self.second = nn.Conv1d(4, 4, 3, padding="same")
        self.head = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.second(self.first(x).relu().flatten(2)).relu()
        logits: Tensor = self.head(x.mean(dim=2))
        return logits


class Pointwise(nn.Module):
    """1x1 convolutions that are more than a linear layer at every position."""

    def __init__(self) -> None:
        super().__init__()
        self.strided, self.padded = nn.Conv2d(3, 4, 1, stride=2), nn.Conv2d(4, 4, 1, padding=1)
        self.grouped, self.head = nn.Conv2d(4, 4, 1, groups=2), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.grouped(self.padded(self.strided(x).relu()).relu()).relu()
        logits: Tensor = self.head(x.mean(dim=(2, 3)))
        return logits


class Folded(nn.Module):
    """A convolution that sees every column of an image as an example of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.head = nn.Conv1d(3, 4, 3, padding=1), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        columns = x.permute(0, 3, 1, 2).flatten(0, 1)
        folded = self.first(columns).relu().mean(dim=2)
        logits: Tensor = self.head(folded.view(len(x), -1, 4).mean(dim=1))
        return logits


class Tokens(nn.Module):
    """A layer that is used at every position of a sequence, and a weight that two layers share."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.head = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 4)
        self.two.weight = self.one.weight

    def forward(self, x: Tensor) -> Tensor:
        x = self.two(self.one(x.mean(dim=1)).relu()).relu()  # (B, rows, 8)
        logits: Tensor = self.head(x).mean(dim=1)
        return logits


@pytest.mark.parametrize(
    "build", [Everything, Reflected, Pointwise, Folded, Tokens, lambda: blocks("identity", "gate")]
)
def test_equal_to_the_loop_of_single_passes(build: type[nn.Module]) -> None:
    inputs, targets = batch(6)
    network = Probe(seeded(build), inputs, targets).copy()
    agree(
        per_sample_gradients(network, inputs, targets, functional.cross_entropy),
        by_single_passes(network, inputs, targets),
    )


@pytest.mark.parametrize("space", ["nasbench201", "shufflenet", "mobilenet"])
def test_equal_to_the_loop_on_the_ready_made_spaces(space: str) -> None:
    arguments = {"num_cells": 1} if space == "nasbench201" else {}
    supernet = spaces.build(space, 4, input_size=16, width=0.25, **arguments)
    num_choices = supernet.space.num_choices
    indices = [4, 3, 2, 4, 2, 3] if space == "nasbench201" else [2] * num_choices  # pooling, convolutions
    model = supernet.extract(supernet.space.architecture(indices), inherit=False)
    inputs, targets = batch(3, 16)
    network = Probe(model.double(), inputs.double(), targets).copy()
    agree(
        per_sample_gradients(network, inputs.double(), targets, functional.cross_entropy),
        by_single_passes(network, inputs.double(), targets),
    )


def test_no_loop_where_a_grouped_convolution_does_it(monkeypatch: pytest.MonkeyPatch) -> None:
    inputs, targets = batch(4)
    monkeypatch.setattr(per_sample, "_by_loop", None)
    assert score("gradsign", seeded(Everything), inputs, targets) > 0


@pytest.mark.parametrize("build", [lambda: chain([6, 6]), lambda: seeded(Everything)])
def test_is_the_sum_over_weights_of_absolute_sums_of_signs(build: Callable[[], nn.Module]) -> None:
    inputs, targets = batch(6)
    model = build().double()
    network = Probe(model, inputs.double(), targets).copy()
    expected = sum(
        float(g.sign().sum(dim=0).abs().sum()) for g in by_single_passes(network, inputs.double(), targets)
    )
    assert score("gradsign", model, inputs.double(), targets) == expected


def test_duplicates_of_one_example_agree_everywhere() -> None:
    inputs, targets = batch(1)
    model = chain([6, 6]).double()
    inputs = inputs.double()
    once = score("gradsign", model, inputs, targets)
    weights = sum(layer.weight.numel() for layer in weighted_layers(model))
    assert 0.9 * weights < once <= weights
    assert score("gradsign", model, inputs.repeat(5, 1, 1, 1), targets.repeat(5)) == 5 * once


def test_the_most_is_a_sign_of_every_example_for_every_weight() -> None:
    """Where no unit is off, no gradient is 0."""
    model = seeded(lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(144, 4)))
    inputs, targets = batch(1)
    num_weights = 4 * 27 + 144 * 4  # without the biases
    found = score("gradsign", model.double(), inputs.double().repeat(7, 1, 1, 1), targets.repeat(7))
    assert found == 7 * num_weights


def test_independent_signs() -> None:
    """The gradient of an example is its input; the mean of |10 signs| is `10 * C(10, 5) / 2^10`, 2.46."""
    model, inputs = (
        nn.Linear(10_000, 1),
        torch.randn(10, 10_000, generator=torch.Generator().manual_seed(0)),
    )
    value = score("gradsign", model, inputs, torch.zeros(10), loss=lambda outputs, _: outputs.mean())
    assert value / 10_000 == pytest.approx(10 * math.comb(10, 5) / 2**10, abs=0.05)


def test_between_chance_and_agreement() -> None:
    inputs, targets = batch(10, 16)
    model = chain([16, 16, 16])
    weights = sum(layer.weight.numel() for layer in weighted_layers(model))
    value = score("gradsign", model, inputs, targets) / weights
    assert math.sqrt(2 * 10 / math.pi) - 0.5 < value <= 10


@pytest.mark.parametrize("limit", [1, 3 << 20, 1 << 30])
def test_a_memory_limit_changes_nothing(limit: int) -> None:
    inputs, targets = batch(12)
    model, inputs = chain([6, 6]).double(), inputs.double()
    assert score("gradsign", model, inputs, targets, max_memory_bytes=limit) == score(
        "gradsign", model, inputs, targets
    )


def test_chunks_follow_the_limit() -> None:
    inputs, targets = batch(2)
    network = Probe(chain([6, 6]), inputs, targets).copy()
    assert chunk_size(network, inputs[:1], 1) == 1
    small, large = (chunk_size(network, inputs[:1], limit) for limit in (1 << 22, 1 << 24))
    assert 1 < small < large <= 5 * small


def test_maps_of_one_pixel_have_a_reason() -> None:
    inputs, targets = batch(4, 1)
    found = scores(["gradsign"], chain([6]), inputs, targets)["gradsign"]
    assert found.value == -math.inf
    assert "larger inputs" in str(found.reason)
