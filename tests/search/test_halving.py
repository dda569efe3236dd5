"""Successive halving: its rounds, its cost, and who goes on."""

from __future__ import annotations

import itertools

import pytest

from onepath.search.halving import Round, kept, longest, num_passes, rounds


@pytest.mark.parametrize("num", range(1, 20))
def test_each_round_halves_the_networks_and_doubles_their_training(num: int) -> None:
    played = rounds(num, "halving")
    counts = [*(each.num for each in played), 1]
    assert counts[0] == num
    assert all(after == -(-before // 2) for before, after in itertools.pairwise(counts))
    shares = [each.share for each in played]
    assert all(after == 2 * before for before, after in itertools.pairwise(shares))
    assert not shares or shares[-1] == 0.5


def test_the_cost_is_that_of_counting_every_round() -> None:
    # 8 to an eighth, 4 of them to a quarter, 2 to a half, 1 to the end.
    assert num_passes(8, "halving") == 8 / 8 + 4 / 8 + 2 / 4 + 1 / 2
    assert num_passes(3, "halving") == 3 / 4 + 2 / 4 + 1 / 2
    assert num_passes(5, "scratch") == 5
    assert num_passes(1, "scratch") == num_passes(1, "halving") == 1


def test_without_halving_all_are_trained_to_the_end() -> None:
    assert rounds(3, "inherited") == [Round(3, 1.0)]
    assert rounds(1, "inherited") == []


def test_the_best_go_on_and_of_equal_ones_the_first() -> None:
    assert kept([0.5, 0.9, 0.5, 0.7], 2) == [1, 3]
    assert kept([0.5, 0.5, 0.5], 2) == [0, 1]
    assert kept([0.1, 0.2], 1) == [1]


def test_the_longest_work_by_hand() -> None:
    # One worker: everything, one after another.
    assert longest(1, "scratch", 3, 1) == (4.0, 4)
    assert longest(4, "halving", 0, 1) == (num_passes(4, "halving"), 4 + 2 + 1)
    assert longest(5, "scratch", 2, 1) == (5 + 2, 5 + 1 + 2)
    # Two workers: 4 networks in pairs, then 2 at once, then the winner's half beside two whole trainings.
    assert longest(4, "halving", 0, 2) == (2 / 4 + 1 / 4 + 1 / 2, 2 + 1 + 1)
    assert longest(4, "halving", 2, 2) == (2 / 4 + 1 / 4 + 3 / 2, 2 + 1 + 2)
    assert longest(1, "scratch", 3, 2) == (2.0, 2)
    assert longest(1, "scratch", 3, 8) == (1.0, 1)
