from __future__ import annotations

import numpy as np
import pytest

from onepath.data.splits import check_counts, check_fraction, num_test, num_validation, stratified_split
from onepath.errors import DataError


def labels_of(*counts: int) -> np.ndarray:
    labels = np.repeat(np.arange(len(counts)), counts)
    return np.random.default_rng(0).permutation(labels).astype(np.int64)


@pytest.mark.parametrize("num", [3, 10, 33, 57])
def test_both_sides_are_disjoint_sorted_and_complete(num: int) -> None:
    labels = labels_of(20, 30, 50)
    kept, held_out = stratified_split(labels, num, seed=1, purpose="test")
    assert sorted([*kept, *held_out]) == list(range(100))
    assert (np.diff(kept) > 0).all()
    assert (np.diff(held_out) > 0).all()
    assert len(held_out) == num


def test_every_class_has_its_share() -> None:
    counts = np.array([20, 31, 49, 400])
    labels = labels_of(*counts)
    _, held_out = stratified_split(labels, 100, seed=1, purpose="test")
    share = np.bincount(labels[held_out])
    assert (np.abs(share - counts / 5) < 1).all()


def test_largest_remainders_are_rounded_up() -> None:
    _, held_out = stratified_split(labels_of(14, 13, 23), 10, seed=0, purpose="test")
    # Exact shares are 2.8, 2.6 and 4.6: of the two examples left over, one goes to .8 and one to the first .6.
    assert np.bincount(labels_of(14, 13, 23)[held_out]).tolist() == [3, 3, 4]


def test_rare_classes_are_on_both_sides() -> None:
    labels = labels_of(2, 2, 1000)
    kept, held_out = stratified_split(labels, 100, seed=0, purpose="test")
    assert np.bincount(labels[held_out])[:2].tolist() == [1, 1]
    assert np.bincount(labels[kept])[:2].tolist() == [1, 1]


def test_the_draw_depends_on_seed_and_purpose_alone() -> None:
    labels = labels_of(50, 50)
    first = stratified_split(labels, 20, seed=3, purpose="test")[1]
    assert (first == stratified_split(labels, 20, seed=3, purpose="test")[1]).all()
    assert (first != stratified_split(labels, 20, seed=4, purpose="test")[1]).any()
    assert (first != stratified_split(labels, 20, seed=3, purpose="validation")[1]).any()


def test_sizes() -> None:
    assert num_test(1797) == 360
    assert num_validation(1437, None) == 287
    assert [num_test(15), num_validation(15, None)] == [3, 3]
    assert num_validation(50_000, None) == 5000
    assert num_validation(50_000, 0.3) == 15_000
    assert num_validation(100, 0.29) == 29
    assert num_validation(3, 0.1) == 1


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.2, 2, float("nan")])
def test_a_fraction_that_leaves_one_side_empty_is_refused(fraction: float) -> None:
    with pytest.raises(DataError, match="0 < validation_fraction < 1 must hold, but got"):
        check_fraction(fraction)


def test_too_few_examples_of_a_class() -> None:
    check_counts(labels_of(3, 9), ("cat", "dog"), ["train", "validation", "test"], "pets")
    with pytest.raises(DataError, match=r"class >= 3 must hold.*in pets class 'cat' has 2"):
        check_counts(labels_of(2, 9), ("cat", "dog"), ["train", "validation", "test"], "pets")
