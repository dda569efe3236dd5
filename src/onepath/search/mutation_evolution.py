"""Evolution by single mutations, in which the worst dies.

Follows Algorithm 1 of "Zen-NAS: A Zero-Shot NAS for High-Performance Image Recognition", Lin et al., ICCV 2021 (arXiv
2102.01063), and its population of 512. Differs from it in these points:

- The first population is full and random, drawn inside the limits; the paper's grows from one architecture that the
  user gives.
- No architecture is evaluated twice; a child that exceeds a limit is drawn again and counts as no step.
- A mutation gives one choice another option.
- Several children may be made at a time, for an estimator that estimates them at once; the paper makes one.
"""

from __future__ import annotations

from collections.abc import Sequence

from onepath.errors import ConfigurationError
from onepath.most import EVALUATED, POPULATION, check_most
from onepath.randomness import generator
from onepath.search.algorithm import Proposal, Score, check_told, first_new, rank
from onepath.search.feasible import FeasibleSet, Matrix
from onepath.space import Architecture, SearchSpace

_NUM_DRAWS = 32  # at a time, or as many as children, so that a single child is tried often enough


class MutationEvolution:
    """Mutations of members picked uniformly; of more than `population` members the worst is dropped.

    The first `ask` proposes the random members, every other one children of the members.

    Args:
        space: where to search.
        seed: of all draws.
        num: architectures in all, at most.
        population: members that are kept.
        num_random: random members to begin with; by default as many as the population holds.
        num_children: proposed by an `ask`, before any of them joins the members.

    Attributes:
        generation: 0 for the random members, then one more for every `population` children.
        members: with their scores, best first; of equal ones those that came first.

    Raises:
        ConfigurationError: a number is below 1, or there are more random members than the population holds.
    """

    def __init__(
        self,
        space: SearchSpace,
        seed: int = 0,
        num: int = 4096,
        population: int = 512,
        num_random: int | None = None,
        num_children: int = 1,
    ) -> None:
        check_most(POPULATION, population=population, num_children=num_children)
        check_most(EVALUATED, num=num)
        num_random = population if num_random is None else num_random
        if min(num, population, num_random, num_children) < 1 or num_random > population:
            raise ConfigurationError(
                "`num >= 1`, `num_children >= 1` and `1 <= num_random <= population` must hold; got "
                f"num={num}, num_children={num_children}, population={population}, num_random={num_random}; change the "
                "one that does not fit"
            )
        self.space, self.seed, self.num = space, seed, num
        self.population, self.num_random, self.num_children = population, num_random, num_children
        self.members: list[tuple[Architecture, Score]] = []
        self._step = -1
        self._visited: set[Architecture] = set()
        self._asked: list[Architecture] = []

    @property
    def generation(self) -> int:
        """Of the last `ask`; -1 before it."""
        return self._step if self._step < 1 else 1 + (self._step - 1) * self.num_children // self.population

    def ask(self, feasible: FeasibleSet) -> list[Proposal]:
        """The next children; empty after `num` architectures or where nothing new is found."""
        num_left = self.num - len(self._visited)
        if num_left == 0:
            return []
        self._step += 1
        rng = generator(self.seed, "mutation evolution", self._step)
        num_wanted, children = min(self.num_random, num_left), list[Architecture]()
        if self.members:
            num_wanted = min(self.num_children, num_left)
            num_draws = max(_NUM_DRAWS, self.num_children)
            members = self.space.matrix([architecture for architecture, _ in self.members])

            def mutate(_: int) -> Matrix:
                return self.space.mutate_one(members[rng.integers(len(members), size=num_draws)], rng)

            children = first_new(feasible, mutate, num_wanted, self._visited)
        # At the start, and where all neighbours of the members are known. How many are drawn at a time does not depend
        # on `num`, so that a small budget begins as a larger one does.
        size = max(self.num_children if self.members else self.num_random, _NUM_DRAWS)
        others = first_new(
            feasible,
            lambda _: feasible.sample(size, rng),
            num_wanted - len(children),
            self._visited,
        )
        self._asked = children + others
        return [Proposal(child, "mutation") for child in children] + [
            Proposal(other, "random") for other in others
        ]

    def tell(self, architectures: Sequence[Architecture], scores: Sequence[Score]) -> None:
        """Let the new ones in, and drop the worst of more than `population`."""
        check_told(self._asked, architectures, scores)
        self._asked = []
        self.members += zip(architectures, scores, strict=True)
        self.members.sort(key=lambda member: rank(member[1]), reverse=True)
        del self.members[self.population :]
