"""How long networks take on a device: warm-up, alternating blocks, median and spread."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from onepath.errors import UserError
from onepath.latency.checked_device import prepare
from onepath.latency.device import Device, Network, Prepared
from onepath.latency.device_errors import check_count
from onepath.randomness import generator
from onepath.verdict import held_ms, within_latency

MAX_RELATIVE_IQR = 0.1
"""A measurement whose interquartile range is over this share of its median is noisy: it is not to be trusted."""

# The blocks of one try share out this time, so that a few networks are not judged by one moment of the machine.
_TRY_MS = 1000.0
# A block lasts at least this long, so that the clock and a single interruption do not decide over it, ...
_SHORTEST_BLOCK_MS = 2.0
# ... and at most this long where it has several runs, so that blocks alternate faster than the machine's speed drifts.
_LONGEST_BLOCK_MS = 25.0
_MAX_RUNS = 1000


@dataclass(frozen=True)
class Latency:
    """Time of one inference of one batch.

    Attributes:
        median_ms: median over the blocks of the block's median.
        iqr_ms: third minus first quartile over the blocks.
        repeats: number of inferences that were timed and counted.
        threads: number of threads that one inference could use.
        is_noisy: whether `iqr_ms` was over a tenth of `median_ms` in every try. A noisy latency may be shown with this
            flag, but no decision may rest on it.
    """

    median_ms: float
    iqr_ms: float
    repeats: int
    threads: int
    is_noisy: bool

    @property
    def held_ms(self) -> float:
        """The latency that is compared with a limit, in ms: the median plus the interquartile range."""
        return held_ms(self.median_ms, self.iqr_ms)

    def is_within(self, limit_ms: float) -> bool:
        """Whether the median plus the interquartile range is at most `limit_ms`; False for a noisy latency."""
        return within_latency(limit_ms, self.median_ms, self.iqr_ms, self.is_noisy)


def measure(
    device: Device,
    models: Sequence[Network],
    input_shape: Sequence[int] | Sequence[Sequence[int]],
    *,
    blocks: int | None = None,
    repeats: int | None = None,
    max_tries: int = 3,
) -> list[Latency]:
    """Time networks on a device, side by side.

    Every network is warmed up. Then come rounds: in each round every network runs one block of runs, in an order drawn
    afresh, so that a slow minute of the machine affects all networks. A block counts as the median of its runs, and the
    latency is the median over the blocks. A network whose blocks spread by more than a tenth of the median is measured
    again, with twice the runs in a block if their number is not set, and the try with the least relative spread is
    kept. A network that is still noisy after `max_tries` tries is flagged.

    Args:
        device: device to measure on, with its batch, threads and precision.
        models: one or more networks, which are all held ready at once; not changed. They are modules, or paths of ONNX
            files if the device runs ONNX files.
        input_shape: shape of one example without the batch: (C, H, W) for all networks, or a sequence with one shape
            for each.
        blocks: number of blocks of each network, 2 or more; None: as in the device's schedule.
        repeats: number of runs in a block; None: as in the device's schedule. If that does not set it either, as many
            as fill 2 ms, or up to 25 ms if few networks share a second.
        max_tries: largest number of tries, 1 or more.

    Returns:
        One latency for each network, in the order of `models`.

    Raises:
        ConfigurationError: the device cannot be used on this machine, or a number is out of its range.
        ShapeError: a network rejects its input shape.
        UserError: there is not one input shape for each network, or the runtime cannot take a network.
    """
    schedule = device.schedule
    blocks = schedule.num_blocks if blocks is None else blocks
    repeats = schedule.num_runs if repeats is None else repeats
    for name, value, least, most in (
        ("blocks", blocks, 2, 10_000),
        ("repeats", 1 if repeats is None else repeats, 1, 1_000_000),
        ("max_tries", max_tries, 1, 100),
    ):
        check_count(name, value, least, most)
    device.check_usable()
    shapes = _shapes(input_shape, len(models))
    best: list[Latency | None] = [None] * len(models)
    with prepared(device, zip(models, shapes, strict=True)) as networks:
        block_ms = np.clip(_TRY_MS / (blocks * max(1, len(models))), _SHORTEST_BLOCK_MS, _LONGEST_BLOCK_MS)
        num_runs = [_runs(network, repeats, schedule.num_warm_up, float(block_ms)) for network in networks]
        for number in range(max_tries):
            pending = [index for index, latency in enumerate(best) if latency is None or latency.is_noisy]
            if not pending:
                break
            rounds = _rounds(networks, pending, num_runs, blocks, number, schedule.num_warm_up > 0)
            for index, times_ms in rounds.items():
                tries = (best[index], _latency(times_ms, num_runs[index] * blocks, device.threads))
                best[index] = min(filter(None, tries), key=lambda found: found.iqr_ms / found.median_ms)
            if repeats is None:
                num_runs = [min(_MAX_RUNS, 2 * num) for num in num_runs]
    return [latency for latency in best if latency is not None]


def _shapes(input_shape: Sequence[int] | Sequence[Sequence[int]], num: int) -> list[tuple[int, ...]]:
    is_each = bool(input_shape) and all(isinstance(size, Sequence) for size in input_shape)
    each: Any = input_shape if is_each else [input_shape] * num
    shapes = [tuple(int(size) for size in shape) for shape in each]
    if len(shapes) != num:
        raise UserError(
            f"there must be one input shape for each network, but got {len(shapes)} for {num}; give one each"
        )
    return shapes


@contextlib.contextmanager
def prepared(device: Device, networks: Iterable[tuple[Network, Sequence[int]]]) -> Iterator[list[Prepared]]:
    """Inside the context, all networks are ready on a device at once; they are closed at the end, whatever happens.

    Args:
        device: device to run on.
        networks: each network with the input shape of one example; taken one by one as they are made ready.
    """
    with contextlib.ExitStack() as stack:
        found: list[Prepared] = []
        for model, shape in networks:
            found.append(prepare(device, model, shape))
            stack.callback(found[-1].close)
        yield found


def _runs(network: Prepared, repeats: int | None, num_warm_up: int, block_ms: float) -> int:
    """Warm the network up, and return the number of runs in its blocks."""
    times_ms = [network.run() for _ in range(num_warm_up)]
    if repeats is not None:
        return repeats
    fastest_ms = min(times_ms or [network.run()])
    return max(1, min(_MAX_RUNS, math.ceil(block_ms / fastest_ms)))


def _rounds(
    networks: Sequence[Prepared],
    pending: Sequence[int],
    num_runs: Sequence[int],
    blocks: int,
    number: int,
    is_warmed: bool,
) -> dict[int, list[float]]:
    """Run the blocks of the pending networks in turn, and return network index -> medians of its blocks in ms."""
    times_ms: dict[int, list[float]] = {index: [] for index in pending}
    order = generator(0, "rounds", number)
    for _ in range(blocks):
        for position in order.permutation(len(pending)):
            index = pending[position]
            if is_warmed:
                networks[index].run()
            block = [networks[index].run() for _ in range(num_runs[index])]
            times_ms[index].append(float(np.median(block)))
    return times_ms


def _latency(times_ms: Sequence[float], num_repeats: int, threads: int) -> Latency:
    low, median, high = (float(ms) for ms in np.percentile(times_ms, [25, 50, 75]))
    return Latency(median, high - low, num_repeats, threads, high - low > MAX_RELATIVE_IQR * median)
