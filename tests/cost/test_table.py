from __future__ import annotations

import functools
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from nn.networks import EveryChoice
from torch import Tensor, nn
from torch.nn import functional

from onepath import cost, spaces
from onepath.cost import MaxMacs, MaxParams
from onepath.cost.constraint import counter
from onepath.errors import ConfigurationError, SpaceError
from onepath.nn import ChoiceBlock, ElasticLinear, Supernet
from onepath.space import Choice

SHAPE = (3, 16, 16)
FEWER = {"darts": {"cells": 3}, "enas-micro": {"cells": 3}}  # as many terms as with more cells, in less time
NAMES = (*spaces.names(), "every-choice")


@functools.cache
def supernet_of(name: str) -> Supernet:
    if name == "every-choice":
        return Supernet(EveryChoice())
    return spaces.build(name, num_classes=5, input_size=16, in_channels=3, width=0.25, **FEWER.get(name, {}))


@functools.cache
def counted(name: str, num: int) -> tuple[tuple[int, ...], npt.NDArray[Any], list[cost.ModuleCost]]:
    """The shape of an example, random architectures, and the costs of each, counted one by one."""
    supernet = supernet_of(name)
    shape = (4,) if name == "darts-rnn" else spaces.example_shape(supernet, 16, 3)
    matrix = supernet.space.sample(num, np.random.default_rng(7))
    found = [cost.architecture_cost(supernet, each, shape) for each in supernet.space.architectures(matrix)]
    return shape, matrix, found


