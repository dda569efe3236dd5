"""The range of costs that the networks of a supernet can reach."""

from __future__ import annotations

from collections.abc import Sequence

from onepath.cost import COSTS
from onepath.nn import Supernet
from onepath.space.ends import end_of


def reachable(supernet: Supernet, input_shape: Sequence[int]) -> dict[str, tuple[int, int]]:
    """Return the costs of a supernet's smallest and largest network.

    In both networks, choices between operations take their first option. In a space of sizes alone, no network has a
    cost outside this range if the cost rises with every size, as all costs of onepath do.

    Args:
        supernet: the supernet; it is not changed.
        input_shape: shape of one example, without the batch.

    Returns:
        Name of a cost -> (of the smallest network, of the largest network).
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
