"""DARTS's networks: published parameters, notation, and the search network."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import onepath as op
from onepath.errors import ConfigurationError, SpaceError
from onepath.nn import Supernet
from onepath.nn.edge_sum import FixedSum, dropped
from onepath.nn.frozen_statistics import frozen_statistics
from onepath.nn.relaxations import SoftmaxRelaxation, derive
from onepath.spaces.darts import Darts
from onepath.spaces.darts_operations import FactorizedReduce, Memory, Pooling, SharedReLU

DARTS_V2 = (
    "Genotype(normal=[('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0), ('sep_conv_3x3', 1), "
    "('sep_conv_3x3', 1), ('skip_connect', 0), ('skip_connect', 0), ('dil_conv_3x3', 2)], "
    "normal_concat=[2, 3, 4, 5], reduce=[('max_pool_3x3', 0), ('max_pool_3x3', 1), ('skip_connect', 2), "
    "('max_pool_3x3', 1), ('max_pool_3x3', 0), ('skip_connect', 2), ('skip_connect', 2), ('max_pool_3x3', 1)], "
    "reduce_concat=[2, 3, 4, 5])"
)


def on_meta(**arguments: int | float) -> Supernet:
    with torch.device("meta"):
        return Supernet(Darts(**arguments))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def small() -> Supernet:
    return op.spaces.build("darts", 10, 16, channels=4, cells=3)


@pytest.mark.parametrize(
    ("arguments", "num_params"),
    [
        ({"num_classes": 10, "input_size": 32, "channels": 36, "cells": 20}, 3_349_342),
        ({"num_classes": 1000, "input_size": 224, "channels": 48, "cells": 14}, 4_718_752),
    ],
)
def test_published_parameters_of_darts_v2(arguments: dict[str, int], num_params: int) -> None:
    supernet = on_meta(**arguments)
    architecture = supernet.space.parse(DARTS_V2)
    assert op.cost.params(supernet, architecture) == num_params


def test_genotypes_of_the_space(small: Supernet) -> None:
    space = small.space
    assert space.size == (180 * 7**8) ** 2
    assert space.size == on_meta().space.size
    found = space.parse(DARTS_V2)
    text = space.format(found)
    assert text.startswith("Genotype(normal=[('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ")
    assert "normal_concat=range(2, 6)" in text
    assert space.parse(text) == found
    for architecture in space.architectures(space.sample(20, np.random.default_rng(0))):
        assert space.parse(space.format(architecture)) == architecture


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("('sep_conv_3x3', 0), ", "", "7 edges"),
        ("('dil_conv_3x3', 2)", "('conv_7x1_1x7', 2)", "conv_7x1_1x7"),
        ("('dil_conv_3x3', 2)", "('dil_conv_3x3', 0)", r"\[0, 0\] into node 5"),
        ("('dil_conv_3x3', 2)", "('dil_conv_3x3', 5)", r"\[0, 5\] into node 5"),
        ("normal_concat=[2, 3, 4, 5]", "normal_concat=[4, 5]", "normal_concat"),
    ],
)
def test_other_genotypes_are_errors(small: Supernet, old: str, new: str, named: str) -> None:
    with pytest.raises(SpaceError, match=named):
        small.space.parse(DARTS_V2.replace(old, new, 1))


def test_search_network() -> None:
    supernet = on_meta()
    assert sum(p.numel() for p in supernet.parameters()) == 1_930_618  # what the released search prints
    relaxation = SoftmaxRelaxation(supernet)
    assert len(relaxation.names) == 28
    assert {len(names) for names in relaxation.candidates} == {8}


def test_extracted_networks_compute_the_same(small: Supernet) -> None:
    x = torch.randn(2, 3, 16, 16)
    small.eval()
    for architecture in small.space.architectures(small.space.sample(3, np.random.default_rng(1))):
        model = small.extract(architecture)
        with torch.no_grad():
            assert torch.allclose(model(x), small(x, architecture), atol=1e-5)


def test_standalone_networks_are_plain(small: Supernet) -> None:
    model = small.extract(small.space.parse(DARTS_V2), inherit=False)
    assert not any(isinstance(m, SharedReLU) for m in model.modules())
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    assert all(m.affine for m in norms)
    sums = [m for m in model.modules() if isinstance(m, FixedSum)]
    assert any(isinstance(edge, nn.MaxPool2d) for m in sums for edge in m.children())


def test_one_relu_serves_all_operations_on_a_state(small: Supernet) -> None:
    """Equal values and gradients with and without the memory."""
    cell = small.module.cells[0]  # type: ignore[union-attr, index]
    relaxation = SoftmaxRelaxation(small, deviation=0.3)
    small.train()
    s0, s1 = torch.randn(2, 12, 16, 16), torch.randn(2, 12, 16, 16)
    results = []
    for function in (cell.forward, cell._compute):
        cell.zero_grad()
        small.activate(relaxation.architecture_path(np.random.default_rng(0), 0.0))
        y = function(s0, s1)
        y.square().sum().backward()
        results.append((y.detach(), [p.grad.clone() for p in cell.parameters() if p.grad is not None]))
    assert torch.allclose(results[0][0], results[1][0], atol=1e-6)
    for ours, plain in zip(results[0][1], results[1][1], strict=True):
        assert torch.allclose(ours, plain, rtol=1e-3, atol=1e-4)


def test_one_pooling_serves_all_edges_from_a_state() -> None:
    """Values, gradients and each edge's running statistics are those of edges that pool for themselves."""
    memory = Memory()
    shared = [Pooling("max", 4, 1, memory) for _ in range(2)]
    alone = [Pooling("max", 4, 1, Memory()) for _ in range(2)]
    shared[1].norm.running_mean = torch.ones(4)
    alone[1].norm.running_mean = torch.ones(4)
    runs: list[nn.Module] = []
    for pooling in shared:
        pooling.pool.register_forward_hook(lambda pool, *_: runs.append(pool))
    states = torch.randn(2, 3, 4, 5, 5, generator=torch.Generator().manual_seed(0))
    gradients = []
    for pools in (shared, alone):
        x = states.clone().requires_grad_()
        first, second = x
        with memory.open():
            y = 0.3 * pools[0](first) + 2 * pools[1](first) + pools[0](second)
        y.square().sum().backward()
        gradients.append(x.grad)
    assert len(runs) == 2
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-4, atol=1e-4)
    for one, other in zip(shared, alone, strict=True):
        for name, buffer in one.norm.named_buffers():
            torch.testing.assert_close(buffer, dict(other.norm.named_buffers())[name], rtol=1e-6, atol=1e-6)


