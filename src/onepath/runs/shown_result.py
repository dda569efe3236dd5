"""A result as text for people: labelled lines for the console and Python, and a small table for notebooks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from onepath import cost
from onepath.display import Metric, shown_cost
from onepath.evidence import wilson
from onepath.record import NetworkRow, TrialRow
from onepath.verdict import COSTS, FEWEST_TOLD, cost_of

Lines = list[tuple[str, str]]


def metric_result(
    metric: Metric, searched: TrialRow, winner: NetworkRow, *, is_score: bool
) -> dict[str, Any]:
    """Return the metric for `result.json`: its description, and its values instead of the scores.

    Args:
        metric: metric of the task.
        searched: trial of the winner, as the search scored it.
        winner: row of the network that is exported.
        is_score: whether the search used a score without training, which is no value of the metric.
    """
    scores = {
        "inherited_validation": None if is_score else searched.accuracy,
        "retrained_validation": winner.retrained_validation,
        "retrained_test": winner.retrained_test,
    }
    return metric.document() | {
        name: None if score is None else metric.value(score) for name, score in scores.items()
    }


def costs_result(rows: Sequence[object], latency_ms: float | None) -> dict[str, dict[str, Any]]:
    """Return every cost of the winner for `result.json`: name -> {"value": number, "unit": text}.

    Args:
        rows: the winner as a network and as a trial; each cost is taken from the first row that has it.
        latency_ms: measured latency in ms if it was limited, else None.
    """
    names = dict.fromkeys([*COSTS, *(name for row in rows for name in getattr(row, "costs", ()))])
    found = {name: next((v for row in rows if (v := cost_of(row, name)) is not None), None) for name in names}
    found["latency_ms"] = latency_ms
    return {name: _costed(name, value) for name, value in found.items() if value is not None}


def teacher_result(model: Mapping[str, Any] | None, metric: Metric) -> dict[str, Any] | None:
    """Return the converted model for `result.json`, with values of the metric; None if no model was converted.

    Args:
        model: record of the model, see `model_record`.
        metric: metric of the task.
    """
    if model is None:
        return None
    splits = {split: metric.value(model[split]) for split in ("validation", "test")}
    return {
        **model,
        **splits,
        **{
            key: {name: _costed(name, value) for name, value in model[key].items()}
            for key in ("costs", "winner_costs")
            if key in model
        },
    }


def _costed(name: str, value: float) -> dict[str, Any]:
    return {"value": value, "unit": _unit(name)}


def _unit(name: str) -> str:
    return cost.COSTS[name].unit if name in cost.COSTS else shown_cost(name).unit or shown_cost(name).title


def result_lines(result: Mapping[str, Any]) -> Lines:
    """Return the outcome of a run as pairs of label and text: network, costs, metric, baseline, ranking, verdict.

    Args:
        result: content of `result.json`; empty before the run has finished.
    """
    if not result:
        return [("network", "not finished yet")]
    metric, accuracy = metric_in(result), result["accuracy"]
    lines = [("network", ", ".join(_cost_texts(result)))]
    if result["cost"]["latency_ms"] is not None:
        lines.append(("latency", _latency(result)))
    test, validation = (number(metric, accuracy[f"retrained_{split}"]) for split in ("test", "validation"))
    direction = "" if metric.is_share else f" ({metric.direction})"
    lines.append((metric.name, f"{test} test, {validation} validation{direction}"))
    tested = ", ".join(number(metric, score) for score in result["random_baseline"]["retrained_test"])
    if tested:
        num = result["random_baseline"]["num"]
        networks = "architecture" if num == 1 else "architectures"
        lines.append(("baseline", f"{tested} test, of {num} random {networks} under the same limits"))
    score, ranking = result["score"], result["ranking"]
    if score is not None:
        value = "none" if score["value"] is None else f"{score['value']:.4f}"
        lines.append(("score", f"{score['name']} {value}, {score['num_degenerate']:,} networks degenerate"))
    if ranking["kendall_tau"] is not None:
        few = "" if ranking["num"] >= FEWEST_TOLD else ", too few to prove anything"
        text = f"Kendall tau {ranking['kendall_tau']:.4f}, Spearman {ranking['spearman']:.4f}"
        lines.append(("ranking", f"{text} over {ranking['num']} networks{few}"))
    lines += [("verdict", sentence) for sentence in result.get("verdict") or ()]
    return lines + [("verdict", sentence) for sentence in _smallest_winner(metric, result)]


def _smallest_winner(metric: Metric, result: Mapping[str, Any]) -> list[str]:
    """Return a sentence on the smallest winner that tests as well as the best one, within the best one's interval.

    Without several winners under limits of one cost, the list is empty.
    """
    winners = result.get("winners") or ()
    names = {name.removeprefix("max_") for winner in winners for name in winner.get("limits") or ()}
    if len(winners) < 2 or len(names) != 1 or not metric.is_share:
        return []
    shown, num = shown_cost(names.pop()), result["data"].get("test")
    found = [
        ((winner.get("costs") or {}).get(shown.name, {}).get("value"), winner["accuracy"]["retrained_test"])
        for winner in winners
    ]
    if num is None or any(None in pair for pair in found):
        return []
    best = max(score for _, score in found)
    lowest = wilson(best, num)[0]
    of_best = min(cost for cost, score in found if score == best)
    cost, score = min(pair for pair in found if pair[1] >= lowest)
    begin = (
        f"Of the {len(winners)} winners the best has {metric.text(best)} on the test set, {metric.text(lowest)} or "
        f"more within its uncertainty on {num:,} examples"
    )
    if cost == of_best:
        which = (
            "no smaller one reaches that"
            if cost > min(own for own, _ in found)
            else "it is also the smallest"
        )
        return [f"{begin}; {which}, with {shown.named(cost)}."]
    return [
        f"{begin}; the smallest that reaches that has {metric.text(score)} with {shown.named(cost)}, "
        f"{100 * cost / of_best:.0f} % of the best one's."
    ]


def metric_in(result: Mapping[str, Any]) -> Metric:
    """Return the metric of a result; a result of an older onepath holds only the name of the metric."""
    return Metric.of(result.get("metric") or result["data"]["metric"])


def number(metric: Metric, score: float | None) -> str:
    """Return the metric value that a score stands for, with four digits after the point; "none" without a score."""
    return "none" if score is None else f"{metric.value(score):.4f}"


def result_text(path: Path, result: Mapping[str, Any]) -> str:
    """Return a result as text in one screen.

    Args:
        path: path of the run directory.
        result: content of `result.json`; empty before the run has finished.
    """
    lines = [("run", str(path)), *result_lines(result)]
    if result:
        lines.append(("report", str(path / result["files"]["report"])))
    return "\n".join(f"{label:<10} {text}" for label, text in lines)


def result_html(path: Path, result: Mapping[str, Any]) -> str:
    """Return a result as a small HTML table for a notebook, with a link to the report; all text is escaped.

    Args:
        path: path of the run directory.
        result: content of `result.json`; empty before the run has finished.
    """
    lines = [("run", str(path)), *result_lines(result)]
    rows = [
        f"<tr><th style='text-align:left'>{escape(label)}</th><td style='text-align:left'>{escape(text)}</td></tr>"
        for label, text in lines
    ]
    if result:
        link = escape((path / result["files"]["report"]).resolve().as_uri(), quote=True)
        rows.append(
            f"<tr><th style='text-align:left'>report</th><td><a href=\"{link}\">report.html</a></td></tr>"
        )
    return f"<table>{''.join(rows)}</table>"


def _cost_texts(result: Mapping[str, Any]) -> list[str]:
    """Return the counted costs as texts; a result of an older onepath has only MACs and parameters."""
    noted = result.get("costs") or {name: {"value": result["cost"][name]} for name in COSTS}
    texts = []
    for name, found in noted.items():
        shown, value = shown_cost(name), found["value"]
        if shown.unit == "ms" or value is None:
            continue
        texts.append(shown.named(value) if shown.unit else f"{value:,.10g} {shown.title}")
    return texts


def _latency(result: Mapping[str, Any]) -> str:
    found, limit = result["cost"], result["constraints"]["max_latency_ms"]
    iqr = "" if found["latency_iqr_ms"] is None else f" (IQR {found['latency_iqr_ms']:.3f} ms)"
    text = f"{found['latency_ms']:.3f} ms{iqr} measured on {found['latency_device']}"
    if limit is not None:
        text += f", predicted {found['latency_predicted_ms']:.3f} ms, limit {limit:g} ms"
    return text
