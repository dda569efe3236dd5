"""The contract of `Algorithm`, as checks that run on any implementation.

`make(space, seed, budget)` builds an algorithm that evaluates about `budget` architectures. A check raises
AssertionError where the contract is broken. `ALGORITHM_CHECKS` holds all of them::

    @pytest.mark.parametrize("check", ALGORITHM_CHECKS)
    def test_contract(check):
        check(lambda space, seed, budget: RandomSearch(space, seed, num=budget))
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from onepath.counting import CostTable, CostTerm
from onepath.errors import ConfigurationError, InfeasibleError
from onepath.search import Algorithm, FeasibleSet, Limit
from onepath.search.feasible import Matrix
from onepath.space import Architecture, Choice, SearchSpace

MakeAlgorithm = Callable[[SearchSpace, int, int], Algorithm]
History = list[tuple[list[Architecture], list[float]]]

_MOST_ROUNDS = 2000
_MOST_RESUMPTIONS = 10


def known_space() -> tuple[SearchSpace, CostTable]:
    """Return a conditional space of 819 architectures, and an additive cost table of integers for it.

    By `known_score` one architecture of this space is the best.
    """
    depth = Choice("depth", [1, 2, 3])
    blocks = [Choice(f"blocks.{index}", ["a", "b", "c"]) for index in range(6)]
    conditions = {
        "blocks.2": [{"depth": [2, 3]}],
        "blocks.3": [{"depth": [2, 3]}],
        "blocks.4": [{"depth": [3]}],
        "blocks.5": [{"depth": [3]}],
    }
    terms = [CostTerm((block.name,), [1 + index, 7, 20 + index]) for index, block in enumerate(blocks)]
    return SearchSpace([depth, *blocks], conditions), CostTable(10, terms, "MACs")


def known_score(architecture: Architecture) -> float:
    """Return a score, higher is better: the sum of the option indices, each weighted a little differently."""
    return sum(index * (1 + 0.01 * column) for column, index in enumerate(architecture.indices))


def limited(space: SearchSpace, table: CostTable, maximum: float) -> FeasibleSet:
    """Return the feasible set of the architectures whose cost is at most `maximum`."""
    return FeasibleSet(
        space, [Limit("max_macs", "MACs", maximum, lambda rows: table.costs(space, rows), table)]
    )


def search(algorithm: Algorithm, feasible: FeasibleSet, replayed: Sequence[object] = ()) -> History:
    """Run a search to its end with the scores of `known_score`.

    Args:
        algorithm: the search algorithm to run.
        feasible: the architectures that may be proposed.
        replayed: if not empty, the search stops after as many rounds as this has elements.

    Returns:
        The architectures and the scores of each round.

    Raises:
        AssertionError: the search did not end in 2,000 rounds.
    """
    history: History = []
    while proposals := algorithm.ask(feasible):
        architectures = [proposal.architecture for proposal in proposals]
        scores = [known_score(architecture) for architecture in architectures]
        algorithm.tell(architectures, scores)
        history.append((architectures, scores))
        assert len(history) <= _MOST_ROUNDS, f"the search did not end in {_MOST_ROUNDS} rounds"
        if replayed and len(history) == len(replayed):
            break
    return history


def check_proposals_are_legal(make: MakeAlgorithm) -> None:
    """Check that every proposal meets the limit and is in canonical form."""
    space, table = known_space()
    feasible = limited(space, table, 60)
    for architecture in _proposed(search(make(space, 0, 200), feasible)):
        assert table.cost(architecture) <= 60, (
            f"{architecture} costs {table.cost(architecture)}, the limit is 60"
        )
        assert space.architecture(architecture.indices) == architecture, f"{architecture} is not canonical"


def check_nothing_is_proposed_twice(make: MakeAlgorithm) -> None:
    """Check that no architecture is proposed a second time, unless the algorithm says that it repeats."""
    space, _ = known_space()
    algorithm = make(space, 0, 400)
    history = search(algorithm, FeasibleSet(space))
    proposed = [architecture for architectures, _ in history for architecture in architectures]
    repeats = getattr(algorithm, "repeats", False)
    assert repeats or len(set(proposed)) == len(proposed), "an architecture was proposed twice"


def check_seed_decides(make: MakeAlgorithm) -> None:
    """Check that the same seed gives the same proposals, and another seed gives others."""
    space, _ = known_space()
    first, again, other = (search(make(space, seed, 100), FeasibleSet(space)) for seed in (0, 0, 1))
    assert first == again, "two runs with one seed differ"
    assert first != other, "the seed does not matter"


def check_budget_is_kept(make: MakeAlgorithm) -> None:
    """Check that no more than the budget is proposed, and not much less if there are enough architectures."""
    space, _ = known_space()
    num = len(_proposed(search(make(space, 0, 200), FeasibleSet(space))))
    assert 150 <= num <= 200, f"the budget was 200, {num} were proposed"


def check_exhausted_space_ends(make: MakeAlgorithm) -> None:
    """Check that a search with few legal architectures proposes all of them and ends, in a bounded number of tries."""
    space, table = known_space()
    tries: list[int] = []

    def costs(rows: Matrix) -> npt.NDArray[np.int64]:
        tries.append(len(rows))
        return table.costs(space, rows)

    feasible = FeasibleSet(space, [Limit("max_macs", "MACs", 19, costs, table)])
    num_legal = space.count_within(table, None, 19)
    assert 2 <= num_legal <= 20
    proposed = _proposed(search(make(space, 0, 1000), feasible))
    assert len(proposed) == num_legal, f"{num_legal} are legal, {len(proposed)} were proposed"
    assert sum(tries) <= 100_000, f"{sum(tries)} tries for {num_legal} legal architectures"


def check_impossible_limit_is_an_error(make: MakeAlgorithm) -> None:
    """Check that `ask` raises InfeasibleError at once if no architecture is legal."""
    space, table = known_space()
    try:
        make(space, 0, 100).ask(limited(space, table, 1))
    except InfeasibleError:
        return
    raise AssertionError("an impossible limit was no error")


def check_replay_resumes(make: MakeAlgorithm) -> None:
    """Check that a new algorithm that is asked and told the first rounds again continues as the old one did."""
    space, table = known_space()
    feasible = limited(space, table, 70)
    whole = search(make(space, 3, 200), feasible)
    step = max(1, len(whole) // _MOST_RESUMPTIONS)
    for rounds in range(1, len(whole), step):
        resumed = make(space, 3, 200)
        assert search(resumed, feasible, whole[:rounds]) == whole[:rounds], (
            "the first rounds are not repeated"
        )
        assert search(resumed, feasible) == whole[rounds:], (
            f"the search continues differently after {rounds} rounds"
        )


def check_more_budget_is_not_worse(make: MakeAlgorithm) -> None:
    """Check that a larger budget first repeats the proposals of a smaller one, so that its best is at least as good."""
    space, table = known_space()
    feasible = limited(space, table, 70)
    small, large = (_proposed(search(make(space, 5, budget), feasible)) for budget in (100, 300))
    assert large[: len(small)] == small, "a larger budget proposes something else"
    assert max(map(known_score, large)) >= max(map(known_score, small))


def check_tell_wants_what_was_asked(make: MakeAlgorithm) -> None:
    """Check that `tell` raises ConfigurationError for architectures other than those of the last `ask`."""
    space, _ = known_space()
    algorithm = make(space, 0, 100)
    architectures = [proposal.architecture for proposal in algorithm.ask(FeasibleSet(space))]
    try:
        algorithm.tell(architectures[:-1], [0.0] * (len(architectures) - 1))
    except ConfigurationError:
        return
    raise AssertionError("scores of other architectures were taken")


ALGORITHM_CHECKS: tuple[Callable[[MakeAlgorithm], None], ...] = (
    check_proposals_are_legal,
    check_nothing_is_proposed_twice,
    check_seed_decides,
    check_budget_is_kept,
    check_exhausted_space_ends,
    check_impossible_limit_is_an_error,
    check_replay_resumes,
    check_more_budget_is_not_worse,
    check_tell_wants_what_was_asked,
)


def _proposed(history: History) -> list[Architecture]:
    """Return the distinct proposals in the order in which each first came."""
    return list(dict.fromkeys(architecture for architectures, _ in history for architecture in architectures))
