"""Bounds in buckets enclose exact counts, at the list, one layer before it, and in wider buckets."""

from __future__ import annotations

from unittest.mock import patch

import numpy as np
import pytest
from counting.tables import conditional_space, conditional_table

from onepath.counting import bounds
from onepath.counting.bounds import Level, coarser, level_before, list_level, widened
from onepath.counting.sums import PathList
from onepath.space.layers import build_layers, num_paths

LAYERS = build_layers(conditional_space(), conditional_table("int"))
CUT = len(LAYERS) - 1
WINDOW = (0, 60)
REACH = (-80, 160)


def exact(layer: int, window: tuple[int, int]) -> np.ndarray:
    """(states, sums of REACH): how many paths from a state of a layer complete a sum into the window."""
    listed = PathList(LAYERS[layer:], to_end=True).sums
    sums = np.arange(REACH[0], REACH[1] + 1)
    rows = []
    for state in range(len(num_paths(LAYERS)[layer])):
        states = np.full(len(sums), state)
        rows.append(listed.position(states, window[1] - sums) - listed.position(states, window[0] - 1 - sums))
    return np.array(rows)


def bound_at(level: Level) -> np.ndarray:
    """(states, sums of REACH): the bounds that a level has."""
    sums = np.arange(REACH[0], REACH[1] + 1)
    return np.array([level.at(np.full(len(sums), state), sums) for state in range(len(level.bound))])


def is_bound(level: Level, layer: int, upper: bool) -> bool:
    difference = bound_at(level).astype(float) - exact(layer, WINDOW)
    return bool((difference >= 0).all() if upper else (difference <= 0).all())


def at_the_list(shift: int, upper: bool) -> Level:
    return list_level(PathList(LAYERS[CUT:], to_end=True).sums, REACH, WINDOW, shift, upper=upper)


@pytest.mark.parametrize("upper", [True, False])
@pytest.mark.parametrize("shift", [0, 1, 3, 5])
def test_the_list_bounds_its_own_counts(shift: int, upper: bool) -> None:
    level = at_the_list(shift, upper)
    assert level.width == 2**shift
    assert is_bound(level, CUT, upper)
    if shift == 0:
        assert (bound_at(level) == exact(CUT, WINDOW)).all()


def test_outside_of_the_reach_there_is_nothing() -> None:
    level = at_the_list(2, True)
    far = np.array([REACH[0] - 1000, REACH[1] + 1000])
    assert level.at(np.zeros(2, dtype=int), far).tolist() == [0, 0]
    assert Level(0, 0, np.array([[0, 7, 0]])).at(None, np.array([-1, 0, 1])).tolist() == [0, 7, 0]


@pytest.mark.parametrize("upper", [True, False])
@pytest.mark.parametrize("shift", [0, 2, 4])
@pytest.mark.parametrize("block", [7, 2**16])
def test_a_layer_earlier_bounds_stay_bounds(shift: int, upper: bool, block: int) -> None:
    wide = (REACH[0] - 200, REACH[1] + 200)
    after = list_level(PathList(LAYERS[CUT:], to_end=True).sums, wide, WINDOW, shift, upper=upper)
    with patch.object(bounds, "_BLOCK", block):
        before = level_before(LAYERS[CUT - 1], REACH, after, upper=upper)
    assert is_bound(before, CUT - 1, upper)
    if shift == 0:
        assert (bound_at(before) == exact(CUT - 1, WINDOW)).all()


@pytest.mark.parametrize("upper", [True, False])
def test_wider_buckets_keep_the_bounds(upper: bool) -> None:
    level = widened(at_the_list(0, upper), 11, upper=upper)
    assert level.width == 16
    assert is_bound(level, CUT, upper)


@pytest.mark.parametrize("upper", [True, False])
def test_buckets_widen_only_where_the_mean_hardly_moves(upper: bool) -> None:
    constant = Level(0, 0, np.pad(np.full((1, 64), 5.0), ((0, 0), (1, 1))))
    rough = Level(0, 0, np.pad(np.array([[0.0, 5.0] * 32]), ((0, 0), (1, 1))))
    with patch.multiple(bounds, _FEWEST=4, _MOVED=1.01):
        assert coarser(constant, upper=upper).width == 16  # 4 buckets and 2 outer ones: fewer than 2 * 4
        assert coarser(rough, upper=upper).width == 1
