"""The candidates that are found account for every layer of every architecture."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from latency.networks import SHAPE, Blocks, Deep, Shared
from torch import Tensor, nn

from onepath import Choice, ChoiceBlock, ElasticConv2d, Supernet, cost, spaces
from onepath.cost import module_cost
from onepath.errors import ShapeError, SpaceError
from onepath.latency.splitting import Called, PartsError, find_layout, find_parts
from onepath.latency.table import Calibration, Entry, LatencyTable


def table_of_macs(supernet: Supernet, shape: tuple[int, ...]) -> LatencyTable:
    """A table whose entries are multiply-accumulates of the candidates that would be measured."""
    layout = find_layout(supernet, shape)
    entries = {
        key: Entry(module_cost(module, input_shape).macs, 0.0, 1)
        for key, input_shape, module in layout.modules(supernet)
    }
    space = {"name": "test", "arguments": {}, "fingerprint": supernet.space.fingerprint, "network": ""}
    return LatencyTable(
        entries, layout.constant, layout.terms, Calibration(), space, {"name": "none"}, shape, "macs"
    )


@pytest.mark.parametrize("module", [Shared, Deep, Blocks])
def test_sums_over_candidates_are_the_counts_of_whole_networks(module: type[nn.Module]) -> None:
    supernet = Supernet(module())
    matrix = supernet.space.enumerate_matrix()
    sums = table_of_macs(supernet, SHAPE).predict(supernet.space, matrix)
    counts = [cost.macs(supernet, one, SHAPE) for one in supernet.space.architectures(matrix)]
    np.testing.assert_array_equal(sums, counts)


def test_sums_of_shufflenet_are_its_multiply_accumulates() -> None:
    supernet = spaces.build("shufflenet", 10, input_size=16, width=0.25)
    table = table_of_macs(supernet, (3, 16, 16))
    # Four stages, each with a first block and equal others, four candidates each; stem, head and classifier.
    assert len(table.entries) == 4 * 2 * 4 + 3
    assert len(table.terms) == 20
    matrix = supernet.space.sample(5, np.random.default_rng(0))
    counts = cost.table(supernet, (3, 16, 16), "macs").costs(supernet.space, matrix)
    np.testing.assert_array_equal(table.predict(supernet.space, matrix), counts)


def test_parts_are_outermost_blocks_elastic_layers_and_what_is_fixed() -> None:
    parts = dict(find_parts(Supernet(Deep())))
    assert parts == {
        "stem": (),
        "stage.blocks.0": ("stage.blocks.0",),
        "stage.blocks.1": ("stage.blocks.1",),  # its choice is active where the depth reaches it
        "stage.blocks.2": ("stage.blocks.2",),
        "nested": ("nested", "nested.candidates.1"),
        "head": (),
    }


def test_keys_are_named_by_the_options() -> None:
    names = {key.split("-input")[0] for key in find_layout(Supernet(Deep()), SHAPE).shown}
    assert names == {"stem", "k1", "k3", "k5", "plain", "chosen/k1", "chosen/k3", "chosen/k5", "head"}


class Chained(nn.Module):
    """A fixed block whose input follows the width of the layer before it."""

    def __init__(self) -> None:
        super().__init__()
        self.first = ElasticConv2d(1, Choice("width", [4, 8]), 1)
        self.pool = ChoiceBlock({"max": nn.MaxPool2d(2), "average": nn.AvgPool2d(2)})

    def forward(self, x: Tensor) -> Tensor:
        means: Tensor = self.pool(self.first(x)).mean(dim=(1, 2, 3))
        return means


def test_a_part_whose_shape_follows_another_choice_is_an_error() -> None:
    with pytest.raises(SpaceError, match="shapes depend on their own choices alone"):
        find_layout(Supernet(Chained()), SHAPE)


class TwoInputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.width = ElasticConv2d(1, Choice("width", [1, 2]), 1)
        self.paired = Weighted()

    def forward(self, x: Tensor) -> Tensor:
        y = self.width(x)
        joined: Tensor = self.paired(y, y)
        return joined


class Weighted(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return x + self.scale * y


def test_a_fixed_part_of_two_inputs_is_left_to_the_intercept() -> None:
    layout = find_layout(Supernet(TwoInputs()), SHAPE)
    assert layout.constant == ()
    assert [term.choices for term in layout.terms] == [("width",)]


def test_a_part_with_choices_of_two_tensors_is_an_error() -> None:
    with pytest.raises(PartsError, match="block: a part with choices must take one tensor"):
        find_layout(Supernet(Paired()), SHAPE)


def test_a_wrong_shape_is_an_error() -> None:
    with pytest.raises(ShapeError, match="must accept inputs of shape 8x8x5"):
        find_layout(Supernet(Blocks()), (5, 8, 8))


class Paired(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.block = ChoiceBlock({"one": Weighted(), "other": Weighted()})

    def forward(self, x: Tensor) -> Tensor:
        joined: Tensor = self.block(x, x)
        return joined


class Scaled(nn.Module):
    """A width whose layer is called with a word and a number behind its input."""

    def __init__(self) -> None:
        super().__init__()
        width = Choice("width", [4, 8])
        self.first = ToldLayer(1, width, 3, padding=1)
        self.last = ElasticConv2d(width, 1, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        means: Tensor = self.last(self.first(x, "twice", factor=2.0)).mean(dim=(1, 2, 3))
        return means


class ToldLayer(ElasticConv2d):
    def forward(self, x: Tensor, how: str = "once", *, factor: float | None = None) -> Tensor:
        y = super().forward(x)
        return y * factor if how == "twice" and factor is not None else y

    def extracted(self, *, inherit: bool) -> nn.Module:
        return ToldPlain(super().extracted(inherit=inherit))


class ToldPlain(nn.Module):
    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor, how: str, *, factor: float) -> Tensor:
        return self.layer(x) * factor if how == "twice" else self.layer(x)


def test_plain_arguments_behind_the_input_are_given_again() -> None:
    layout = find_layout(Supernet(Scaled()), SHAPE)
    modules = {key: module for key, _, module in layout.modules(Supernet(Scaled()))}
    told = [module for module in modules.values() if isinstance(module, Called)]
    assert len(told) == 2
    x = torch.randn(2, *SHAPE)
    for module in told:
        inner: Any = module.module
        torch.testing.assert_close(module(x), 2 * inner.layer(x))
    assert sum("factor" in key for key in modules) == 2
