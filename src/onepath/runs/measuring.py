"""The winner under a limit on latency: the most accurate architecture that was measured within it."""

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
"""Networks measured after one search."""
MOST_TIGHTENED = 4
"""Searches under a tightened screen."""
_LEAST_STEP = 0.05

Search = Callable[[int, float], Sequence[TrialRow]]
"""A search, from its number and the largest predicted latency: all trials so far, most accurate first."""


@dataclass(frozen=True)
class Chosen:
    """The winner, and the predicted latency in ms under which it was searched."""

    trial: TrialRow
    screen_ms: float


def choose_within(run: Run, search: Search) -> Chosen:
    """Search under the limit, then measure the best until one is within it.

    The candidates that the predictor lets pass are measured in the order of their accuracy, at most 8 after a
    search. If none is within the limit, what the predictor lets pass is lowered by the median excess of the measured
    over the predicted, by a twentieth at least, and the search goes on; at most four times.

    Raises:
        InfeasibleError: no architecture is predicted to meet the limit; or none was measured to, with the smallest.
        UserError: every measurement stayed noisy; what was noisy is forgotten, so that the same command tries again.
    """
    limit_ms = run.config.limit_ms
    assert limit_ms is not None, "there is a limit"
    screen_ms = limit_ms
    measured: dict[str, tuple[float, Latency]] = {}
    for step in range(1 + MOST_TIGHTENED):
        try:
            trials = search(step, screen_ms)
        except InfeasibleError:
            if step == 0:
                raise
            break
        found = _first_within(run, trials, screen_ms, measured)
        if found is not None:
            return Chosen(found, screen_ms)
        ratios = [
            latency.held_ms / ms for ms, latency in measured.values() if not latency.is_noisy and ms > 0
        ]
        if not ratios:
            break
        screen_ms = min(limit_ms / statistics.median(ratios), (1 - _LEAST_STEP) * screen_ms)
    raise _none_within(run, measured)


def _first_within(
    run: Run, trials: Sequence[TrialRow], screen_ms: float, measured: dict[str, tuple[float, Latency]]
) -> TrialRow | None:
    """The first trial that is measured within the limit; `measured` is filled: predicted and measured latency."""
    space, latencies = run.blank.space, run.latencies
    # Beside an architecture that was derived, the random ones are for comparison.
    trials = [trial for trial in trials if trial.origin == "derived"] or trials
    predicted_ms = latencies.predicted([space.parse(trial.architecture) for trial in trials])
    left = [
        (trial, ms)
        for trial, ms in zip(trials, predicted_ms, strict=True)
        if ms <= screen_ms and trial.architecture not in measured
    ][:MOST_MEASURED]
    run.progress.begin(f"measuring on {latencies.device.name}", max(1, len(left)))
    run.progress.advance(0)
    for done, (trial, ms) in enumerate(left, start=1):
        latency = latencies.measure(space.parse(trial.architecture))
        measured[trial.architecture] = (ms, latency)
        run.progress.advance(done, f"{latency.median_ms:.3f} ms, predicted {ms:.3f} ms")
        if latencies.is_within(latency):
            return trial
    return None


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
