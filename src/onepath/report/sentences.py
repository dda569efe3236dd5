"""The sentences of the report: the verdict, what the rank correlation can tell, and what to be careful about.

The sentences of `words` are also printed at the end of a run and kept in `result.json`.
"""

from __future__ import annotations

import math
import statistics
from typing import NamedTuple

from onepath.display import Metric, shown_cost
from onepath.evidence import sampling_error, smallest_as_good
from onepath.record import NetworkRow, RunRecord
from onepath.report.findings import (
    baselines,
    compared,
    front_costs,
    is_done,
    limits,
    metric_of,
    num_examples,
    num_scored,
    searched_by,
    shown_costs,
    stage_record,
    ties_of,
    winner_network,
    winner_trial,
)
from onepath.report.formats import scientific, share, whole
from onepath.verdict import FEWEST_TOLD, Ranking, ranking

# Outputs are logits of about 1 to 10; float32 rounding errors through a network are much smaller than this.
_LARGE_PARITY_ERROR = 1e-3
_FEW_EXAMPLES = 2000
_SIGNIFICANT = 0.05


class Caution(NamedTuple):
    """A reason to trust a number of the report less."""

    title: str
    text: str


def words(record: RunRecord) -> list[str]:
    """Return the verdict on a run, one or two sentences per entry.

    The entries compare the winner with random networks and with the model that was converted, say how small a network
    is as good as the best, and warn of a rank correlation that proves nothing.
    """
    found = [verdict(record), model_text(record), gain_text(record)]
    rank = ranking(record.networks)
    if rank.num >= 2 and rank.proves_nothing:
        found.append(
            f"A rank correlation over {rank.num} networks proves nothing: it takes {FEWEST_TOLD} or more to tell "
            f"whether {searched_by(record).name} ranks as training alone does."
        )
    return [sentence for sentence in found if sentence]


def model_text(record: RunRecord) -> str:
    """Return sentences that compare the winner with the model that was converted; "" if no model was."""
    model, network = stage_record(record, "export").get("model"), winner_network(record)
    if model is None or network is None:
        return ""
    metric = metric_of(record)
    costs = [
        f"{share(own / model['costs'][name])} of its {shown_cost(name).text(model['costs'][name])}"
        + (f" {shown_cost(name).title}" if not shown_cost(name).unit else "")
        for name in ("macs", "params")
        if (own := network.costs.get(name)) is not None
    ]
    times = model["latency_ms"] / model["winner_latency_ms"]
    same = model["agreement"]
    agrees = "" if same is None else f" It gives {share(same)} of the test examples to the same class."
    noisy = ", noisy" if model["is_noisy"] else ""
    return (
        f"The model that came in has {metric.text(model['test'])} on the test set; the winner has "
        f"{metric.text(network.retrained_test)} with {' and '.join(costs)}, and takes {model['winner_latency_ms']:.3g} "
        f"ms for its {model['latency_ms']:.3g} ms on {model['latency_device']} ({times:.2g} times as fast{noisy})."
        f"{agrees}"
    )


def verdict(record: RunRecord) -> str:
    """Return one sentence on whether the search did better than chance."""
    found = compared(record)
    if found is None:
        if winner_network(record) is None:
            if is_done(record, "search"):
                return "The winner has not been retrained yet, so there is no verdict on the search."
            return "The search has not finished, so there is no verdict on it."
        if baselines(record):
            return "The baseline's training has not finished, so there is no verdict on the search."
        return "No random baseline was trained, so nothing shows whether the search did better than chance."
    comparison, network = found
    metric, num = metric_of(record), len(comparison.baseline)
    tested = [row.retrained_test for row in baselines(record) if row.retrained_test is not None]
    others = (
        f"the mean of {num} random architectures trained alike (range {metric.range_text(tested)})"
        if num > 1
        else f"one random architecture trained alike ({metric.range_text(tested)})"
    )
    # Name the compared training of the winner if it is not the one at the top of the page.
    is_handed_over = network is winner_network(record)
    start = "scratch" if network.start == "scratch" else f"{network.start} weights"
    winner = "The winner" if is_handed_over else f"The winner trained from {start}"
    difference = metric.difference(comparison.difference)
    if float(difference.split()[0]) == 0:
        head = f"{winner} is no better and no worse than {others}"
    elif metric.is_share:
        head = f"{winner} is {difference} {'above' if comparison.difference > 0 else 'below'} {others}"
    else:
        better = "better" if comparison.difference > 0 else "worse"
        head = f"{winner}'s {metric.name} is {better} by {difference} than {others}"
    if comparison.interval is None:
        return f"{head}; too little was measured to tell that from noise."
    low, high = map(metric.signed, comparison.interval)
    unit = " points" if metric.is_share else ""
    over = " over test examples alone" if num == 1 else ""
    interval = f"the 95 % interval of the difference{over}, {low} to {high}{unit},"
    if comparison.is_better:
        return f"{head}; {interval} is above zero: better than random."
    if comparison.is_worse:
        return f"{head}; {interval} is below zero: worse than random."
    return f"{head}; {interval} includes zero: not told apart from random."


