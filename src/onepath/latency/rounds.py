"""Times of many networks and candidates over minutes, without the drift of the machine's speed.

On a machine that others share, a processor changes its speed by a third within a second and stays there for a while.
Every round runs each item once, in a fresh random order. The logarithm of a time is then the item's own level plus the
speed of that moment. The speed changes slowly from one item to the next, whatever the items are, so a running median
over the neighbours in time finds it. Without the speed, levels can be told apart to a fraction of a percent.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from onepath.errors import DataError
from onepath.latency.checked_device import checked
from onepath.latency.checked_files import check_nodes, check_same, not_as_written, parse_json, read_text
from onepath.latency.device import Device, Prepared
from onepath.latency.table_nodes import PartialNode
from onepath.randomness import generator

Floats = npt.NDArray[np.float64]

# A network that another one has pushed out of the caches needs about this many runs to get back to its pace.
_NUM_WARM_UP = 3
_BLOCK_MS = 4.0
_FEWEST_RUNS = 3
_MOST_RUNS = 200
# Neighbours in time that share a speed.
_WINDOW = 9
_NUM_SWEEPS = 10
_FEWEST_ROUNDS = 20
_MOST_GROUPS = 20
_MOST_ROUNDS = 500
MAX_ERROR = 0.05
"""Largest standard error of a level that is used, as a share of the level."""
_NORMAL_IQR = 1.349  # interquartile range of a normal distribution, in standard deviations


@dataclass
class Rounds:
    """The times that were measured so far.

    Attributes:
        num_items: number of items; every round times each of them.
        orders: for each round, the indices of the items in the order in which they were timed.
        times_ms: for each round, the median time of each item's block in ms, in the order of `orders`.
        seconds: time spent on the rounds, in s.
    """

    num_items: int
    orders: list[list[int]] = field(default_factory=list)
    times_ms: list[list[float]] = field(default_factory=list)
    seconds: float = 0.0

    def __len__(self) -> int:
        return len(self.orders)


@dataclass(frozen=True, eq=False)
class Levels:
    """The latency of each item without the drift of the machine's speed; arrays have shape (num_items,).

    Attributes:
        ms: latency in ms at the median speed that the machine had while it was measured.
        iqr_ms: third minus first quartile over groups of consecutive rounds, 20 groups at most, in ms, without the
            drift of the machine's speed.
        num_groups: number of groups of rounds.
        num_rounds: number of times each item was timed.
    """

    ms: Floats
    iqr_ms: Floats
    num_groups: int
    num_rounds: int

    @property
    def is_noisy(self) -> npt.NDArray[np.bool_]:
        """(num_items,) True where the standard error is over a twentieth of the level, which is not to be trusted."""
        return self.relative_error > MAX_ERROR

    @property
    def relative_error(self) -> Floats:
        """(num_items,) standard error of each level, as a share of the level.

        It is the standard error of a median of normal deviations.
        """
        deviation = self.iqr_ms / self.ms / _NORMAL_IQR
        return deviation * math.sqrt(math.pi / 2 / self.num_groups)


def run_rounds(
    device: Device,
    networks: Sequence[Prepared],
    rounds: Rounds,
    *,
    precision: float = 0.0015,
    max_seconds: float = 240.0,
    seed: int = 0,
    watched: slice = slice(None),
    on_round: Callable[[Rounds], None] | None = None,
) -> Levels:
    """Time further rounds until the levels are precise enough, and return the levels.

    Args:
        device: device on which the networks are prepared. If its schedule sets `num_runs`, that is the number of runs
            in a block, and there are at most `num_blocks` rounds; otherwise a block fills a few milliseconds, and there
            are at most 500 rounds.
        networks: the items, in the order of their indices.
        rounds: the rounds so far; further rounds are appended in place.
        precision: the timing ends when the median standard error of the watched items is at most this share of their
            levels.
        max_seconds: the timing also ends when all rounds together, with those before this call, have taken this many
            seconds. At least 20 rounds are made, or `num_blocks` if that is less and the schedule sets `num_runs`.
        seed: seed of the random orders.
        watched: the items that have to be precise.
        on_round: called after each round, for a progress bar or to save.

    Returns:
        The levels of all items, from all rounds.

    Raises:
        UserError: the device raises, or gives a time that is not finite and positive.
    """
    networks = [checked(device, network) for network in networks]
    schedule = device.schedule
    num_warm_up = _NUM_WARM_UP if schedule.num_warm_up else 0
    fewest = _FEWEST_ROUNDS if schedule.num_runs is None else min(_FEWEST_ROUNDS, schedule.num_blocks)
    most = _MOST_ROUNDS if schedule.num_runs is None else schedule.num_blocks
    num_runs = [schedule.num_runs or _num_runs(network) for network in networks]
    while True:
        if len(rounds) >= fewest:
            found = levels(rounds)
            is_precise = float(np.median(found.relative_error[watched])) <= precision
            if is_precise or len(rounds) >= most or rounds.seconds >= max_seconds:
                return found
        start = time.perf_counter()
        order = generator(seed, "latency rounds", len(rounds)).permutation(len(networks)).tolist()
        times_ms = [_block(networks[index], num_warm_up, num_runs[index]) for index in order]
        rounds.orders.append(order)
        rounds.times_ms.append(times_ms)
        rounds.seconds += time.perf_counter() - start
        if on_round is not None:
            on_round(rounds)


def _num_runs(network: Prepared) -> int:
    """Return the number of runs that fills a few milliseconds."""
    fastest_ms = min(network.run() for _ in range(_NUM_WARM_UP))
    return min(_MOST_RUNS, max(_FEWEST_RUNS, math.ceil(_BLOCK_MS / fastest_ms)))


def _block(network: Prepared, num_warm_up: int, num_runs: int) -> float:
    for _ in range(num_warm_up):
        network.run()
    return float(np.median([network.run() for _ in range(num_runs)]))


def levels(rounds: Rounds) -> Levels:
    """Return the levels and spreads of the items, without the drift of the machine's speed.

    Two steps alternate, both on logarithms of times. The speed is the running median, over the neighbours in time, of
    the times minus the levels. A level is the mean of the middle three fifths of the item's times minus the speed. The
    median speed is 1.
    """
    from scipy.ndimage import median_filter

    order = np.array(rounds.orders)  # (rounds, items)
    logs = np.log(np.array(rounds.times_ms))
    items = order.ravel()
    steady = _by_item(logs, order)
    own = np.median(steady, axis=0)
    speed = np.zeros(1)
    for _ in range(_NUM_SWEEPS):
        speed = median_filter(logs.ravel() - own[items], _WINDOW, mode="nearest")
        steady = _by_item((logs.ravel() - speed).reshape(logs.shape), order)
        own = _middle_mean(steady)
    own = own + np.median(speed)
    steady = steady + np.median(speed)
    groups = [_middle_mean(group) for group in np.array_split(steady, min(_MOST_GROUPS, len(steady)))]
    low, high = np.percentile(groups, [25, 75], axis=0)
    return Levels(np.exp(own), np.exp(high) - np.exp(low), len(groups), len(rounds))


def _by_item(values: Floats, order: npt.NDArray[np.int64]) -> Floats:
    """Return (rounds, items) values in the order of the items, from values in the order of time."""
    result = np.empty_like(values)
    np.put_along_axis(result, order, values, axis=1)
    return result


def _middle_mean(values: Floats) -> Floats:
    """Return the mean over the rows without the lowest and the highest fifth."""
    num = len(values)
    cut = num // 5
    mean: Floats = np.sort(values, axis=0)[cut : num - cut].mean(axis=0)
    return mean


def stored_rounds(partial: Path, header: Mapping[str, Any], names: Sequence[str]) -> Rounds:
    """Return the rounds of a measurement that was interrupted; no rounds if there is no file.

    Args:
        partial: file of the measurement in progress.
        header: settings of the present measurement, which those of the file must equal.
        names: names of the items, in their order.

    Raises:
        DataError: the file is damaged, or is of other items.
        ConfigurationError: the file is of other settings.
        RunDirectoryError: the file cannot be read.
    """
    if not partial.exists():
        return Rounds(len(names))
    text = read_text(partial, "a measurement in progress")
    try:
        data = parse_json(text)
        node = check_nodes(PartialNode, data)
    except ValueError as error:
        raise not_as_written(partial, "a measurement in progress", error, "delete it") from error
    rounds = Rounds(**node.rounds.model_dump())
    check_same(partial, data, header)
    if node.items != list(names) or rounds.num_items != len(names):
        raise DataError(
            f"{partial} must be of the same candidates and networks, but it is of others; delete it"
        )
    return rounds
