"""Finals: the best networks of a search are trained side by side, and the validation split chooses the winner.

Source: Jamieson and Talwalkar, "Non-stochastic Best Arm Identification and Hyperparameter Optimization", AISTATS 2016
(arXiv 1502.07943), successive halving. Differs from it: the number of networks is not a power of two; every network
follows the learning rate of the whole training, so that without a budget, under which each training has a pace of its
own, the winner ends as if it had been trained alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

HALVING = "halving"
NUM_FINALISTS = 4


@dataclass(frozen=True)
class Round:
    """A part of the finals.

    Attributes:
        num: number of networks that are trained on.
        share: share of the whole training that each of them has behind it at the end of the round.
    """

    num: int
    share: float


def rounds(num: int, finish: str) -> list[Round]:
    """Return the rounds after each of which some networks leave; the winner's training to the end is no round.

    Args:
        num: number of finalists, at least 1.
        finish: "halving" halves their number, rounded up, round by round, and doubles the share of the training; any
            other value trains all of them to the end.

    Example:
        >>> rounds(4, "halving")
        [Round(num=4, share=0.25), Round(num=2, share=0.5)]
    """
    if num == 1:
        return []
    if finish != HALVING:
        return [Round(num, 1.0)]
    num_rounds = (num - 1).bit_length()
    return [Round(-(-num // 2**number), 2.0 ** (number - num_rounds)) for number in range(num_rounds)]


def num_passes(num: int, finish: str) -> float:
    """Return the cost of the finals with the winner's training to the end, in trainings of one network."""
    return longest(num, finish, 0, 1)[0]


def longest(num: int, finish: str, others: int, workers: int) -> tuple[float, int]:
    """Return the work of the worker that has most of it: the finals, then the winner's end beside other trainings.

    Args:
        num: number of finalists.
        finish: see `rounds`.
        others: whole trainings beside the winner's end, such as those of a random baseline.
        workers: number of networks that are trained at the same time.

    Returns:
        (trainings of one network, number of times that a training begins or continues).
    """
    passes, parts, before = 0.0, 0, 0.0
    for played in rounds(num, finish):
        each = math.ceil(played.num / workers)
        passes, parts, before = passes + each * (played.share - before), parts + each, played.share
    loads = [(0.0, 0)] * workers
    for work in (1.0 - before, *[1.0] * others):
        least = min(range(workers), key=loads.__getitem__)
        loads[least] = loads[least][0] + work, loads[least][1] + 1
    return passes + max(loads)[0], parts + max(loads)[1]


def kept(scores: Sequence[float], num: int) -> list[int]:
    """Return the positions of the `num` highest scores, in rising order; of equal scores the first is kept."""
    best = sorted(range(len(scores)), key=lambda place: (-scores[place], place))[:num]
    return sorted(best)
