"""Which blocks can be left out."""

from __future__ import annotations

import pytest
import torch
from conversion import networks
from torch import Tensor, nn

import onepath as op
from onepath.conversion.blocks import depths_of, removable_runs
from onepath.conversion.kernels import kernels_of
from onepath.conversion.tracing import trace_passes


def runs(model: nn.Module, x: Tensor) -> list[tuple[str, list[str]]]:
    traced = trace_passes(model.eval(), (x,))
    return removable_runs(traced.trace, model, traced.calls)


class Through(networks.Images):
    """Images through blocks that are given."""

    def __init__(self, blocks: nn.Module, times: int = 1) -> None:
        super().__init__()
        self.blocks, self.times = blocks, times

    def body(self, x: Tensor) -> Tensor:
        for _ in range(self.times):
            x = self.blocks(x)
        return x


def image_runs(blocks: nn.Module, times: int = 1) -> list[tuple[str, list[str]]]:
    return runs(Through(blocks, times), torch.randn(1, 3, 8, 8))


def test_blocks_that_keep_the_shape_are_found_in_rows() -> None:
    assert runs(networks.Residual(), torch.randn(1, 3, 8, 8)) == [
        ("stage1", ["stage1.0", "stage1.1", "stage1.2"]),
        ("stage2", ["stage2.1"]),
    ]


@pytest.mark.parametrize(
    ("num", "depths"), [(1, (0, 1)), (2, (1, 2)), (3, (1, 2, 3)), (12, tuple(range(6, 13)))]
)
def test_half_of_a_row_stays(num: int, depths: tuple[int, ...]) -> None:
    assert depths_of(num) == depths


class Wrapped(nn.Module):
    """A residual around other modules, in one of several ways."""

    def __init__(self, inner: nn.Module, how: str) -> None:
        super().__init__()
        self.inner, self.how = inner, how

    def forward(self, x: Tensor) -> Tensor:
        y = self.inner(x)
        if self.how == "in place":
            y += x
            return y
        if self.how == "flat":
            return (x.flatten(2) + y.flatten(2)).reshape(x.shape)
        if self.how == "activated":
            return torch.relu(x + y)
        if self.how == "scaled":
            return x + 0.1 * y
        if self.how == "gate":
            return x * y.sigmoid()
        if self.how == "twice":
            return x + x
        return y


@pytest.mark.parametrize(
    ("how", "is_removable"),
    [
        ("in place", True),
        ("flat", True),
        ("activated", True),
        ("scaled", True),
        ("gate", False),
        ("twice", False),
        ("none", False),
    ],
)
def test_what_counts_as_residual(how: str, is_removable: bool) -> None:
    blocks = nn.Sequential(*(Wrapped(nn.Conv2d(16, 16, 3, padding=1), how) for _ in range(2)))
    expected = [("blocks", ["blocks.0", "blocks.1"])] if is_removable else []
    assert image_runs(blocks) == expected


def test_blocks_without_weights_and_with_other_channels_stay() -> None:
    assert image_runs(nn.Sequential(Wrapped(nn.ReLU(), "scaled"))) == []
    assert image_runs(nn.Sequential(nn.Conv2d(16, 16, 1), nn.BatchNorm2d(16))) == []


def test_a_block_that_runs_twice_stays() -> None:
    assert image_runs(nn.Sequential(Wrapped(nn.Conv2d(16, 16, 1), "scaled")), times=2) == []


def test_the_innermost_blocks_count() -> None:
    inner = nn.Sequential(*(Wrapped(nn.Conv2d(16, 16, 1), "scaled") for _ in range(2)))
    assert image_runs(nn.Sequential(Wrapped(inner, "activated"))) == [
        ("blocks.0.inner", ["blocks.0.inner.0", "blocks.0.inner.1"])
    ]


def test_a_row_is_broken_by_what_is_between() -> None:
    block = [Wrapped(nn.Conv2d(16, 16, 1), "scaled") for _ in range(3)]
    blocks = nn.Sequential(block[0], block[1], nn.AvgPool2d(2), block[2])
    assert image_runs(blocks) == [("blocks", ["blocks.0", "blocks.1"]), ("blocks", ["blocks.3"])]
    supernet = op.convert(Through(blocks), torch.randn(1, 3, 8, 8))
    names = {choice.name: choice.options for choice in supernet.space.choices}
    assert names["blocks.depth"] == (1, 2)
    assert names["blocks.depth2"] == (0, 1)


@pytest.mark.parametrize(
    ("module", "sides"),
    [
        (nn.Conv2d(8, 8, 5, padding=2, groups=8), (3, 5)),
        (nn.Conv2d(8, 8, 9, padding=4, groups=8), (5, 7, 9)),
        (nn.Conv2d(8, 8, 5, padding=1, groups=8), (3, 5)),
        (nn.Conv2d(8, 8, 7, padding=1, groups=8), (5, 7)),
        (nn.Conv2d(8, 8, 5, groups=8), (5,)),
        (nn.Conv2d(8, 8, 5, padding=1, dilation=2, groups=8), (5,)),
        (nn.Conv2d(8, 8, 5, padding=4, dilation=2, groups=8), (3, 5)),
        (nn.Conv2d(8, 8, 4, padding=2, groups=8), (4,)),
        (nn.Conv2d(8, 8, 5, padding="same", groups=8), (3, 5)),
        (nn.Conv2d(8, 8, 5, padding="valid", groups=8), ()),
        (nn.Conv2d(8, 8, (3, 5), padding=2, groups=8), ()),
        (nn.Conv2d(8, 8, 5, padding=2, groups=4), ()),
        (nn.Conv2d(8, 8, 5, padding=2), ()),
        (nn.Conv2d(8, 8, 5, padding=2, groups=8, padding_mode="reflect"), ()),
        (nn.Conv1d(8, 8, 7, padding=3, groups=8), (3, 5, 7)),
        (nn.Linear(8, 8), ()),
    ],
)
def test_which_kernels_can_be_smaller(module: nn.Module, sides: tuple[int, ...]) -> None:
    found = kernels_of(module)
    assert found == sides or max(len(sides), len(found)) < 2
