"""Disjoint sets of labels."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from onepath.conversion.units import FIXED, Units, compact, spread, unite_joined


def sets(units: Units, labels: Tensor) -> list[int]:
    """The sets of labels, numbered in the order in which they are met."""
    numbers: dict[int, int] = {}
    return [numbers.setdefault(root, len(numbers)) for root in units.roots(labels).flatten().tolist()]


def test_labels_begin_as_sets_of_their_own() -> None:
    units = Units()
    first, second = units.new(3), units.new(2, 2)
    assert FIXED not in [*first.tolist(), *second.flatten().tolist()]
    assert sets(units, torch.cat([first, second.flatten()])) == list(range(7))
    assert units.num == 8


def test_united_labels_are_one_set_whatever_the_order() -> None:
    units = Units()
    labels = units.new(6)
    units.unite(labels[:2], labels[2:4])
    assert sets(units, labels) == [0, 1, 0, 1, 2, 3]
    units.unite(labels[3:5], labels[4:6])
    assert sets(units, labels) == [0, 1, 0, 1, 1, 1]
    units.unite(labels[:1], labels[5:])
    assert sets(units, labels) == [0] * 6


def test_a_chain_that_is_united_at_once() -> None:
    units = Units()
    labels = units.new(100)
    units.unite(labels[:-1], labels[1:])
    assert len(units.roots(labels).unique()) == 1


def test_random_unions_agree_with_a_plain_search() -> None:
    generator = torch.Generator().manual_seed(0)
    units, parents = Units(), list(range(41))
    labels = units.new(40)

    def find(label: int) -> int:
        while parents[label] != label:
            label = parents[label]
        return label

    for _ in range(12):
        one, two = (labels[torch.randint(40, (3,), generator=generator)] for _ in range(2))
        units.unite(one, two)
        for a, b in zip(one.tolist(), two.tolist(), strict=True):
            parents[find(a)] = find(b)
        same = units.roots(labels)[:, None] == units.roots(labels)[None]
        expected = torch.tensor([[find(a) == find(b) for b in range(1, 41)] for a in range(1, 41)])
        assert torch.equal(same, expected)


def test_what_is_fixed_unites_with_nothing() -> None:
    units = Units()
    labels = units.new(2)
    fixed = torch.zeros(2, dtype=torch.int64)
    units.unite(labels, fixed)
    units.unite(fixed, fixed)
    assert sets(units, labels) == [0, 1]
    assert units.merged == []


def test_broadcast_labels_are_united_without_their_repetitions() -> None:
    units = Units()
    channels, others = units.new(4), units.new(4)
    wide = (2, 4, 500, 500)
    units.unite(spread(channels, torch.Size(wide), 1), spread(others, torch.Size(wide), 1))
    assert sets(units, torch.cat([channels, others])) == [0, 1, 2, 3] * 2
    small = compact(spread(channels, torch.Size(wide), 1))[0]
    assert small.shape == (1, 4, 1, 1)


def test_varying_and_the_labels_along_a_dimension() -> None:
    units = Units()
    labels = units.new(3)
    image = spread(labels, torch.Size((2, 3, 4)), 1)
    assert [units.varies(image, dim) for dim in range(3)] == [False, True, False]
    assert units.varies(image.contiguous(), 1)
    assert not units.varies(image.contiguous(), 2)
    assert torch.equal(units.along(image, 1), labels)
    rows = units.new(2, 3)
    assert torch.equal(units.roots(units.along(rows, 1)), units.roots(rows[0]))
    assert torch.equal(units.roots(rows[0]), units.roots(rows[1]))
    half = torch.stack([labels, torch.zeros_like(labels)])
    assert not units.varies(half, 0)  # what is fixed may be anything
    assert torch.equal(units.along(half, 1), labels)


def test_the_first_reason_for_freezing_stays_and_moves_with_the_set() -> None:
    units = Units()
    labels = units.new(3)
    units.freeze(labels[:1], "first")
    units.freeze(labels[:2], "second")
    units.freeze(torch.zeros(1, dtype=torch.int64), "never")
    assert units.reasons() == {int(labels[0]): "first", int(labels[1]): "second"}
    units.unite(labels[:1], labels[2:])
    (root,) = units.roots(labels[2:]).tolist()
    assert units.reasons()[root] == "first"


def test_a_copy_is_apart() -> None:
    units = Units()
    labels = units.new(2)
    other = units.copied()
    other.unite(labels[:1], labels[1:])
    other.freeze(labels, "why")
    assert sets(units, labels) == [0, 1]
    assert units.reasons() == {}


@pytest.mark.parametrize("swapped", [False, True])
def test_one_value_beside_several_units_is_of_none(swapped: bool) -> None:
    units = Units()
    heads, mask = units.new(3), units.new(4, 4)
    shape = torch.Size((3, 4, 4))
    pair = [(spread(heads, shape, 0), shape), (mask.expand(shape), mask.shape)]
    joined = unite_joined(units, *(reversed(pair) if swapped else pair))
    assert torch.equal(joined[0], pair[0][0])
    assert len(units.roots(torch.cat([heads, mask.flatten()])).unique()) == 19


def test_one_value_beside_one_unit_is_of_it() -> None:
    units = Units()
    heads, table = units.new(3), units.new(3, 4, 4)
    shape = torch.Size((3, 4, 4))
    unite_joined(units, (spread(heads, shape, 0), shape), (table, shape))
    assert sets(units, heads) == [0, 1, 2]
    assert all(len(units.roots(table[head]).unique()) == 1 for head in range(3))


def test_what_is_fixed_takes_the_label_beside_it() -> None:
    units = Units()
    labels = units.new(4)
    half = labels.clone()
    half[2:] = FIXED
    joined, shape = unite_joined(units, (half, half.shape), (labels, labels.shape))
    assert torch.equal(joined, labels)
    assert shape == (4,)


def test_nothing_varies_in_an_empty_result() -> None:
    """A network may find nothing in the example, such as no boxes."""
    units = Units()
    units.new(4)
    assert not any(units.varies(torch.empty(0, 4, dtype=torch.int64), dim) for dim in (0, 1))