def gain_text(record: RunRecord) -> str:
    """Return a sentence on the smallest network that is as good as the best.

    It is "" before the search has ended, if nothing has a cost, or if the search used a score, which has no unit.
    """
    by, costs = searched_by(record), shown_costs(record, record.trials)
    if by.is_score or not costs or not is_done(record, "search"):
        return ""
    limited = [cost for cost in costs if f"max_{cost.name}" in limits(record)]
    cost = (limited or costs)[0]
    num = num_scored(record)
    gain = smallest_as_good(record.trials, cost.name, num if by.metric.is_share else None)
    if gain is None:
        return ""
    within = f" within its uncertainty ({by.metric.text(gain.lowest)} or more, on {whole(num)} validation examples),"
    reach = f"reaches the best {by.name}, {by.metric.text(gain.best)}"
    if gain.cost >= gain.of_best:
        return f"No network smaller than trial {gain.number}, with {cost.named(gain.cost)}, {reach}."
    return (
        f"The smallest network on the front that {reach},{within if gain.lowest < gain.best else ''} is trial "
        f"{gain.number} with {by.metric.text(gain.score)} and {cost.named(gain.cost)}: "
        f"{share(gain.cost / gain.of_best)} of the {cost.text(gain.of_best)} of the best one."
    )


def ranking_text(ranking: Ranking, by: str, metric: str) -> str:
    """Return sentences on what the rank correlation over this many networks can tell, and what it cannot.

    Args:
        ranking: rank correlation of the run.
        by: what the search ranked by, for example "inherited accuracy".
        metric: name of the task's metric, for example "accuracy".
    """
    if ranking.num < 2:
        return (
            f"The search ranks architectures by {by}. Whether that order holds for networks trained on "
            f"their own was not measured: it takes at least two networks trained from scratch, and this run has "
            f"{ranking.num}."
        )
    if ranking.kendall_tau is None or ranking.chance is None:
        return (
            f"The {ranking.num} networks trained from scratch tie in one of the two figures, so no rank correlation "
            "can be computed."
        )
    text = (
        f"Over {ranking.num} networks trained from scratch, {by} orders stand-alone {metric} with "
        f"Kendall's tau {_signed(ranking.kendall_tau)} (Spearman's rho {_signed(ranking.spearman or 0.0)}; 1 is the "
        f"same order, 0 no relation). A random order does at least as well in {share(round(ranking.chance, 3))} of "
        "cases: "
        f"{'too often to conclude that' if ranking.chance > _SIGNIFICANT else 'a sign that'} the ranking holds."
    )
    if ranking.proves_nothing:
        perfect = share(round(1 / math.factorial(ranking.num), 3))
        text += (
            f" With {ranking.num} networks even the perfect order arises by chance in {perfect} of cases, and a good "
            "ranking cannot be told from a fair one."
        )
    return text


def retraining_text(record: RunRecord) -> str:
    """Return sentences on what stand-alone training changes, and on the winner's start from scratch or inherited."""
    by, metric = searched_by(record), metric_of(record)
    if by.is_score:
        name = f"{by.name[0].upper()}{by.name[1:]}"
        return f"{name} is no {metric.name}: it has no unit, and only its order means anything."
    gains = [gain for row in record.networks if (gain := gain_of(metric, row)) is not None]
    if not gains:
        return (
            f"{by.word.capitalize()} and retrained {metric.name} were not both measured, so the gain of retraining is "
            "unknown."
        )
    if all(row.start == "as-is" for row in record.networks):
        return "Networks keep the supernet's weights: nothing is trained after the search."
    mean = statistics.fmean(gains)
    text = (
        f"Training a network on its own {'improves' if mean >= 0 else 'worsens'} its validation {metric.name} by "
        f"{metric.difference(mean)} on average over "
        f"{'what it inherits from the supernet' if by.word == 'inherited' else f'its {by.word} training'}."
    )
    tests = {row.start: row.retrained_test for row in record.networks if row.role == "winner"}
    scratch, inherited = tests.pop("scratch", None), next(iter(tests.values()), None)
    if scratch is None or inherited is None:
        return text
    difference = metric.goodness(scratch) - metric.goodness(inherited)
    return (
        f"{text} The winner trained from scratch ends {metric.difference(difference)} "
        f"{'better' if difference >= 0 else 'worse'} than the one that began with inherited weights, on the test set."
    )


def gain_of(metric: Metric, row: NetworkRow) -> float | None:
    """Return what a network gained by its stand-alone training on the validation split, in the metric's unit.

    It is positive if the network became better, in either direction of the metric; None if a value is missing.
    """
    if row.retrained_validation is None or row.inherited_validation is None:
        return None
    return metric.goodness(row.retrained_validation) - metric.goodness(row.inherited_validation)


