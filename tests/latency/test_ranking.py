"""MACs and parameters beside latency, on a device whose latency is known."""

from __future__ import annotations

import pytest
from latency.networks import SHAPE, Counting, blocks

from onepath import cost
from onepath.errors import ConfigurationError
from onepath.latency.ranking import compare, comparison_page, correlation


def test_counts_and_correlations_are_those_of_the_networks() -> None:
    supernet = blocks()
    compared = compare(supernet, Counting(noise=0.001), SHAPE, 12)
    assert len(compared["networks"]) == 12
    for row in compared["networks"]:
        architecture = supernet.space.parse(row["architecture"])
        assert row["macs"] == cost.macs(supernet, architecture, SHAPE)
        assert row["params"] == cost.params(supernet, architecture)
    assert compared["correlation"]["macs"]["spearman"] > 0.9  # less than 1: networks of equal cost
    page = comparison_page("blocks", compared)
    assert "multiply-accumulates: Spearman" in page


def test_rank_correlations_of_known_ranks() -> None:
    assert correlation([1, 2, 3, 4], [10, 20, 40, 30]) == pytest.approx(
        {"spearman": 0.8, "kendall_tau": 2 / 3}
    )
    assert correlation([1, 2, 3], [3, 2, 1])["spearman"] == pytest.approx(-1)
    assert correlation([1, 1, 1], [1, 2, 3]) == {"spearman": None, "kendall_tau": None}


def test_too_few_networks_are_an_error() -> None:
    with pytest.raises(ConfigurationError, match="3 architectures or more, but got 2"):
        compare(blocks(), Counting(), SHAPE, 2)
