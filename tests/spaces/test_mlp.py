"""The space for tables: its size, its costs in closed form, and that parts agree with the whole."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from onepath import cost, spaces
from onepath.spaces.mlp import NUM_BLOCKS, WIDTHS


def closed_form(features: int, outputs: int, hidden: int, depth: int) -> tuple[int, int]:
    """MACs and parameters."""
    macs = features * hidden + depth * 2 * hidden * hidden + hidden * outputs
    return macs, macs + hidden + depth * 2 * hidden + outputs


def test_size_counts_activations_of_the_blocks_that_run() -> None:
    supernet = spaces.build("mlp", 3, in_channels=7)
    assert supernet.space.size == len(WIDTHS) * sum(3**depth for depth in range(NUM_BLOCKS + 1))


@pytest.mark.parametrize(("hidden", "depth"), [(64, 0), (128, 2), (256, 4)])
def test_costs_are_the_closed_form(hidden: int, depth: int) -> None:
    supernet = spaces.build("mlp", 3, in_channels=7)
    rows = supernet.space.sample(200, np.random.default_rng(0))
    found = next(
        (a for a in supernet.space.architectures(rows) if (a["hidden"], a["depth"]) == (hidden, depth)), None
    )
    assert found is not None
    assert (cost.macs(supernet, found, (7,)), cost.params(supernet, found)) == closed_form(
        7, 3, hidden, depth
    )


def test_an_extracted_network_computes_what_the_supernet_does() -> None:
    supernet = spaces.build("mlp", 2, in_channels=5, width=0.1)
    generator = torch.Generator().manual_seed(0)
    for parameter in supernet.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator)
    x = torch.randn(6, 5, generator=generator)
    for row in range(5):
        architecture = supernet.space.random(np.random.default_rng(row))
        assert torch.allclose(supernet(x, architecture), supernet.extract(architecture)(x), atol=1e-5)


def test_a_row_of_a_table_is_its_input() -> None:
    assert spaces.example_shape(spaces.build("mlp", 1, in_channels=9), 1, 9) == (9,)
