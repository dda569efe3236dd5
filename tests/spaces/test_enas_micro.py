"""ENAS's cells: the space, its notation, loose ends, weights shared by path, and exact costs."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from spaces.enas import largest_difference, measured_macs, randomised, touched
from torch import nn
from torch.nn import functional

import onepath as op
from onepath.counting import CostTable, CostTerm
from onepath.errors import ConfigurationError, SpaceError
from onepath.nn import ChoiceBlock, Gate, Supernet
from onepath.space import SearchSpace
from onepath.spaces.chosen_concat import FixedConcat
from onepath.spaces.enas_cell import Edge, LooseEnds
from onepath.spaces.enas_genotype import NODES, OPERATIONS, SIDES, input_name, loose_ends, operation_name
from onepath.spaces.enas_micro import EnasMicro, _num_loose_ends

# The cell of the released code's script for the final network, `scripts/cifar10_micro_final.sh`.
RELEASED = "0 2 0 0 0 4 0 1 0 4 1 1 1 0 0 1 0 2 1 1 1 0 1 0 0 3 0 2 1 1 3 1 1 0 0 4 0 3 1 1"
GENOTYPE = (
    "Genotype(normal=[('avg_pool_3x3', 0), ('sep_conv_3x3', 0), ('skip_connect', 0), ('sep_conv_5x5', 0), "
    "('skip_connect', 0), ('sep_conv_5x5', 1), ('sep_conv_3x3', 1), ('sep_conv_5x5', 0), ('avg_pool_3x3', 0), "
    "('sep_conv_5x5', 1)], normal_concat=[2, 3, 4, 5, 6], reduce=[('sep_conv_3x3', 1), ('sep_conv_3x3', 1), "
    "('max_pool_3x3', 0), ('avg_pool_3x3', 0), ('sep_conv_5x5', 1), ('sep_conv_5x5', 3), ('sep_conv_3x3', 1), "
    "('skip_connect', 0), ('max_pool_3x3', 0), ('sep_conv_5x5', 1)], reduce_concat=[2, 4, 5, 6])"
)
SHAPE = (3, 16, 16)


@pytest.fixture(scope="module")
def small() -> Supernet:
    return op.spaces.build("enas-micro", 10, 16, channels=4, cells=3)


def test_size_of_the_space(small: Supernet) -> None:
    cell = math.prod((block + 2) ** 2 * 25 for block in range(5))
    assert small.space.size == cell**2
    assert small.space.num_choices == 40
    with torch.device("meta"):
        assert Supernet(EnasMicro()).space.fingerprint == small.space.fingerprint


def test_the_released_integers_are_the_option_indices(small: Supernet) -> None:
    architecture = small.space.parse(RELEASED)
    assert architecture.indices == tuple(map(int, RELEASED.split()))
    assert small.space.format(architecture) == GENOTYPE
    assert small.space.parse(GENOTYPE) == architecture
    without_concat = GENOTYPE.replace(", normal_concat=[2, 3, 4, 5, 6]", "").replace(
        ", reduce_concat=[2, 4, 5, 6]", ""
    )
    assert small.space.parse(without_concat) == architecture
    assert small.space.parse(GENOTYPE.replace("[2, 3, 4, 5, 6]", "range(2, 7)")) == architecture


def test_the_notation_reads_what_it_writes(small: Supernet) -> None:
    for architecture in small.space.architectures(small.space.sample(20, np.random.default_rng(0))):
        assert small.space.parse(small.space.format(architecture)) == architecture
        form = small.space.standalone_form(architecture)
        assert small.space.standalone_form(form) == form
        assert op.cost.macs(small, form, SHAPE) == op.cost.macs(small, architecture, SHAPE)


def test_the_order_of_a_nodes_operations_is_one_stand_alone_network(small: Supernet) -> None:
    first = GENOTYPE.replace(
        "('avg_pool_3x3', 0), ('sep_conv_3x3', 0)", "('sep_conv_3x3', 0), ('avg_pool_3x3', 0)"
    )
    one, other = small.space.parse(first), small.space.parse(GENOTYPE)
    assert one != other
    assert small.space.standalone_form(one) == small.space.standalone_form(other)


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("('avg_pool_3x3', 0), ", "", "9 pairs in the normal cell"),
        ("('avg_pool_3x3', 0)", "('dil_conv_3x3', 0)", "dil_conv_3x3"),
        ("('avg_pool_3x3', 0)", "('avg_pool_3x3', 2)", "state 2 as an input of node 2 of the normal cell"),
        (
            "[2, 4, 5, 6]",
            "[2, 3, 4, 5, 6]",
            r"reduce_concat=\[2, 3, 4, 5, 6\] where the loose ends are \[2, 4",
        ),
    ],
)
def test_other_genotypes_are_errors(small: Supernet, old: str, new: str, named: str) -> None:
    with pytest.raises(SpaceError, match=named):
        small.space.parse(GENOTYPE.replace(old, new, 1))


def test_loose_ends_of_a_cell_made_by_hand(small: Supernet) -> None:
    """The chain 0 -> 2 -> 3 -> 4 leaves the input 1 and the nodes 4 to 6."""
    options = {choice.name: choice.options[0] for choice in small.space.choices}
    options |= {input_name("normal", 3, side): "2" for side in SIDES}
    options |= {input_name("normal", 4, side): "3" for side in SIDES}
    architecture = small.space.architecture(options)
    assert loose_ends({0, 2, 3}) == (1, 4, 5, 6)
    assert "normal_concat=[1, 4, 5, 6]" in small.space.format(architecture)
    model = small.extract(architecture)
    outputs = [module for module in model.modules() if isinstance(module, FixedConcat)]
    assert [output.chosen for output in outputs] == [(1, 4, 5, 6), (1, 2, 3, 4, 5, 6), (1, 2, 3, 4, 5, 6)]
    assert isinstance(outputs[0].conv, nn.Conv2d)
    assert (outputs[0].conv.in_channels, outputs[0].conv.out_channels) == (4 * 4, 4)


def test_joined_loose_ends_are_the_sum_of_one_convolution_for_each(small: Supernet) -> None:
    output = small.module.cells[0].output  # type: ignore[union-attr, index]
    assert isinstance(output, LooseEnds)
    small.eval().activate(small.space.parse(RELEASED))
    states = torch.randn(7, 2, 4, 8, 8)
    terms = [
        functional.conv2d(states[state].relu(), output.conv.weight[:, 4 * state : 4 * state + 4])
        for state in (2, 3, 4, 5, 6)
    ]
    assert torch.allclose(output(*states), output.norm(sum(terms)), atol=1e-5)


def test_with_gates_a_state_is_read_if_an_active_candidate_reads_it(small: Supernet) -> None:
    output = small.module.cells[0].output  # type: ignore[union-attr, index]
    small.activate(small.space.parse(RELEASED))
    small.activate({"normal.6.first.input": Gate.subset((0, 2, 4))})
    assert output.chosen() == (3, 5, 6)
    small.activate(small.space.parse(RELEASED))
    assert output.chosen() == (2, 3, 4, 5, 6)


def test_extracted_networks_compute_the_same() -> None:
    supernet = randomised(op.spaces.build("enas-micro", 10, 16, channels=4, cells=4))
    x = torch.randn(2, *SHAPE)
    for architecture in supernet.space.architectures(supernet.space.sample(4, np.random.default_rng(1))):
        assert largest_difference(supernet, architecture, x) <= 1e-6
    model = supernet.extract(architecture)
    assert not any(isinstance(module, ChoiceBlock | LooseEnds) for module in model.modules())


def test_a_step_touches_the_chosen_operations_alone(small: Supernet) -> None:
    architecture = small.space.parse(RELEASED)
    options = architecture.options
    found = touched(small, architecture, torch.randn(2, *SHAPE))
    for path, cell in small.module.cells.named_children():  # type: ignore[union-attr, operator]
        for number, node in zip(NODES, cell.nodes, strict=True):
            for side, block in zip(SIDES, node.sides, strict=True):
                source = int(options[input_name(cell.kind, number, side)])
                operation = OPERATIONS.index(str(options[operation_name(cell.kind, number, side)]))
                for edge, index in itertools.product(block.candidates, range(len(OPERATIONS))):
                    assert isinstance(edge, Edge)
                    is_chosen = (edge.source, index) == (source, operation)
                    for weight in edge.operation.candidates[index].parameters():  # type: ignore[union-attr, index]
                        assert (weight.grad is not None) == is_chosen, path
    assert "module.cells.0.output.conv.weight" in found


def test_equal_operations_at_equal_places_have_the_same_tensors(small: Supernet) -> None:
    """The two paths differ in the operation of one node, and in the state that another one reads."""
    options = small.space.parse(RELEASED).options
    operation, state = operation_name("normal", 2, "second"), input_name("normal", 4, "second")
    other = small.space.architecture(options | {operation: "sep_conv_5x5", state: "0"})
    x = torch.randn(2, *SHAPE)
    first, second = touched(small, small.space.parse(RELEASED), x), touched(small, other, x)
    changed = ("module.cells.0.nodes.0.sides.1.", "module.cells.0.nodes.2.sides.1.")
    assert {name for name in first if name not in second} == {n for n in first if n.startswith(changed)}
    common = set(first) & set(second)
    assert len(common) > 100
    assert all(first[name] is second[name] for name in common)


def test_a_path_costs_what_its_network_costs(small: Supernet) -> None:
    x = torch.randn(1, *SHAPE)
    tables = {kind: op.cost.table(small, SHAPE, kind) for kind in ("macs", "params", "layers", "size")}
    small.eval()
    for architecture in small.space.architectures(small.space.sample(3, np.random.default_rng(2))):
        model = small.extract(architecture, inherit=False).eval()
        macs = measured_macs(small, x, architecture)
        assert macs == measured_macs(model, x) == op.cost.macs(small, architecture, SHAPE)
        for kind, table in tables.items():
            assert table.cost(architecture) == op.cost.COSTS[kind].count(model, SHAPE).total, kind


@pytest.mark.parametrize("input_size", [4, 8, 30])
def test_small_and_odd_inputs(input_size: int) -> None:
    supernet = op.spaces.build("enas-micro", 10, input_size, in_channels=1, channels=4, cells=3)
    architecture = supernet.space.parse(RELEASED)
    assert supernet(torch.randn(2, 1, input_size, input_size), architecture).shape == (2, 10)
    shape = (1, input_size, input_size + 5)
    assert op.cost.table(supernet, shape, "macs").cost(architecture) == op.cost.macs(
        supernet, architecture, shape
    )


def test_loose_ends_are_counted_exactly(small: Supernet) -> None:
    """How many architectures have how many loose ends, against all joint options one by one."""
    found = _num_loose_ends()
    sizes = [node for node in NODES for _ in SIDES]
    rng = np.random.default_rng(3)
    for _ in range(100):
        inputs = [int(rng.integers(size)) for size in sizes]
        assert found[tuple(inputs)] == len(loose_ends(inputs))
    names = [input_name("normal", node, side) for node in NODES for side in SIDES]
    space = SearchSpace([choice for choice in small.space.choices if choice.name in names])
    sampler = space.window_sampler(CostTable(0, [CostTerm(names, found)]))
    counts = np.bincount(found.ravel()).tolist()
    assert [sampler.count(number, number) for number in range(len(counts))] == counts
    rows = sampler.sample(3, 3, 50, rng)
    assert all(len(loose_ends(row)) == 3 for row in rows.tolist())


def test_exported_network_computes_the_same(small: Supernet, tmp_path: Path) -> None:
    import onnxruntime

    model = small.extract(small.space.parse(RELEASED)).eval()
    path = op.export_onnx(model, SHAPE, tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    x = torch.randn(2, *SHAPE)
    (found,) = session.run(None, {"input": x.numpy()})
    with torch.no_grad():
        assert np.abs(found - model(x).numpy()).max() <= 1e-5


def test_wrong_settings_are_errors() -> None:
    with pytest.raises(ConfigurationError, match="cells >= 3"):
        EnasMicro(cells=2)
    with pytest.raises(ConfigurationError, match="channels=5"):
        EnasMicro(channels=5)
