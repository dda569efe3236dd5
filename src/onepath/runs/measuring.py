"""Choose the winner under a limit on latency: the most accurate architecture that is measured within the limit.

With several finalists, the most accurate ones that are measured within it are chosen.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from onepath.errors import InfeasibleError, UserError
from onepath.record import TrialRow
from onepath.runs.opened import Run

if TYPE_CHECKING:
    from onepath.latency import Latency

MOST_MEASURED = 8
"""Largest number of networks that are measured after one search."""
MOST_TIGHTENED = 4
"""Largest number of searches under a tightened screen."""
_LEAST_STEP = 0.05

Search = Callable[[int, float], Sequence[TrialRow]]
"""A search: (its number, largest predicted latency in ms) -> all trials so far, most accurate first."""


@dataclass(frozen=True)
class Chosen:
    """The winner of a search under a limit on latency, or the finalists.

    Attributes:
        trials: trial of the winner, or of each finalist; most accurate first.
        screen_ms: largest predicted latency in ms that the last search allowed.
    """

    trials: list[TrialRow]
    screen_ms: float


def choose_within(run: Run, search: Search) -> Chosen:
    """Search under the limit on latency, then measure the best trials until one is within the limit.

    The screen is the largest predicted latency that a search allows; at first it is the limit. The trials within the
    screen are measured in the order of their accuracy, at most 8 after a search. If none is measured within the limit,
    the screen becomes limit / median(measured / predicted latency), but at least a twentieth lower than before, and the
    search is repeated; this happens at most four times. A few networks that were measured in a slow moment make the
    screen tighter than needed. So if the winner of a repeated search leaves room, the search is repeated once more
    under the screen that the winner's own ratio gives, and the better ones of both are taken.

    Args:
        run: a run with a limit on latency.
        search: see `Search`.

    Raises:
        InfeasibleError: no architecture is predicted to meet the limit; or none was measured to meet it, and the
            message names the smallest measured latency.
        UserError: every measurement was noisy. The measurements are deleted, so that the same command makes them again.
    """
    limit_ms = run.config.limit_ms
    assert limit_ms is not None, "there is a limit"
    screen_ms, failed_ms = limit_ms, None
    measured: dict[str, tuple[float, Latency]] = {}
    for step in range(1 + MOST_TIGHTENED):
        try:
            trials = search(step, screen_ms)
        except InfeasibleError:
            if step == 0:
                raise
            break
        found = _first_within(run, trials, screen_ms, measured)
        if found:
            chosen = Chosen(found, screen_ms)
            return (
                chosen if failed_ms is None else _loosened(run, search, step + 1, chosen, failed_ms, measured)
            )
        ratios = [
            latency.held_ms / ms for ms, latency in measured.values() if not latency.is_noisy and ms > 0
        ]
        if not ratios:
            break
        failed_ms = screen_ms
        screen_ms = min(limit_ms / statistics.median(ratios), (1 - _LEAST_STEP) * screen_ms)
    raise _none_within(run, measured)


def _loosened(
    run: Run,
    search: Search,
    step: int,
    chosen: Chosen,
    failed_ms: float,
    measured: dict[str, tuple[float, Latency]],
) -> Chosen:
    """Search once more under a looser screen if the winner leaves room, and return the better trials of both.

    Args:
        run: a run with a limit on latency.
        search: see `Search`.
        step: number of the search.
        chosen: what a search under a tightened screen has found.
        failed_ms: the screen before it, under which nothing was measured within the limit.
        measured: architecture -> its predicted latency in ms, and its measured latency; it is filled.
    """
    limit_ms, num = run.config.limit_ms, len(chosen.trials)
    assert limit_ms is not None, "there is a limit"
    ms, latency = measured[chosen.trials[0].architecture]
    screen_ms = min(limit_ms * ms / latency.held_ms, (1 - _LEAST_STEP) * failed_ms)
    if screen_ms < (1 + _LEAST_STEP) * chosen.screen_ms:
        return chosen
    trials = search(step, screen_ms)
    found = _first_within(run, trials, screen_ms, measured)
    names = {trial.architecture for trial in [*chosen.trials, *found]}
    best = [trial for trial in trials if trial.architecture in names][:num]
    return Chosen(best, screen_ms) if best else chosen


def _first_within(
    run: Run, trials: Sequence[TrialRow], screen_ms: float, measured: dict[str, tuple[float, Latency]]
) -> list[TrialRow]:
    """Return the first trials that are measured within the limit, as many as there are finalists or fewer.

    `measured` is filled: architecture -> its predicted latency in ms, and its measured latency.
    """
    space, latencies, num = run.blank.space, run.latencies, run.config.finalists or 1
    within = []
    # If an architecture was derived, the random ones are only for comparison.
    trials = [trial for trial in trials if trial.origin == "derived"] or trials
    predicted_ms = latencies.predicted([space.parse(trial.architecture) for trial in trials])
    left = [
        (trial, ms)
        for trial, ms in zip(trials, predicted_ms, strict=True)
        if ms <= screen_ms and trial.architecture not in measured
    ][: MOST_MEASURED + num - 1]
    run.progress.begin(f"measuring on {latencies.device.name}", max(1, len(left)))
    run.progress.advance(0)
    for done, (trial, ms) in enumerate(left, start=1):
        latency = latencies.measure(space.parse(trial.architecture))
        measured[trial.architecture] = (ms, latency)
        run.progress.advance(done, f"{latency.median_ms:.3f} ms, predicted {ms:.3f} ms")
        if latencies.is_within(latency):
            within.append(trial)
        if len(within) == num:
            break
    return within


def _none_within(run: Run, measured: Mapping[str, tuple[float, Latency]]) -> UserError:
    steady = [latency.held_ms for _, latency in measured.values() if not latency.is_noisy]
    device = run.latencies.device.name
    if not steady:
        run.latencies.forget_noisy()
        return UserError(
            f"a latency must be measured without noise to be held to a limit, but all {len(measured)} networks "
            f"measured on {device} spread by over a tenth; run the same command again when the machine is quieter"
        )
    return InfeasibleError(
        f"a network must be measured within max_latency_ms on {device}, but got {run.config.limit_ms:g} ms, and the "
        f"smallest measured is {min(steady):.4g} ms with its spread, of {len(measured)} networks that were predicted "
        "to meet it; raise max_latency_ms"
    )
