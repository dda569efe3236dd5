from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats

from onepath.counting import CostTable, CostTerm
from onepath.errors import ConfigurationError, InfeasibleError
from onepath.randomness import generator
from onepath.space import Choice, SearchSpace
from onepath.train import ConstrainedSampler, UniformSampler

SPACE = SearchSpace([Choice(f"block{i}", ["a", "b", "c", "d"]) for i in range(4)])
TABLE = CostTable(10, [CostTerm((name,), np.array([0, 1, 3, 7])) for name in SPACE.names], unit="macs")
COSTS = TABLE.costs(SPACE, SPACE.enumerate_matrix())


def draw(sampler: ConstrainedSampler | UniformSampler, num: int) -> npt.NDArray[np.int64]:
    """Indices (num, 4) of the paths of updates 0 to num - 1, all from one generator for speed."""
    rng = np.random.default_rng(0)
    paths = [sampler.paths(update, rng) for update in range(num)]
    assert all(len(p) == 1 for p in paths)
    return np.array([p[0].indices for p in paths])


def test_uniform_over_all_architectures() -> None:
    counts = np.bincount(draw(UniformSampler(SPACE), 100_000) @ [64, 16, 4, 1], minlength=256)
    assert stats.chisquare(counts).pvalue > 1e-3


def test_a_skewed_sampler_fails_the_same_test() -> None:
    """One option of one choice is drawn with probability 0.23 instead of 0.25."""
    rng = np.random.default_rng(0)
    indices = rng.integers(0, 4, (100_000, 4))
    indices[(indices[:, 0] == 0) & (rng.random(100_000) < 0.08), 0] = 1
    counts = np.bincount(indices @ [64, 16, 4, 1], minlength=256)
    assert stats.chisquare(counts).pvalue < 1e-3


def test_an_update_draws_the_same_path_whenever_it_is_asked() -> None:
    sampler = UniformSampler(SPACE)
    first = [sampler.paths(t, generator(5, "paths", t))[0] for t in range(20)]
    second = [sampler.paths(t, generator(5, "paths", t))[0] for t in reversed(range(20))]
    assert first == second[::-1]
    assert len(set(first)) > 10


def test_a_window_is_kept_and_uniform_inside() -> None:
    inside = np.flatnonzero((COSTS >= 15) & (COSTS <= 22))
    matrix = draw(ConstrainedSampler(SPACE, TABLE, 15, 22), 10_000)
    costs = TABLE.costs(SPACE, matrix)
    assert costs.min() == 15
    assert costs.max() == 22
    counts = np.bincount(matrix @ [64, 16, 4, 1], minlength=256)
    assert counts.sum() == counts[inside].sum()
    assert stats.chisquare(counts[inside]).pvalue > 1e-3


def test_bins_are_equally_likely_and_uniform_inside() -> None:
    edges = [10, 14, 20, 30]
    matrix = draw(ConstrainedSampler(SPACE, TABLE, 10, 30, bins=edges), 12_000)
    bins = np.digitize(TABLE.costs(SPACE, matrix), edges[1:-1])  # 14 belongs to the second bin
    all_bins = np.where(COSTS <= 30, np.digitize(COSTS, edges[1:-1]), -1)
    sizes = [int((all_bins == b).sum()) for b in range(3)]
    assert len(set(sizes)) == 3
    assert stats.chisquare(np.bincount(bins, minlength=3)).pvalue > 1e-3
    counts = np.bincount(matrix @ [64, 16, 4, 1], minlength=256)
    for b in range(3):
        assert stats.chisquare(counts[all_bins == b]).pvalue > 1e-3


def test_bins_make_the_options_of_a_choice_unequal() -> None:
    """The price of the paper's constraint sampling: 10 % of the paths have the costliest option, not a quarter."""
    matrix = draw(ConstrainedSampler(SPACE, TABLE, 10, 24, bins=[10, 17, 24]), 4000)
    assert stats.chisquare(np.bincount(matrix[:, 0], minlength=4)).pvalue < 1e-6


def test_an_empty_window_or_bin_is_named() -> None:
    with pytest.raises(InfeasibleError, match="between 39 and 50 macs"):
        ConstrainedSampler(SPACE, TABLE, 39, 50)
    with pytest.raises(InfeasibleError, match=r"between 39(\.0)? and 50 macs"):
        ConstrainedSampler(SPACE, TABLE, 10, 50, bins=[10, 39, 50])


@pytest.mark.parametrize("bins", [[10], [20, 10], [10, 10]])
def test_edges_must_rise(bins: list[float]) -> None:
    with pytest.raises(ConfigurationError, match="rising edges"):
        ConstrainedSampler(SPACE, TABLE, 10, 30, bins=bins)


def test_bins_must_lie_in_the_window() -> None:
    with pytest.raises(ConfigurationError, match=r"got bins from 5 to 20 and the window \[10, 30\]"):
        ConstrainedSampler(SPACE, TABLE, 10, 30, bins=[5, 20])
