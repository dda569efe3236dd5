"""How well a score ranks architectures: correlations with the known truth, and their uncertainty."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from onepath.errors import ConfigurationError
from onepath.rank_correlation import (
    FEWEST_RANKED,
    Floats,
    Integers,
    kendall_tau,
    num_better,
    number,
    ordinal,
    spearman,
)

SHARES = (0.10, 0.25)
TOPS = (1, 5, 10, 50)
CONFIDENCE = 0.95
_LEAST_DEFINED = 0.5  # share of the resamples in which a figure must be defined to have an interval
_AT_ONCE = 4_000_000  # counts (resamples * rows) in memory at a time

Values = Sequence[float] | npt.NDArray[np.floating[Any]]
Figures = dict[str, Floats]


def rank_evidence(
    truth: Values,
    scores: Mapping[str, Values],
    rng: np.random.Generator,
    *,
    baselines: Sequence[str] = (),
    num_resamples: int = 1000,
    shares: Sequence[float] = SHARES,
    tops: Sequence[int] = TOPS,
) -> dict[str, Any]:
    """Compare the order of scores with the order of the truth; each figure has a bootstrap interval.

    The rows are resampled with replacement; an interval is the middle 95 % of a figure over the resamples. It shows
    how the figure varies with the choice of architectures, not with another training of the same supernet. All scores
    are compared on the same resamples. Therefore the difference of two scores has its own interval, which is narrower
    than the intervals of the two scores suggest.

    Args:
        truth: (n,) known quality of each network, higher is better; one row per network (see `one_row_per_network`).
        scores: name of a score -> (n,) predictions, higher is better. NaN and infinite values rank last and are
            counted.
        rng: draws the resamples.
        baselines: names among `scores` that every other score is compared with.
        num_resamples: number of resamples; 0 gives no intervals.
        shares: fractions in (0, 1]; the correlations are also computed among this fraction of the rows with the highest
            truth, together with all rows that tie with the last of them.
        tops: sizes k; for each, the highest truth among the k rows with the highest score is given. Rows that tie in
            the score are taken in ascending order of truth, so that a tie gains nothing. Sizes above n are left out.

    Returns:
        JSON values: "num", the number of rows; "best", the highest truth; "num_resamples"; "confidence", the share of
        the resamples in an interval; "scores": name -> "num_not_finite", "kendall_tau" (tau-b), "spearman",
        "top_10_percent" and so on for each share, with "num", "kendall_tau" and "spearman", and "best_in_top": k ->
        figure; "differences": name -> baseline -> name of a correlation, for example "spearman" or
        "top_10_percent.spearman" -> figure of the score minus that of the baseline. A figure is {"value", "low",
        "high"}. All three are None where a correlation is undefined: fewer than 3 rows, or all values equal on one
        side.

    Raises:
        ConfigurationError: there is no row, lengths differ, a truth is not finite, a baseline is not a score, or an
            option is out of its range.
    """
    known = _check(truth, scores, baselines, num_resamples, shares, tops)
    sample = _Sample(known, {name: ordinal(values) for name, values in scores.items()}, shares, tops)
    values = sample.figures(np.ones((1, len(known))))
    resampled = _resample(sample, len(known), num_resamples, rng)
    found: dict[str, Any] = {}
    for name, predictions in scores.items():
        figures = {
            key: _figure(values[name][key][0], resampled[name][key] if resampled else None)
            for key in values[name]
        }
        found[name] = {
            "num_not_finite": int((~np.isfinite(np.asarray(predictions, dtype=np.float64))).sum()),
            **_nested(figures, sample),
        }
    differences = {
        name: {
            baseline: {
                key: _figure(
                    values[name][key][0] - values[baseline][key][0],
                    resampled[name][key] - resampled[baseline][key] if resampled else None,
                )
                for key in values[name]
                if not key.startswith("best_in_top")
            }
            for baseline in baselines
        }
        for name in scores
        if name not in baselines
    }
    return {
        "num": len(known),
        "best": float(known.max()),
        "num_resamples": num_resamples,
        "confidence": CONFIDENCE,
        "scores": found,
        "differences": differences,
    }


def share_name(share: float) -> str:
    """Return the name of a share in the results, for example top_10_percent for 0.1."""
    return f"top_{100 * share:g}_percent"


@dataclass(frozen=True)
class _Sample:
    truth: Floats
    scores: Mapping[str, Integers]
    shares: Sequence[float]
    tops: Sequence[int]

    def figures(self, counts: Floats) -> dict[str, Figures]:
        """Return score -> figure -> (R,) values in the R resamples whose `counts` are (R, n); NaN where undefined."""
        places = ordinal(self.truth)
        num = int(counts[0].sum())
        parts = {"": counts if num >= FEWEST_RANKED else np.zeros_like(counts)}
        better = num_better(places, counts)
        for share in self.shares:
            best = counts * (better < self.size(share, num))
            # Too few rows have no order: all are dropped, so that the figure is undefined.
            parts[share_name(share)] = best * (best.sum(axis=1, keepdims=True) >= FEWEST_RANKED)
        return {name: self._of_score(places, score, parts, counts) for name, score in self.scores.items()}

    def _of_score(
        self, truth: Integers, score: Integers, parts: Mapping[str, Floats], counts: Floats
    ) -> Figures:
        figures = {}
        for part, members in parts.items():
            prefix = f"{part}." if part else ""
            figures[f"{prefix}kendall_tau"] = kendall_tau(truth, score, members)
            figures[f"{prefix}spearman"] = spearman(truth, score, members)
        order = np.lexsort((self.truth, -score))
        drawn = counts[:, order]
        before = np.cumsum(drawn, axis=1) - drawn
        for top in self.tops:
            if top <= len(truth):
                chosen = np.where((drawn > 0) & (before < top), self.truth[order], -np.inf)
                figures[f"best_in_top.{top}"] = chosen.max(axis=1)
        return figures

    def size(self, share: float, num: int) -> int:
        """Return the number of rows in a share of `num` rows, rounded up, at least one."""
        return max(1, math.ceil(share * num - 1e-9))

    def num_members(self, share: float) -> int:
        """Return the number of rows in the best share of the whole sample, including rows that tie with the last."""
        better = num_better(ordinal(self.truth), np.ones((1, len(self.truth))))[0]
        return int((better < self.size(share, len(self.truth))).sum())


def _resample(
    sample: _Sample, num_rows: int, num_resamples: int, rng: np.random.Generator
) -> dict[str, Figures]:
    """Compute the figures of all resamples, in parts that fit into memory; empty if there are no resamples."""
    parts = []
    left = num_resamples
    while left > 0:
        num = min(left, max(1, _AT_ONCE // num_rows))
        counts = rng.multinomial(num_rows, np.full(num_rows, 1 / num_rows), size=num).astype(np.float64)
        parts.append(sample.figures(counts))
        left -= num
    if not parts:
        return {}
    return {
        name: {key: np.concatenate([part[name][key] for part in parts]) for key in parts[0][name]}
        for name in sample.scores
    }


def _figure(value: float, resampled: Floats | None) -> dict[str, float | None]:
    figure: dict[str, float | None] = {"value": number(value), "low": None, "high": None}
    if resampled is None or figure["value"] is None:
        return figure
    defined = resampled[~np.isnan(resampled)]
    if len(defined) >= _LEAST_DEFINED * len(resampled):
        tail = (1 - CONFIDENCE) / 2
        figure["low"], figure["high"] = map(float, np.quantile(defined, [tail, 1 - tail]))
    return figure


def _nested(figures: Mapping[str, Any], sample: _Sample) -> dict[str, Any]:
    """Return figures as nested dictionaries: top_10_percent.spearman becomes a key in top_10_percent."""
    found: dict[str, Any] = {share_name(share): {"num": sample.num_members(share)} for share in sample.shares}
    for key, figure in figures.items():
        part, _, name = key.rpartition(".")
        (found.setdefault(part, {}) if part else found)[name] = figure
    return found


def _check(
    truth: Values,
    scores: Mapping[str, Values],
    baselines: Sequence[str],
    num_resamples: int,
    shares: Sequence[float],
    tops: Sequence[int],
) -> Floats:
    known = np.asarray(truth, dtype=np.float64)
    if known.ndim != 1 or not len(known) or not np.isfinite(known).all():
        bad = f"{int((~np.isfinite(known)).sum())} that are not" if known.size else "none"
        raise ConfigurationError(
            f"the truth must be a row of finite numbers, at least one, but got {bad}; leave those rows out"
        )
    for name, values in scores.items():
        if len(values) != len(known):
            raise ConfigurationError(
                f"a score must have one value per row, but {name} has {len(values)} for {len(known)} rows; "
                "give one each; NaN where there is none"
            )
    unknown = [name for name in baselines if name not in scores]
    if unknown:
        raise ConfigurationError(
            f"a baseline must be one of the scores {', '.join(scores)}, but got {unknown[0]}; add its values"
        )
    if num_resamples < 0 or any(not 0 < share <= 1 for share in shares) or any(top < 1 for top in tops):
        raise ConfigurationError(
            f"`num_resamples >= 0`, `0 < share <= 1` and `top >= 1` must hold, but got {num_resamples}, "
            f"{list(shares)} and {list(tops)}; change the one that is out of range"
        )
    return known