@pytest.mark.parametrize("num", [5, pytest.param(100, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", ["macs", "params"])
@pytest.mark.parametrize("name", NAMES)
def test_table_equals_the_direct_count_on_random_architectures(name: str, kind: str, num: int) -> None:
    supernet, (shape, matrix, found) = supernet_of(name), counted(name, num)
    costs = cost.table(supernet, shape, kind).costs(supernet.space, matrix)
    assert costs.dtype.kind == "i"
    assert costs.tolist() == [getattr(each, kind) for each in found]


def test_params_are_those_of_the_network_that_is_trained() -> None:
    supernet = supernet_of("shufflenet")
    architecture = supernet.space.random(np.random.default_rng(0))
    model = supernet.extract(architecture, inherit=False)
    assert cost.params(supernet, architecture) == sum(p.numel() for p in model.parameters())
    inherited = supernet.extract(architecture)
    assert cost.params(supernet, architecture) > sum(p.numel() for p in inherited.parameters())


class Tangled(nn.Module):
    """The second layer's work depends on a choice it does not read."""

    def __init__(self) -> None:
        super().__init__()
        self.shorten = ChoiceBlock({"keep": nn.Identity(), "halve": Halve()})
        self.mix = ElasticLinear(4, Choice("width", [4, 8]))

    def forward(self, x: Tensor) -> Tensor:
        return self.mix(self.shorten(x))


class Halve(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x[:, ::2]


def test_costs_that_do_not_add_up_are_refused_and_then_counted_one_by_one() -> None:
    supernet = Supernet(Tangled())
    with pytest.raises(SpaceError, match="depend on their own choices alone"):
        cost.table(supernet, (6, 4), "macs")
    costs, table = counter(supernet, (6, 4), "macs")
    assert table is None
    matrix = supernet.space.enumerate_matrix()
    assert sorted(costs(matrix).tolist()) == sorted([6 * 16, 6 * 32, 3 * 16, 3 * 32])


def test_constraints_bind_to_a_space() -> None:
    supernet = supernet_of("shufflenet")
    matrix = supernet.space.sample(20, np.random.default_rng(0))
    for constraint, name in ((MaxMacs(2_000_000), "max_macs"), (MaxParams(100_000), "max_params")):
        bound = constraint.bind(supernet, SHAPE)
        assert (bound.name, bound.maximum) == (name, constraint.maximum)
        assert bound.table is not None
        assert bound.costs(matrix).shape == (20,)
    with pytest.raises(ConfigurationError, match="max_macs > 0"):
        MaxMacs(0)


class Attention(nn.Module):
    """Attention over the pixels of an image, in functions of torch alone."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.weight = nn.Parameter(torch.empty(3 * width, width))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.kaiming_uniform_(self.weight)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = functional.linear(x, self.weight).chunk(3, -1)
        return x + functional.scaled_dot_product_attention(query, key, value)


class Spectrum(nn.Module):
    """A filter in the frequency domain, which has no counter."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.fft.irfft(torch.fft.rfft(x, dim=1), n=x.shape[1], dim=1)


class Mixer(nn.Module):
    """Every kind of layer beside a width choice: (B, 8, 8) to (B, 10)."""

    def __init__(self, *more: nn.Module) -> None:
        super().__init__()
        self.embed = nn.Linear(8, 16)
        self.mix = ChoiceBlock(
            [
                nn.Linear(16, 16),
                Attention(16),
                nn.TransformerEncoderLayer(16, 4, 32, batch_first=True),
                nn.Sequential(Recurrent(16), nn.ReLU()),
                *more,
            ]
        )
        width = Choice("width", [8, 24])
        self.head = nn.Sequential(ElasticLinear(16, width), nn.ReLU(), ElasticLinear(width, 10))

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.head(self.mix(self.embed(x)).mean(1))
        return output


class Recurrent(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner = nn.GRU(width, width, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.inner(x)[0]
        return output


MIXED = {
    "linear": 8 * 16 * 16,
    "attention": 8 * 16 * 48 + 2 * 8 * 8 * 16,
    "encoder": 8 * 16 * 64 + 2 * 8 * 8 * 16 + 2 * 8 * 16 * 32,
    "gru": 8 * 2 * 48 * 16,
}


def test_attention_and_recurrent_layers_are_in_the_table_and_under_the_limit() -> None:
    supernet = Supernet(Mixer())
    table = cost.table(supernet, (8, 8), "macs")
    around = 8 * 8 * 16 + 8 * (16 + 10)
    matrix = supernet.space.enumerate_matrix()
    for architecture in supernet.space.architectures(matrix):
        direct = cost.macs(supernet, architecture, (8, 8))
        wider = 16 * 26 * (architecture["width"] == 24)
        assert direct == around + wider + list(MIXED.values())[architecture.indices[0]]
        assert table.cost(architecture) == direct
    limit = MaxMacs(around + MIXED["linear"]).bind(supernet, (8, 8))
    assert (limit.costs(matrix) <= limit.maximum).sum() == 1


def test_a_limit_on_what_cannot_be_counted_names_it() -> None:
    supernet = Supernet(Mixer(Spectrum()))
    needle = r"aten::_fft_r2c in .mix., aten::_fft_c2r in .mix.; limit parameters or latency"
    for use in (
        lambda: cost.table(supernet, (8, 8), "macs"),
        lambda: counter(supernet, (8, 8), "macs"),
        lambda: MaxMacs(10**9).bind(supernet, (8, 8)),
    ):
        with pytest.raises(ConfigurationError, match=needle) as error:
            use()
        assert "\n" not in str(error.value)
    assert MaxParams(10**9).bind(supernet, (8, 8)).table is not None
    found: dict[str, str] = {}
    costs, table = counter(supernet, (8, 8), "macs", on_uncounted=found.update)
    assert list(found) == ["aten::_fft_r2c", "aten::_fft_c2r"]
    matrix = supernet.space.enumerate_matrix()
    assert table is not None
    assert costs(matrix).tolist() == [
        cost.macs(supernet, architecture, (8, 8)) for architecture in supernet.space.architectures(matrix)
    ]
    spectral = supernet.space.parse("4,0")
    assert cost.architecture_cost(supernet, spectral, (8, 8)).uncounted == found


def test_without_a_table_too_what_cannot_be_counted_is_told_at_once() -> None:
    class TangledSpectrum(Tangled):
        def __init__(self) -> None:
            super().__init__()
            self.last = ChoiceBlock({"keep": nn.Identity(), "spectrum": Spectrum()})

        def forward(self, x: Tensor) -> Tensor:
            output: Tensor = self.last(super().forward(x))
            return output

    supernet = Supernet(TangledSpectrum())
    with pytest.raises(ConfigurationError, match="aten::_fft_r2c"):
        counter(supernet, (6, 4), "macs")


class Tied(nn.Module):
    """Two layers of one weight, at places that depend on these choices."""

    def __init__(self, *, first: bool, second: bool) -> None:
        super().__init__()
        layers = nn.Linear(8, 8, bias=False), nn.Linear(8, 8, bias=False)
        layers[1].weight = layers[0].weight
        wrapped = (
            ChoiceBlock({"layer": layer, "skip": nn.Identity()}) if is_chosen else layer
            for layer, is_chosen in zip(layers, (first, second), strict=True)
        )
        self.layers = nn.Sequential(*wrapped)
        self.width = ElasticLinear(8, Choice("width", [2, 3]))

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.width(self.layers(x))
        return output


@pytest.mark.parametrize(("first", "second"), [(False, False), (True, False), (False, True), (True, True)])
def test_parameters_of_tied_layers_are_those_of_the_network(first: bool, second: bool) -> None:
    supernet = Supernet(Tied(first=first, second=second))
    costs, _ = counter(supernet, (8,), "params")
    matrix = supernet.space.enumerate_matrix()
    direct = [cost.params(supernet, a) for a in supernet.space.architectures(matrix)]
    assert costs(matrix).tolist() == direct


class TwoHomes(nn.Module):
    """One layer that is a candidate of two blocks, in one of them beside a layer that shares its weight alone."""

    def __init__(self) -> None:
        super().__init__()
        shared, other = nn.Linear(8, 8), nn.Linear(8, 8)
        other.weight = shared.weight
        self.first = ChoiceBlock({"shared": shared, "other": other})
        self.second = ChoiceBlock({"shared": shared, "skip": nn.Identity()})

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.second(self.first(x))
        return output


@pytest.mark.parametrize("kind", ["params", "macs", "layers"])
def test_a_layer_in_two_blocks_is_counted_in_each_architecture(kind: str) -> None:
    supernet = Supernet(TwoHomes())
    with pytest.raises(SpaceError, match=r"0 is also (first|second)\.candidates\.0"):
        cost.table(supernet, (8,), kind)
    costs, _ = counter(supernet, (8,), kind)
    expected = {"params": [72, 72, 80, 72], "macs": [128, 64, 128, 64], "layers": [1, 1, 2, 1]}
    assert costs(supernet.space.enumerate_matrix()).tolist() == expected[kind]
