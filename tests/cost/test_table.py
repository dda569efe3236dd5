from __future__ import annotations

import numpy as np
import pytest
from nn.networks import EveryChoice
from torch import Tensor, nn

from onepath import cost, spaces
from onepath.cost import MaxMacs, MaxParams
from onepath.cost.constraint import counter
from onepath.errors import ConfigurationError, SpaceError
from onepath.nn import ChoiceBlock, ElasticLinear, Supernet
from onepath.space import Choice

SHAPE = (3, 16, 16)
FEWER = {"darts": {"cells": 3}}  # as many terms as with more cells, in less time
SUPERNETS = {
    **{
        name: spaces.build(name, num_classes=5, input_size=16, width=0.25, **FEWER.get(name, {}))
        for name in spaces.names()
    },
    "every-choice": Supernet(EveryChoice()),
}


@pytest.mark.parametrize("num", [15, pytest.param(100, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", ["macs", "params"])
@pytest.mark.parametrize("name", SUPERNETS)
def test_table_equals_the_direct_count_on_random_architectures(name: str, kind: str, num: int) -> None:
    supernet = SUPERNETS[name]
    shape = spaces.example_shape(supernet, 16, 3)
    table = cost.table(supernet, shape, kind)
    matrix = supernet.space.sample(num, np.random.default_rng(7))
    direct = [
        cost.macs(supernet, a, shape) if kind == "macs" else cost.params(supernet, a)
        for a in supernet.space.architectures(matrix)
    ]
    costs = table.costs(supernet.space, matrix)
    assert costs.dtype.kind == "i"
    assert costs.tolist() == direct


def test_params_are_those_of_the_network_that_is_trained() -> None:
    supernet = SUPERNETS["shufflenet"]
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
    supernet = SUPERNETS["shufflenet"]
    matrix = supernet.space.sample(20, np.random.default_rng(0))
    for constraint, name in ((MaxMacs(2_000_000), "max_macs"), (MaxParams(100_000), "max_params")):
        bound = constraint.bind(supernet, SHAPE)
        assert (bound.name, bound.maximum) == (name, constraint.maximum)
        assert bound.table is not None
        assert bound.costs(matrix).shape == (20,)
    with pytest.raises(ConfigurationError, match="max_macs > 0"):
        MaxMacs(0)
