from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from onepath import cost, spaces
from onepath.errors import ConfigurationError, SpaceError
from onepath.nn.alignment import align_candidates, widest_path
from onepath.spaces.nasbench201 import OPERATIONS, Cell, canonical_cell, is_connected

SHAPE = (3, 32, 32)
TEXT = "|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|nor_conv_1x1~0|skip_connect~1|none~2|"


@pytest.fixture(scope="module")
def paper():
    return spaces.build("nasbench201", num_classes=10)


@pytest.fixture(scope="module")
def table(paper, shared_data: Path) -> dict[str, list]:
    import pyarrow.parquet as pq

    columns = pq.read_table(shared_data / "nasbench201_cifar10.parquet").to_pydict()
    columns["parsed"] = [paper.space.parse(text) for text in columns["architecture"]]
    columns["macs"] = [
        round(1e6 * millions) - other_than_multiplications(text)
        for millions, text in zip(columns["macs_millions"], columns["architecture"], strict=True)
    ]
    return columns


def other_than_multiplications(text: str) -> int:
    """What the table's column counts beside convolutions and the linear layer.

    3 for every normalised number, the kernel's area for every average, 1,088 in the head.
    """
    small, middle, large = (channels * size**2 for channels, size in ((64, 8), (32, 16), (16, 32)))
    edge = 5 * (small + middle + large)
    normalised = edge * text.count("conv") + large + 2 * middle + 3 * small
    averaged = 9 * edge * text.count("avg_pool") + 4 * (16 * 16**2 + 32 * 8**2)
    return 3 * normalised + averaged + 1088


def test_every_row_has_the_published_costs(paper, table) -> None:
    matrix = paper.space.matrix(table["parsed"])
    assert len(np.unique(matrix, axis=0)) == paper.space.size == 15_625
    for kind in ("macs", "params"):
        costs = cost.table(paper, SHAPE, kind).costs(paper.space, matrix)
        assert costs.tolist() == table[kind]
        assert len(np.unique(costs)) == 28


def check_counts(supernet, table, rows) -> None:
    for row in rows:
        assert cost.macs(supernet, table["parsed"][row], SHAPE) == table["macs"][row]
        assert cost.params(supernet, table["parsed"][row]) == table["params"][row]


def test_networks_themselves_have_the_published_costs(paper, table) -> None:
    disconnected = next(row for row, cell in enumerate(table["parsed"]) if not is_connected(cell))
    extremes = [np.argmin(table["macs"]), np.argmax(table["macs"]), disconnected]
    check_counts(paper, table, [*np.random.default_rng(0).choice(15_625, 7, replace=False), *extremes])


@pytest.mark.slow
def test_300_networks_themselves_have_the_published_costs(paper, table) -> None:
    check_counts(paper, table, np.random.default_rng(1).choice(15_625, 300, replace=False))


def test_disconnected_cells_are_those_that_learned_nothing(table) -> None:
    connected = [is_connected(cell) for cell in table["parsed"]]
    assert connected.count(False) == 341
    assert connected == [accuracy > 10.001 for accuracy in table["test_accuracy"]]


def test_canonical_cells_are_the_published_ones(table) -> None:
    forms = [canonical_cell(cell) for cell in table["parsed"]]
    assert len(set(forms)) == 6466
    assert forms == table["canonical"]


def test_published_strings(paper) -> None:
    cell = paper.space.parse(TEXT)
    assert cell.indices == (4, 2, 1, 2, 1, 0)
    assert cell.options["1->3"] == "skip_connect"
    assert paper.space.format(cell) == TEXT
    assert paper.space.names == ("0->1", "0->2", "1->2", "0->3", "1->3", "2->3")
    with pytest.raises(SpaceError, match="did you mean 'nor_conv_3x3'"):
        paper.space.parse(TEXT.replace("none", "nor_conv_3"))
    with pytest.raises(SpaceError, match="a text like"):
        paper.space.parse(TEXT[:-1])


def test_the_six_choices_are_shared_by_all_cells(paper) -> None:
    cells = [module for module in paper.module.modules() if isinstance(module, Cell)]
    assert len(cells) == 15
    for edge in range(6):
        assert len({cell.edges[edge].choice for cell in cells}) == 1


def test_a_cell_sums_its_edges() -> None:
    supernet = spaces.build("nasbench201", num_classes=3, width=0.5, num_cells=1).eval()
    supernet.activate(supernet.space.parse(TEXT))
    cell = supernet.module.stages[0][0]
    x = torch.randn(2, 8, 6, 6)
    pool = nn.AvgPool2d(3, 1, 1, count_include_pad=False)
    to_two, to_three = (cell.edges[edge].candidates[OPERATIONS.index("nor_conv_1x1")] for edge in (1, 3))
    with torch.no_grad():
        one = pool(x)
        assert torch.allclose(cell(x), to_three(x) + one, atol=1e-6)
        supernet.activate(supernet.space.parse(TEXT.replace("none", "skip_connect")))
        assert torch.allclose(cell(x), to_three(x) + one + (to_two(x) + one), atol=1e-6)


def test_a_disconnected_network_ignores_its_input() -> None:
    supernet = spaces.build("nasbench201", num_classes=3, width=0.25, num_cells=1).eval()
    dead = supernet.space.parse("|nor_conv_3x3~0|+|nor_conv_3x3~0|none~1|+|none~0|none~1|none~2|")
    with torch.no_grad():
        logits = supernet(torch.randn(4, 3, 32, 32), dead)
    assert torch.equal(logits, logits[:1].expand(4, -1))


def test_training_starts_from_convolutions_that_the_small_ones_take_over() -> None:
    supernet = spaces.build("nasbench201", num_classes=3, width=0.25, num_cells=1)
    start = widest_path(supernet)
    assert set(start.options.values()) == {"nor_conv_3x3"}
    align_candidates(supernet, start)
    _, _, small, large, _ = supernet.module.stages[1][0].edges[2].candidates
    assert torch.equal(small[1].weight, large[1].weight[..., 1:2, 1:2])


@pytest.mark.parametrize(("input_size", "last"), [(32, 8), (28, 7), (16, 4), (15, 4), (8, 4), (4, 4)])
def test_small_inputs_give_up_strides(input_size: int, last: int) -> None:
    supernet = spaces.build("nasbench201", 3, input_size=input_size, in_channels=1, width=0.25, num_cells=1)
    sizes = []
    supernet.module.head[0].register_forward_hook(lambda _m, inputs, _o: sizes.append(inputs[0].shape[-1]))
    supernet(torch.randn(2, 1, input_size, input_size), supernet.space.parse("1,1,1,1,1,1"))
    assert sizes == [last]


def test_wrong_arguments_are_one_line() -> None:
    for arguments, message in (
        ({"num_cells": 0}, "num_cells .* from 1"),
        ({"input_size": 3}, "input_size >= 4"),
    ):
        with pytest.raises(ConfigurationError, match=message) as error:
            spaces.build("nasbench201", num_classes=10, **arguments)
        assert "\n" not in str(error.value)
