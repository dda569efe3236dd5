"""Several scores combined into one: the weighted mean of the ranks in a set of networks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from onepath.errors import ConfigurationError


def mean_ranks(values: Mapping[str, Sequence[float]], weights: Mapping[str, float]) -> list[float]:
    """Return the weighted mean, over scores, of the rank of each network in the set; higher is better.

    The rank of a network is the share of networks that are not better; equal ones, itself included, count half. It is
    between 0 and 1. Ranks are combined because the scores have different units. The result holds for this set of
    networks only and changes with the set.

    Args:
        values: name of a score -> its value for each network, all of the same length; NaN ranks like minus infinity.
        weights: name of a score -> its weight, above 0; exactly the scores of `values`.

    Returns:
        Mean rank of each network, in the order of the values.

    Raises:
        ConfigurationError: the names differ, the lengths differ, a weight is not above 0, or there is no score.

    Example:
        >>> mean_ranks({"zen": [1.0, 2.0], "nwot": [5.0, 5.0]}, {"zen": 3.0, "nwot": 1.0})
        [0.3125, 0.6875]
    """
    if set(values) != set(weights) or not values or any(not weight > 0 for weight in weights.values()):
        raise ConfigurationError(
            f"each score needs a weight above 0, but got scores {', '.join(values) or 'none'} and weights "
            f"{', '.join(f'{name}={weight:g}' for name, weight in weights.items()) or 'none'}; give one for each"
        )
    nums = {len(column) for column in values.values()}
    if len(nums) > 1:
        raise ConfigurationError(
            f"each score must have a value for every network, but got {sorted(nums)}; score all"
        )
    total = sum(weights.values())
    shares = {name: _shares(column) for name, column in values.items()}
    return [sum(weights[name] * shares[name][i] for name in values) / total for i in range(nums.pop())]


def _shares(column: Sequence[float]) -> list[float]:
    keys = [-math.inf if math.isnan(value) else value for value in column]
    order = sorted(keys)
    first = {key: place for place, key in reversed(list(enumerate(order)))}
    last = {key: place for place, key in enumerate(order)}
    return [(first[key] + last[key] + 1) / (2 * len(keys)) for key in keys]
