"""The architecture whose every choice costs at most as much of the score as any other does."""

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
    """FastNAS's search: each choice takes its least option that lowers the score by no more than a threshold.

    The drop of an option is what the score loses with it, all other choices at their largest; a smaller option never
    counts as less of a drop than a larger one. The least threshold whose architecture meets the limits is found by
    bisection, and its architecture is the one that is proposed.

    Args:
        space: where to search.
        drops: name of a choice with an order -> drop of each of its options; other choices take their first option, and
            those that are not named their largest.

    Source: FastNAS of NVIDIA's Model Optimizer, as its documentation and code have it. Differs from it: limits of any
    cost, and several at once.
    """

    def __init__(self, space: SearchSpace, drops: Mapping[str, Mapping[Option, float]]) -> None:
        self.space = space
        self._drops = {name: monotone(found) for name, found in drops.items()}
        self._asked: list[Architecture] | None = None

    @property
    def generation(self) -> int:
        """0 for what is evaluated; -1 before it is asked for."""
        return -1 if self._asked is None else 0

    def at(self, threshold: float) -> Architecture:
        """What has the least options whose drop is at most this; the largest drops nothing."""
        options = list(end_of(self.space, max).indices)
        for name, drops in self._drops.items():
            column = self.space.column(name)
            least = next(reversed([option for option, drop in drops.items() if drop <= max(threshold, 0)]))
            options[column] = self.space.choices[column].options.index(least)
        return self.space.architecture(options)

    def ask(self, feasible: FeasibleSet) -> list[Proposal]:
        """The one architecture at first, then nothing.

        Raises:
            InfeasibleError: not even the smallest options meet the limits.
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
        """Take the score; nothing follows from it."""
        check_told(self._asked or [], architectures, scores)


def monotone(drops: Mapping[Option, float]) -> dict[Option, float]:
    """The drops from the largest option to the smallest, none less than those before it and the first 0."""
    options = sorted(drops, reverse=True)
    found = itertools.accumulate((drops[option] for option in options[1:]), max, initial=0.0)
    return dict(zip(options, found, strict=True))
