"""Only the best proposals by a cheap score are evaluated."""

from __future__ import annotations

import math

import pytest

from onepath.errors import ConfigurationError
from onepath.search import Evolution, FeasibleSet, Prefilter, RandomSearch
from onepath.space import Architecture, Choice, SearchSpace

SPACE = SearchSpace([Choice(f"c{place}", [0, 1, 2, 3]) for place in range(5)])
FEASIBLE = FeasibleSet(SPACE)


def total(architecture: Architecture) -> float:
    return float(sum(architecture.indices))


def test_keeps_the_best_share_best_first() -> None:
    plain, filtered = (RandomSearch(SPACE, num=60, batch=30) for _ in range(2))
    prefilter = Prefilter(filtered, total, 0.2)
    for _ in range(2):
        everything = [proposal.architecture for proposal in plain.ask(FEASIBLE)]
        plain.tell(everything, [0.0] * 30)
        kept = [proposal.architecture for proposal in prefilter.ask(FEASIBLE)]
        assert [total(a) for a in kept] == sorted((total(a) for a in everything), reverse=True)[:6]
        assert set(kept) < set(everything)
        prefilter.tell(kept, [1.0] * 6)
    assert prefilter.ask(FEASIBLE) == []
    assert prefilter.num_left_out == 48


def test_what_was_left_out_is_no_parent_before_what_was_evaluated() -> None:
    evolution = Evolution(SPACE, seed=0, population=20, generations=3)
    prefilter = Prefilter(evolution, total, 0.25)
    seen: dict[Architecture, tuple[float, float]] = {}
    while proposals := prefilter.ask(FEASIBLE):
        architectures = [proposal.architecture for proposal in proposals]
        scores = [(-total(a), 0.0) for a in architectures]  # the truth is the opposite of the cheap score
        seen.update(zip(architectures, scores, strict=True))
        prefilter.tell(architectures, scores)
        assert {a for a, _ in evolution.best[: len(seen)]} == set(seen)
    left_out = [score for a, score in evolution.best if a not in seen]
    assert left_out == sorted(left_out, reverse=True)
    assert all(isinstance(score, tuple) and score[0] == -math.inf for score in left_out)


def test_first_only_and_repeatable() -> None:
    runs = []
    for _ in range(2):
        prefilter = Prefilter(
            Evolution(SPACE, seed=1, population=16, generations=2), total, 0.25, first_only=True
        )
        sizes = []
        while proposals := prefilter.ask(FEASIBLE):
            sizes.append([str(proposal.architecture) for proposal in proposals])
            prefilter.tell([p.architecture for p in proposals], [total(p.architecture) for p in proposals])
        runs.append(sizes)
    assert runs[0] == runs[1]
    assert list(map(len, runs[0])) == [4, 16, 16]


@pytest.mark.parametrize("share", [0.0, 1.5, -1.0, math.nan])
def test_shares_out_of_range(share: float) -> None:
    with pytest.raises(ConfigurationError, match="0 < share <= 1"):
        Prefilter(RandomSearch(SPACE), total, share)


def test_nan_is_last() -> None:
    prefilter = Prefilter(RandomSearch(SPACE, num=10), lambda a: math.nan if total(a) > 5 else 1.0, 0.1)
    assert total(prefilter.ask(FEASIBLE)[0].architecture) <= 5
