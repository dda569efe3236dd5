"""What the report says in words: the verdict, what the rank correlation can tell, and what to be careful about."""

from __future__ import annotations

import math
import statistics
from typing import NamedTuple

from onepath.record import RunRecord, TrialRow
from onepath.report.findings import (
    Comparison,
    Ranking,
    baselines,
    compare,
    is_done,
    limits,
    num_images,
    num_scored,
    rank,
    sampling_error,
    searched_by,
    stage_record,
    winner_network,
    winner_trial,
)
from onepath.report.formats import percent, percent_range, points, scientific, short_count, whole

# Outputs are logits around 1 to 10; float32 rounding through a network stays well under this.
_LARGE_PARITY_ERROR = 1e-3
_FEW_IMAGES = 2000
_FEW_NETWORKS = 10
_SIGNIFICANT = 0.05
_LIMIT_NAMES = {"max_macs": "MACs (the dashed line)", "max_params": "parameters", "max_layers": "layers"}
_UNITS = {"max_latency_ms": "ms of latency"}


class Caution(NamedTuple):
    """Something that lowers the trust in a figure."""

    title: str
    text: str


def verdict(record: RunRecord) -> str:
    """Whether the search found more than chance would, in one sentence."""
    comparison = compare(record)
    if comparison is not None:
        return _compared(comparison)
    if winner_network(record) is None:
        if is_done(record, "search"):
            return "The winner has not been retrained yet, so there is no verdict on the search."
        return "The search has not finished, so there is no verdict on it."
    if baselines(record):
        return "The baseline's training has not finished, so there is no verdict on the search."
    return "No random baseline was trained, so nothing shows whether the search did better than chance."


def _compared(comparison: Comparison) -> str:
    num, difference = len(comparison.baseline), comparison.difference
    accuracies = percent_range(list(comparison.baseline))
    others = (
        f"the mean of {num} random architectures with equal budget (range {accuracies})"
        if num > 1
        else f"one random architecture with equal budget ({accuracies})"
    )
    winner = _winner_title(comparison)
    if float(points(difference).split()[0]) == 0:
        head = f"{winner} is no better and no worse than {others}"
    else:
        head = f"{winner} is {points(difference)} {'above' if difference > 0 else 'below'} {others}"
    if comparison.noise is None:
        return f"{head}; too little was measured to tell that from noise."
    noise = f"noise of ±{points(comparison.noise)}"
    if comparison.is_better:
        return f"{head}: more than the {noise}."
    if comparison.is_worse:
        return f"{head}: worse than random by more than the {noise}."
    return f"{head}: not better than random beyond the {noise}."


def _winner_title(comparison: Comparison) -> str:
    """Says which of the winner's two trainings is compared, where it is not the one at the top of the page."""
    if comparison.is_handed_over:
        return "The winner"
    return f"The winner trained from {'scratch' if comparison.start == 'scratch' else 'inherited weights'}"


def ranking_text(ranking: Ranking, by: str = "inherited accuracy") -> str:
    """What the rank correlation with this many networks tells, and what it cannot.

    Args:
        ranking: of the run.
        by: what the search ranked by.
    """
    if ranking.num < 2:
        return (
            f"The search ranks architectures by {by}. Whether that order holds for networks trained on "
            f"their own was not measured: it takes at least two networks trained from scratch, and this run has "
            f"{ranking.num}."
        )
    if ranking.kendall_tau is None or ranking.chance is None:
        return (
            f"The {ranking.num} networks trained from scratch tie in one of the two "
            f"{'accuracies' if by == 'inherited accuracy' else 'figures'}, so no rank correlation can be computed."
        )
    text = (
        f"Over {ranking.num} networks trained from scratch, {by} orders stand-alone accuracy with "
        f"Kendall's tau {_signed(ranking.kendall_tau)} (Spearman's rho {_signed(ranking.spearman or 0.0)}; 1 is the "
        f"same order, 0 no relation). A random order does at least as well in {percent(ranking.chance)} of cases: "
        f"{'too often to conclude that' if ranking.chance > _SIGNIFICANT else 'a sign that'} the ranking holds."
    )
    if ranking.num < _FEW_NETWORKS:
        perfect = percent(1 / math.factorial(ranking.num))
        text += (
            f" With {ranking.num} networks even the perfect order arises by chance in {perfect} of cases, and a good "
            "ranking cannot be told from a fair one."
        )
    return text


def retraining_text(record: RunRecord) -> str:
    """What training on its own changes, and whether the start of the winner's weights matters."""
    by = searched_by(record)
    if by.is_score:
        return f"{by.name[0].upper()}{by.name[1:]} is no accuracy: it has no unit, and only its order means anything."
    gains = [
        row.retrained_validation - row.inherited_validation
        for row in record.networks
        if row.retrained_validation is not None and row.inherited_validation is not None
    ]
    if not gains:
        return (
            "Inherited and retrained accuracies were not both measured, so the gain of retraining is unknown."
        )
    mean = statistics.fmean(gains)
    text = (
        f"Training a network on its own {'raises' if mean >= 0 else 'lowers'} its validation accuracy by "
        f"{points(mean)} on average over what it inherits from the supernet."
    )
    tests = {row.start: row.retrained_test for row in record.networks if row.role == "winner"}
    scratch, inherited = tests.get("scratch"), tests.get("inherited")
    if scratch is None or inherited is None:
        return text
    better = "above" if scratch >= inherited else "below"
    return (
        f"{text} The winner trained from scratch ends {points(scratch - inherited)} {better} the one that began with "
        "inherited weights, on the test set."
    )


