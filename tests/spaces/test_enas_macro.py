"""ENAS's chain of layers with skip connections: the space, its notation, extraction and exact costs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from spaces.enas import largest_difference, measured_macs, randomised, touched
from torch import nn

import onepath as op
from onepath.errors import ConfigurationError, SpaceError
from onepath.nn import ChoiceBlock, Supernet
from onepath.spaces.chosen_concat import FixedConcat
from onepath.spaces.enas_macro import EnasMacro, FixedReductions, Reductions, SkipConcat
from onepath.spaces.enas_macro_notation import OPERATIONS, SKIPS, edge_name

SHAPE = (3, 16, 16)
TEXT = "conv_3x3 | sep_conv_5x5 | conv_5x5+1 | max_pool_3x3 | avg_pool_3x3+0+2 | sep_conv_3x3"  # 6 layers


@pytest.fixture(scope="module")
def small() -> Supernet:
    return op.spaces.build("enas-macro", 10, 16, channels=4, num_layers=6)


def test_size_of_the_space() -> None:
    with torch.device("meta"):
        space = Supernet(EnasMacro()).space
    assert space.size == 6**12 * 2**66
    assert space.num_choices == 12 + 66


def test_the_integers_of_the_released_code_are_the_option_indices(small: Supernet) -> None:
    """For each layer its operation, and then one integer for each node that it can skip from."""
    architecture = small.space.parse("0 3 0 2 0 1 5 0 0 0 4 1 0 1 0 1 0 0 0 0 0")
    assert small.space.format(architecture) == TEXT
    assert small.space.parse(TEXT) == architecture
    for drawn in small.space.architectures(small.space.sample(20, np.random.default_rng(0))):
        assert small.space.parse(small.space.format(drawn)) == drawn


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        (" | sep_conv_3x3", "", "has 6 layers, but the text has 5"),
        ("conv_5x5+1", "conv_5x5+2", "skip connections of layer 2 must come from nodes below 2"),
        ("max_pool_3x3", "conv_7x7", "conv_7x7"),
    ],
)
def test_other_texts_are_errors(small: Supernet, old: str, new: str, named: str) -> None:
    with pytest.raises(SpaceError, match=named):
        small.space.parse(TEXT.replace(old, new, 1))


def test_a_layer_joins_its_operation_with_the_nodes_it_skips_from(small: Supernet) -> None:
    model = small.extract(small.space.parse(TEXT))
    joined = [module for module in model.modules() if isinstance(module, FixedConcat)]
    assert [module.chosen for module in joined] == [(1,), (1, 2), (3,), (0, 2, 4), (5,)]
    assert [module.conv.in_channels for module in joined] == [4, 8, 4, 12, 4]


def test_a_node_is_halved_only_where_it_is_read_later(small: Supernet) -> None:
    """The reductions follow the layers 1 and 3; layer 4 skips from the nodes 0 and 2, and layer 2 from node 1."""
    model = small.extract(small.space.parse(TEXT))
    reductions = [module for module in model.modules() if isinstance(module, FixedReductions)]
    assert [module.numbers for module in reductions] == [(0, 1, 2), (0, 2, 4)]
    alone = small.extract(small.space.parse("conv_3x3 | " * 5 + "conv_3x3"))
    assert [m.numbers for m in alone.modules() if isinstance(m, FixedReductions)] == [(2,), (4,)]


def test_extracted_networks_compute_the_same() -> None:
    supernet = randomised(op.spaces.build("enas-macro", 10, 16, channels=4))
    x = torch.randn(2, *SHAPE)
    for architecture in supernet.space.architectures(supernet.space.sample(4, np.random.default_rng(1))):
        assert largest_difference(supernet, architecture, x) <= 1e-6
    model = supernet.extract(architecture)
    kinds = ChoiceBlock | SkipConcat | Reductions
    assert not any(isinstance(module, kinds) for module in model.modules())


def test_a_step_touches_the_path_alone(small: Supernet) -> None:
    architecture = small.space.parse(TEXT)
    found = touched(small, architecture, torch.randn(2, *SHAPE))
    for number, layer in enumerate(small.module.layers):  # type: ignore[union-attr, arg-type]
        chosen = architecture[edge_name(number, number + 1)]
        for name, candidate in zip(OPERATIONS, layer.operation.candidates, strict=True):  # type: ignore[union-attr]
            assert all((p.grad is not None) == (name == chosen) for p in candidate.parameters())
    halved = {name.split(".")[4] for name in found if name.startswith("module.reductions.4.")}
    assert halved == {"0", "2", "4"}


def test_equal_operations_at_equal_places_have_the_same_tensors(small: Supernet) -> None:
    x = torch.randn(2, *SHAPE)
    first = touched(small, small.space.parse(TEXT), x)
    second = touched(small, small.space.parse(TEXT.replace("max_pool_3x3", "conv_5x5")), x)
    changed = "module.layers.3.operation.candidates."
    assert {name for name in first if name not in second} == {n for n in first if n.startswith(changed)}
    assert all(first[name] is second[name] for name in first if name in second)


def test_a_path_costs_what_its_network_costs(small: Supernet) -> None:
    x = torch.randn(1, *SHAPE)
    tables = {kind: op.cost.table(small, SHAPE, kind) for kind in ("macs", "params", "layers", "size")}
    small.eval()
    for architecture in small.space.architectures(small.space.sample(4, np.random.default_rng(2))):
        model = small.extract(architecture, inherit=False).eval()
        macs = measured_macs(small, x, architecture)
        assert macs == measured_macs(model, x) == op.cost.macs(small, architecture, SHAPE)
        for kind, table in tables.items():
            assert table.cost(architecture) == op.cost.COSTS[kind].count(model, SHAPE).total, kind


def test_a_skip_connection_costs_one_slice_of_the_convolution(small: Supernet) -> None:
    """Node 1 to layer 2 is a map of 8x8 pixels with 4 channels, and node 1 must be halved to be read."""
    architecture = small.space.parse(TEXT)
    without = small.space.architecture(architecture.options | {edge_name(1, 3): SKIPS[0]})
    difference = op.cost.macs(small, architecture, SHAPE) - op.cost.macs(small, without, SHAPE)
    assert difference == 2 * 4 * 4 * 8 * 8
    params = op.cost.params(small, architecture) - op.cost.params(small, without)
    assert params == 2 * 4 * 4 + 2 * 4


@pytest.mark.parametrize("input_size", [4, 8, 30])
def test_small_and_odd_inputs(input_size: int) -> None:
    supernet = op.spaces.build("enas-macro", 10, input_size, in_channels=1, channels=4, num_layers=6)
    architecture = supernet.space.parse(TEXT)
    assert supernet(torch.randn(2, 1, input_size, input_size), architecture).shape == (2, 10)
    shape = (1, input_size, input_size + 5)
    assert op.cost.table(supernet, shape, "macs").cost(architecture) == op.cost.macs(
        supernet, architecture, shape
    )


def test_long_networks_are_counted_one_by_one() -> None:
    with torch.device("meta"):
        module = EnasMacro(channels=4, num_layers=27)
    assert module.cost_table(SHAPE, "macs") is None
    assert isinstance(module.classifier, nn.Linear)


def test_exported_network_computes_the_same(small: Supernet, tmp_path: Path) -> None:
    import onnxruntime

    model = small.extract(small.space.parse(TEXT)).eval()
    path = op.export_onnx(model, SHAPE, tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    x = torch.randn(2, *SHAPE)
    (found,) = session.run(None, {"input": x.numpy()})
    with torch.no_grad():
        assert np.abs(found - model(x).numpy()).max() <= 1e-5


def test_wrong_settings_are_errors() -> None:
    with pytest.raises(ConfigurationError, match="num_layers >= 3"):
        EnasMacro(num_layers=2)
    with pytest.raises(ConfigurationError, match="channels=5"):
        EnasMacro(channels=5)
