"""How small and how large the networks of a supernet are."""

from __future__ import annotations

from collections.abc import Sequence

from onepath.cost import COSTS
from onepath.nn import Supernet
from onepath.space.ends import end_of


def reachable(supernet: Supernet, input_shape: Sequence[int]) -> dict[str, tuple[int, int]]:
    """Every cost of the network of the smallest sizes, and of that of the largest, by name.

    A cost that rises with every size, as all of ours do, reaches no further.
    """
    ends = [
        supernet.on_meta().extract(path)
        for path in (end_of(supernet.space, min), end_of(supernet.space, max))
    ]
    shape = tuple(input_shape)
    return {
        name: (cost.count(ends[0], shape).total, cost.count(ends[1], shape).total)
        for name, cost in COSTS.items()
    }