def limits_text(record: RunRecord) -> str:
    """The limits under which the search went on."""
    found = [
        f"{short_count(value)} {_LIMIT_NAMES[name]}"
        if name in _LIMIT_NAMES
        else f"{value:g} {_UNITS.get(name, name)}"
        for name, value in limits(record).items()
    ]
    return f"The limit was {' and '.join(found)}." if found else "No limit was set."


def cautions(record: RunRecord) -> list[Caution]:
    """Everything in the records that lowers the trust in the figures, gravest first."""
    found = [
        *_baseline_cautions(record),
        *_export_cautions(record),
        *_search_cautions(record),
        *_data_cautions(record),
    ]
    ranking = rank(record)
    if 2 <= ranking.num < _FEW_NETWORKS:
        found.append(
            Caution(
                "Few networks", f"The rank correlation rests on {ranking.num} networks trained from scratch."
            )
        )
    return found


def _baseline_cautions(record: RunRecord) -> list[Caution]:
    comparison = compare(record)
    if comparison is None or max(comparison.baseline) <= comparison.winner:
        return []
    num = sum(accuracy > comparison.winner for accuracy in comparison.baseline)
    text = (
        f"{num} of {len(comparison.baseline)} random architectures, the best with {percent(max(comparison.baseline))}, "
        f"reached more than the {percent(comparison.winner)} on the test set of the winner trained alike."
    )
    return [Caution("A random architecture is better", text)]


def _export_cautions(record: RunRecord) -> list[Caution]:
    parity = record.result.get("parity") or stage_record(record, "export")
    names = {"onnx_max_abs_error": "ONNX file", "pt2_max_abs_error": "torch.export file"}
    return [
        Caution(
            "Outputs of an export differ",
            f"The {name}'s outputs differ from the network's by up to {scientific(parity[key])}.",
        )
        for key, name in names.items()
        if (parity.get(key) or 0) > _LARGE_PARITY_ERROR
    ]


def _search_cautions(record: RunRecord) -> list[Caution]:
    found = []
    winner = winner_trial(record)
    if winner is None or winner.accuracy is None:
        return []
    ties = _num_ties(record.trials, winner)
    if ties:
        were = "architecture has" if ties == 1 else "architectures have"
        decided = "the lower loss decided"
        if (stage_record(record, "search").get("front") or {}).get("decides_ties"):
            decided = "fewer MACs and parameters decided, and among what these leave the lower loss"
        by = searched_by(record)
        what = "score" if by.is_score else by.name
        decided = "the first one decided" if by.is_score else decided
        text = f"{whole(ties)} other {were} exactly the {what} of the best one; {decided}."
        found.append(Caution("Ties at the top", text))
    lost = sum(trial.accuracy is None for trial in record.trials)
    if searched_by(record).is_score:
        return found + _score_cautions(record, lost)
    if lost:
        text = (
            f"{whole(lost)} of {whole(len(record.trials))} evaluated architectures gave no finite accuracy."
        )
        found.append(Caution("Failed evaluations", text))
    classes = stage_record(record, "data").get("classes") or (record.result.get("data") or {}).get("classes")
    if classes and winner.accuracy < min(2 / classes, 1 / classes + 0.1):
        text = (
            f"The best inherited accuracy, {percent(winner.accuracy)}, is near the {percent(1 / classes)} of guessing "
            f"among {classes} classes: the supernet has hardly been trained, and its ranking says little."
        )
        found.append(Caution("The supernet is hardly trained", text))
    found.append(
        Caution(
            "The best of many",
            f"The inherited accuracy shown is the highest of {whole(len(record.trials))} measured on the same "
            "validation images, so it is an optimistic figure; trust the test accuracy.",
        )
    )
    return found


def _score_cautions(record: RunRecord, num_degenerate: int) -> list[Caution]:
    by, found = searched_by(record), []
    if num_degenerate:
        text = (
            f"{by.name} could tell nothing about {whole(num_degenerate)} of {whole(len(record.trials))} networks, "
            "which rank last."
        )
        found.append(Caution("Degenerate networks", text[0].upper() + text[1:]))
    text = (
        f"No network was trained in the search: {by.name} stands for no measured accuracy. Whether the winner is good "
        "is shown by its test accuracy beside that of random architectures alone."
    )
    return [*found, Caution("A score is not an accuracy", text)]


def _num_ties(trials: list[TrialRow], winner: TrialRow) -> int:
    return sum(trial.accuracy == winner.accuracy for trial in trials) - 1


def _data_cautions(record: RunRecord) -> list[Caution]:
    found = []
    for split, num, accuracy in (
        ("validation", num_scored(record), _search_accuracy(record)),
        ("test", num_images(record, "test"), _test_accuracy(record)),
    ):
        error = sampling_error(accuracy, num)
        if num and error is not None and num < _FEW_IMAGES:
            text = (
                f"{whole(num)} images: one is worth {points(1 / num, 2)}, and an accuracy of {percent(accuracy)} "
                f"measured on them has a sampling error of about ±{points(2 * error)}."
            )
            found.append(Caution(f"Few {split} images", text))
    notes = map(str, stage_record(record, "data").get("notes") or ())
    found += [Caution("About the data", note[:1].upper() + note[1:]) for note in notes]
    return found


def _search_accuracy(record: RunRecord) -> float | None:
    winner = winner_trial(record)
    return winner.accuracy if winner and not searched_by(record).is_score else None


def _test_accuracy(record: RunRecord) -> float | None:
    tested = [row.retrained_test for row in record.networks if row.retrained_test is not None]
    return statistics.fmean(tested) if tested else None


def _signed(value: float) -> str:
    return f"{math.copysign(abs(value), value):+.2f}".replace("-", "\u2212")
