"""Architectures in the order of the sum of their scores, best first."""

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
    """Yield all architectures, from the highest to the lowest sum of the scores of their active choices.

    Choices are decided one after the other. The next partial architecture to be continued is always the one with the
    highest upper bound. The bound assumes the highest score of every undecided choice, or at least 0 if the choice may
    be inactive. Among equal bounds, the first in the order of decision comes first.

    Args:
        space: space whose architectures are listed.
        scores: (num_options,) finite scores for every choice, in the order of the space; higher is better.

    Raises:
        SpaceError: more than 262,144 partial architectures would have to be looked at.
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