def test_derived_genotype_keeps_the_strongest_edges(small: Supernet) -> None:
    relaxation = SoftmaxRelaxation(small)
    with torch.no_grad():
        for name, p in zip(relaxation.names, relaxation.logits, strict=True):
            p.zero_()
            if name in ("normal.1->4", "normal.3->4"):
                p[4] = 2.0
            if name == "normal.0->4":
                p[7] = 5.0  # none
    found = derive(relaxation)
    assert found["normal.4"] == "1,3"
    assert found["normal.1->4"] == found["normal.3->4"] == "sep_conv_5x5"
    assert found["normal.5"] == "0,1"


def test_auxiliary_classifier_and_drop_path() -> None:
    supernet = op.spaces.build("darts", 10, 32, channels=4, cells=3, auxiliary_weight=0.4, drop_path=0.2)
    architecture = supernet.space.parse(DARTS_V2)
    x = torch.randn(2, 3, 32, 32)
    supernet(x, architecture)
    assert supernet.module.auxiliary_outputs is None
    model = supernet.extract(architecture, inherit=False)
    assert isinstance(model, Darts)
    model.set_progress(0.5)
    assert {m.drop_path for m in model.modules() if isinstance(m, FixedSum)} == {0.1}
    model(x)
    assert model.auxiliary_outputs is not None
    assert model.auxiliary_outputs.shape == (2, 10)
    model.eval()
    model(x)
    assert model.auxiliary_outputs is None


def test_dropped_examples() -> None:
    torch.manual_seed(0)
    y = dropped(torch.ones(1000, 2, 1, 1), 0.2)
    assert set(y.unique().tolist()) == {0.0, 1.25}
    assert y.mean() == pytest.approx(1.0, abs=0.06)
    assert torch.equal(y[:, 0], y[:, 1])


def test_odd_sides_are_halved_upwards() -> None:
    assert FactorizedReduce(4, 8, nn.ReLU())(torch.randn(1, 4, 7, 5)).shape == (1, 8, 4, 3)


@pytest.mark.parametrize("input_size", [4, 8, 30])
def test_small_and_odd_inputs(input_size: int) -> None:
    supernet = op.spaces.build("darts", 10, input_size, in_channels=1, channels=4, cells=3)
    x = torch.randn(2, 1, input_size, input_size)
    assert supernet(x, supernet.space.parse(DARTS_V2)).shape == (2, 10)


def test_wrong_settings_are_errors() -> None:
    with pytest.raises(ConfigurationError, match="cells >= 3"):
        Darts(cells=2)
    with pytest.raises(ConfigurationError, match="channels"):
        Darts(channels=5)


def test_poolings_train_in_double_precision() -> None:
    x = torch.rand((2, 4, 6, 6), generator=torch.Generator().manual_seed(0))
    single, double = (Pooling("avg", 4, 1, Memory()) for _ in range(2))
    double.double()
    y = double(x.double())
    assert y.dtype == torch.float64
    assert torch.allclose(single(x).double(), y, atol=1e-5)
    assert double.norm.running_var is not None
    exact = double.pool(x.double()).var((0, 2, 3))
    assert torch.allclose(double.norm.running_var, 0.9 + 0.1 * exact, atol=1e-12)
    with frozen_statistics(double):
        assert double(x.double()).dtype == torch.float64
