"""Architectures in the order of a sum of scores, best first."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from onepath.errors import SpaceError
from onepath.space.layers import decision_order

if TYPE_CHECKING:
    from onepath.space.architecture import Architecture
    from onepath.space.search_space import SearchSpace

Floats = npt.NDArray[np.float64]
Accepts = Callable[["Architecture"], bool]

_MOST_LOOKED_AT = 2**18


def best_first(space: SearchSpace, scores: Sequence[Floats]) -> Iterator[Architecture]:
    """All architectures by falling sum of the scores of their active choices.

    Choices are decided one after the other. The partial architecture that could become the best is always the one that
    is continued, with the highest score of every undecided choice as the bound, or 0 where that choice may be inactive.
    Of equal ones the first in the order of decision comes first.

    Args:
        space: whose architectures are meant.
        scores: a vector for every choice, one finite number per option, higher is better.

    Raises:
        SpaceError: more than 262,144 partial architectures have been looked at.
    """
    order = decision_order(space, ())
    highest = [
        max(float(own.max()), 0.0 if space.conditions.alternatives[column] is not None else -np.inf)
        for column, own in enumerate(scores)
    ]
    left = np.append(np.cumsum([highest[column] for column in order][::-1])[::-1], 0.0)
    heap: list[tuple[float, tuple[int, ...], float]] = [(-float(left[0]), (), 0.0)]
    for _ in range(_MOST_LOOKED_AT):
        if not heap:
            return
        _, decided, score = heapq.heappop(heap)
        known = dict(zip(order, decided, strict=False))
        if len(decided) == len(order):
            yield space.architecture([max(known[column], 0) for column in range(len(order))])
            continue
        column = order[len(decided)]
        if space.conditions.is_active(column, known.__getitem__):
            following = [(index, score + float(own)) for index, own in enumerate(scores[column])]
        else:
            following = [(-1, score)]
        for index, own_score in following:
            bound = own_score + float(left[len(decided) + 1])
            heapq.heappush(heap, (-bound, (*decided, index), own_score))
    raise SpaceError(
        f"the search for the best accepted architecture may look at {_MOST_LOOKED_AT} partial ones, but needs more; "
        "loosen the limit"
    )
