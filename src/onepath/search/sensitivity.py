"""A search that lowers every choice as far as one common threshold on the drop of the score allows."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Mapping, Sequence

from onepath.errors import InfeasibleError
from onepath.search.algorithm import Proposal, Score
from onepath.search.driver import check_told
from onepath.search.feasible import FeasibleSet
from onepath.space import Architecture, Option, SearchSpace
from onepath.space.ends import end_of


class Sensitivity:
    """FastNAS's search: each choice takes its smallest option that lowers the score by no more than a threshold.

    The drop of an option is the loss of score when the choice takes it and all other choices are at their largest. The
    drop of a smaller option is raised to that of a larger one if it is lower. Bisection finds the lowest threshold
    whose architecture meets the limits, and that architecture is proposed.

    Args:
        space: the space to search.
        drops: name of an ordered choice -> drop of each of its options. Ordered choices that are not named keep their
            largest option, choices without an order their first option.

    Source: FastNAS of NVIDIA's Model Optimizer, by its documentation and code. Differs from it: limits may be on any
    cost, and several limits may hold at once.
    """

    def __init__(self, space: SearchSpace, drops: Mapping[str, Mapping[Option, float]]) -> None:
        self.space = space
        self._drops = {name: monotone(found) for name, found in drops.items()}
        self._asked: list[Architecture] | None = None

    @property
    def generation(self) -> int:
        """0 for the architecture to evaluate; -1 before the first `ask`."""
        return -1 if self._asked is None else 0

    def at(self, threshold: float) -> Architecture:
        """Return the architecture in which each choice has its smallest option with a drop of at most `threshold`.

        The largest option of a choice has drop 0, so that it is always allowed.
        """
        options = list(end_of(self.space, max).indices)
        for name, drops in self._drops.items():
            column = self.space.column(name)
            least = next(reversed([option for option, drop in drops.items() if drop <= max(threshold, 0)]))
            options[column] = self.space.choices[column].options.index(least)
        return self.space.architecture(options)

    def ask(self, feasible: FeasibleSet) -> list[Proposal]:
        """Return the one architecture at the first call, an empty list at later ones.

        Raises:
            InfeasibleError: even the architecture of the smallest options exceeds the limits.
        """
        if self._asked is not None:
            return []
        thresholds = sorted({drop for drops in self._drops.values() for drop in drops.values()})

        def is_legal(threshold: float) -> bool:
            return bool(feasible.is_legal(self.space.matrix([self.at(threshold)]))[0])

        place = bisect.bisect_left(thresholds, True, key=is_legal)
        if place == len(thresholds):
            limits = ", ".join(f"{limit.name}={limit.maximum:g}" for limit in feasible.limits)
            raise InfeasibleError(
                f"the smallest option of every choice must meet the limits, but got {limits}, which it does not; raise "
                "them"
            )
        self._asked = [self.at(thresholds[place])]
        return [Proposal(self._asked[0], "derived")]

    def tell(self, architectures: Sequence[Architecture], scores: Sequence[Score]) -> None:
        """Check the score as `Algorithm.tell` does; it is not used.

        Raises:
            ConfigurationError: the architecture is not that of the last `ask`.
        """
        check_told(self._asked or [], architectures, scores)


def monotone(drops: Mapping[Option, float]) -> dict[Option, float]:
    """Return the drops sorted from the largest option to the smallest, made monotone: 0 first, and never falling.

    Args:
        drops: option -> drop of the score; options are numbers.
    """
    options = sorted(drops, reverse=True)
    found = itertools.accumulate((drops[option] for option in options[1:]), max, initial=0.0)
    return dict(zip(options, found, strict=True))