def limits_text(record: RunRecord) -> str:
    """Return a sentence on the limits of the search."""
    found = []
    for name, value in limits(record).items():
        cost = shown_cost(name.removeprefix("max_"))
        found.append(f"{value:g} ms of latency" if cost.unit == "ms" else cost.named(value))
    return f"The limit was {' and '.join(found)}." if found else "No limit was set."


def cautions(record: RunRecord) -> list[Caution]:
    """List everything in the records that is a reason to trust the numbers less, the most serious first."""
    found = [
        *_baseline_cautions(record),
        *_export_cautions(record),
        *_search_cautions(record),
        *_data_cautions(record),
    ]
    rank = ranking(record.networks)
    if rank.num >= 2 and rank.proves_nothing:
        text = f"The rank correlation rests on {rank.num} networks trained from scratch, and proves nothing."
        found.append(Caution("Few networks", text))
    return found


def _baseline_cautions(record: RunRecord) -> list[Caution]:
    found, metric = compared(record), metric_of(record)
    tested = [row.retrained_test for row in baselines(record) if row.retrained_test is not None]
    if found is None or max(found[0].baseline) <= found[0].winner:
        return []
    winner = found[1].retrained_test or 0.0
    text = (
        f"{sum(score > winner for score in tested)} of {len(tested)} random architectures, the best with "
        f"{metric.text(max(tested))}, did better than the {metric.text(winner)} on the test set of the winner trained "
        "alike."
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
    found: list[Caution] = []
    winner, by, metric = winner_trial(record), searched_by(record), metric_of(record)
    if winner is None or winner.accuracy is None:
        return found
    ties = sum(trial.accuracy == winner.accuracy for trial in record.trials) - 1
    if ties:
        were = "architecture has" if ties == 1 else "architectures have"
        decided = "the first one decided" if by.is_score else "the lower loss decided"
        if ties_of(record) == "front" and not by.is_score:
            costs = " and ".join(cost.title for cost in front_costs(record))
            decided = f"fewer {costs} decided, and among what these leave the lower loss"
        what = "score" if by.is_score else by.name
        text = f"{whole(ties)} other {were} exactly the {what} of the best one; {decided}."
        found.append(Caution("Ties at the top", text))
    lost = sum(trial.accuracy is None for trial in record.trials)
    if by.is_score:
        return found + _score_cautions(record, lost)
    if lost:
        text = f"{whole(lost)} of {whole(len(record.trials))} evaluated architectures gave no finite {metric.name}."
        found.append(Caution("Failed evaluations", text))
    classes = stage_record(record, "data").get("classes") or (record.result.get("data") or {}).get("classes")
    if classes and metric.name == "accuracy" and winner.accuracy < min(2 / classes, 1 / classes + 0.1):
        text = (
            f"The best {by.name}, {metric.text(winner.accuracy)}, is near the {metric.text(1 / classes)} of guessing "
            f"among {classes} classes: the supernet has hardly been trained, and its ranking says little."
        )
        found.append(Caution("The supernet is hardly trained", text))
    text = (
        f"The {by.name} shown is the best of {whole(len(record.trials))} measured on the same validation examples, so "
        f"it is an optimistic figure; trust the test {metric.name}."
    )
    return [*found, Caution("The best of many", text)]


def _score_cautions(record: RunRecord, num_degenerate: int) -> list[Caution]:
    by, metric, found = searched_by(record), metric_of(record), []
    if num_degenerate:
        text = (
            f"{by.name} could tell nothing about {whole(num_degenerate)} of {whole(len(record.trials))} networks, "
            "which rank last."
        )
        found.append(Caution("Degenerate networks", text[0].upper() + text[1:]))
    text = (
        f"No network was trained in the search: {by.name} stands for no measured {metric.name}. Whether the winner is "
        f"good is shown by its test {metric.name} beside that of random architectures alone."
    )
    return [*found, Caution("A score is no measurement", text)]


def _data_cautions(record: RunRecord) -> list[Caution]:
    found, metric = [], metric_of(record)
    winner = winner_trial(record)
    tested = [row.retrained_test for row in record.networks if row.retrained_test is not None]
    for split, num, score in (
        (
            "validation",
            num_scored(record),
            None if searched_by(record).is_score or not winner else winner.accuracy,
        ),
        ("test", num_examples(record, "test"), statistics.fmean(tested) if tested else None),
    ):
        error = sampling_error(score, num) if metric.is_share else None
        if num and error is not None and num < _FEW_EXAMPLES:
            text = (
                f"{whole(num)} examples: one is worth {metric.difference(1 / num, 2)}, and {metric.name} of "
                f"{metric.text(score)} measured on them has a sampling error of about ±{metric.difference(2 * error)}."
            )
            found.append(Caution(f"Few {split} examples", text))
    notes = map(str, stage_record(record, "data").get("notes") or ())
    found += [Caution("About the data", note[:1].upper() + note[1:]) for note in notes]
    return found


def _signed(value: float) -> str:
    return f"{math.copysign(abs(value), value):+.2f}".replace("-", "\u2212")
