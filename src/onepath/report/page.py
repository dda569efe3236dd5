"""The page `report.html` of a run directory: one file that opens in any browser, offline."""

from __future__ import annotations

import importlib.metadata
import json
import platform
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from onepath.display import ShownCost
from onepath.evidence import sampling_error
from onepath.record import NetworkRow, RunRecord, atomic_write_text
from onepath.record.stage_records import reading_records
from onepath.report import figures, formats
from onepath.report.cells import draw_cells
from onepath.report.command import reproduce
from onepath.report.controller import controller_section
from onepath.report.counts import counts_section
from onepath.report.differentiable import differentiable_figures, differentiable_section
from onepath.report.drawing import draw
from onepath.report.finals import finals_of
from onepath.report.findings import (
    baselines,
    compared,
    is_done,
    limits,
    metric_of,
    num_examples,
    num_scored,
    searched_by,
    shown_costs,
    stage_record,
    winner_network,
    winner_trial,
)
from onepath.report.front import front_section
from onepath.report.latency import latency_section, limit_ms, winner_latency
from onepath.report.model_given import model_section
from onepath.report.predictor import predictor_section, with_pairs
from onepath.report.sentences import cautions, gain_of, limits_text, ranking_text, retraining_text, words
from onepath.report.study_pages import ranking_figures, ranking_sections, stored_studies
from onepath.report.template import scripts, template
from onepath.report.usage import usage
from onepath.report.winners import limits_section
from onepath.verdict import cost_of, ranking

REPORT_NAME = "report.html"
_STAGES = ("train", "search", "retrain", "export")
_PACKAGES = ("torch", "torchvision", "numpy", "onnx", "onnxruntime")


class Card(NamedTuple):
    """A number at the top of the page, with a title above and a note below."""

    title: str
    value: str
    note: str


def write_report(run_directory: Path | str) -> Path:
    """Write `report.html` into a run directory, using only the records in it.

    The page loads nothing: style, plotly.js (about 5 MB) and data are inside. Stages that the run has not finished are
    left out, with a sentence in their place. The same records give the same page on the same installation.

    Returns:
        The path of the page.

    Raises:
        RunDirectoryError: no run has begun in the directory, one of its files is damaged, its records do not fit
            together, or the page cannot be written.
    """
    record = RunRecord.load(run_directory)
    path = record.path / REPORT_NAME
    with reading_records(record.path):
        page = render(record)
    atomic_write_text(path, page)
    return path


def render(record: RunRecord) -> str:
    """Return the page of a run as HTML."""
    page: str = template("report.html.jinja").render(**content(record), **scripts())
    return page


def content(record: RunRecord) -> dict[str, Any]:
    """Return everything that the template `report.html.jinja` shows, by the names that it uses."""
    found, latency, front, counts = (
        compared(record),
        latency_section(record),
        front_section(record),
        counts_section(record),
    )
    differentiable, several = differentiable_section(record), limits_section(record)
    controller = controller_section(record)
    studies = ranking_sections(stored_studies(record))
    tone = "neutral"
    if found is not None:
        tone = "good" if found[0].is_better else "bad" if found[0].is_worse else "neutral"
    trial, network = winner_trial(record), winner_network(record)
    search, by, metric = stage_record(record, "search"), searched_by(record), metric_of(record)
    size = record.result.get("space_size") or search.get("space_size")
    costs = shown_costs(record)
    scatters = [(figures.score_against(record, cost), cost) for cost in costs]
    drawn = [with_pairs(figure, record, cost) for figure, cost in scatters if figure is not None]
    progress, curves = figures.search_progress(record), figures.training_curves(record)
    against, predictor = figures.searched_against_alone(record), predictor_section(record)
    choices, active = search.get("space_choices") or (), search.get("active") or {}
    first, *further = words(record)
    return {
        "title": f"{_space_name(record)} on {_data_name(record)}",
        "subtitle": _subtitle(record),
        "unfinished": [stage for stage in _STAGES if not is_done(record, stage)],
        "verdict": first,
        "further": further,
        "tone": tone,
        "cards": cards(record),
        "usage": usage(record),
        "files": record.result.get("files") or {},
        "seconds": {stage: record.stages[stage]["seconds"] for stage in _STAGES if stage in record.stages},
        "limits": limits_text(record),
        "metric": metric,
        "costs": costs,
        "cost_of": cost_of,
        "scatters": drawn,
        "progress": progress,
        "predictor": predictor,
        "model": model_section(record),
        "curves": curves,
        "against": against,
        "latency": latency,
        "several": several,
        "front": front,
        "counts": counts,
        "differentiable": differentiable,
        "controller": controller,
        "ranking_sections": studies,
        "figures": [
            *drawn,
            *([progress] if progress else ()),
            *([predictor["figure"]] if predictor else ()),
            *curves,
            *([against] if against else ()),
            *([counts["plot"]] if counts else ()),
            *differentiable_figures(differentiable),
            *(controller["figures"] if controller else ()),
            *([latency["scatter"]] if latency and latency["scatter"] else ()),
            *([several["front"]] if several and several["front"] else ()),
            *ranking_figures(studies),
        ],
        "drawing": draw(choices, active),
        "cells": draw_cells(choices, active, str(record.config.get("space", ""))),
        "winner": trial.architecture if trial else network.architecture if network else None,
        "networks": [(_network_name(record, row), row, gain_of(metric, row)) for row in record.networks],
        "searched": by,
        "ranking": ranking_text(ranking(record.networks), by.name, metric.name),
        "retraining": retraining_text(record),
        "finals": finals_of(record),
        "parity": parity(record),
        "num_evaluated": len(record.trials),
        "space_size": size,
        "coverage": len(record.trials) / size if size else None,
        "cautions": cautions(record),
        "settings": {name: _setting(value) for name, value in record.config.items()},
        "versions": versions(record),
        "command": reproduce(record),
    }


def _space_name(record: RunRecord) -> str:
    """Return the name of the space or the model; for a user's file, without its folders."""
    name = str(record.config.get("space", "run"))
    return Path(name).name if ".py:" in name else name


def _weights_text(start: str) -> str:
    return "with the supernet's weights as they are" if start == "as-is" else f"from {start} weights"


def cards(record: RunRecord) -> list[Card]:
    """List the numbers at the top: metric and costs of the winner, and the random baseline.

    While the winner is not trained, the best evaluated architecture takes its place.
    """
    trial, network, metric = winner_trial(record), winner_network(record), metric_of(record)
    by, found = searched_by(record), []
    direction = [] if metric.is_share else [metric.direction]
    if network is not None and network.retrained_test is not None:
        num = num_examples(record, "test")
        error = sampling_error(network.retrained_test, num) if metric.is_share else None
        notes = [f"±{metric.difference(2 * error)} on {formats.whole(num)} examples"] if error else direction
        notes = notes + ([] if network.start == "scratch" else [_weights_text(network.start)])
        found.append(Card(f"Test {metric.name}", metric.text(network.retrained_test), ", ".join(notes)))
    elif trial is not None and trial.accuracy is not None:
        num = None if by.is_score else num_scored(record)
        note = f"best so far, on {formats.whole(num)} validation examples" if num else "best so far"
        name = f"Score {by.metric.name}" if by.is_score else f"{by.word.capitalize()} {metric.name}"
        found.append(Card(name, by.metric.text(trial.accuracy), ", ".join([note, *direction])))
    others = [row.retrained_test for row in baselines(record) if row.retrained_test is not None]
    if others:
        spread = f"range {metric.range_text(others)}, " if len(others) > 1 else ""
        note = f"{spread}{len(others)} network{'s' if len(others) > 1 else ''}"
        found.append(Card("Random baseline", metric.text(statistics.fmean(others)), note))
    shown = network or trial
    found += [
        Card(cost.head, cost.text(value), _limit_note(record, cost, value))
        for cost in (shown_costs(record, [shown]) if shown else ())
        if (value := cost_of(shown, cost.name)) is not None
    ]
    return found + _latency_card(record)


def parity(record: RunRecord) -> list[tuple[str, str, str]]:
    """List (file, runtime, largest difference of the outputs from the network's) for each export that was compared."""
    source: Mapping[str, Any] = record.result.get("parity") or stage_record(record, "export")
    rows = (
        ("model.onnx", "onnxruntime on the CPU", source.get("onnx_max_abs_error")),
        ("model.pt2", "torch.export, loaded again", source.get("pt2_max_abs_error")),
    )
    return [(file, runtime, formats.scientific(error)) for file, runtime, error in rows if error is not None]


def versions(record: RunRecord) -> dict[str, str]:
    """Return package -> version: of onepath when the run ended, and of the other packages as installed now."""
    found = {"Python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    written = record.result.get("onepath")
    return {**({"onepath": str(written)} if written else {}), **found}


def _latency_card(record: RunRecord) -> list[Card]:
    cost = record.result.get("cost") or {}
    export = stage_record(record, "export")
    chosen, limit = winner_latency(record), limit_ms(record)
    measured = chosen or export.get("latency") or {}
    median = cost.get("latency_ms") or chosen.get("median_ms") or export.get("latency_ms")
    if median is None:
        return []
    settings = stage_record(record, "latency").get("settings") or {}
    notes = [str(cost.get("latency_device") or settings.get("name") or measured.get("device") or "")]
    if measured.get("threads"):
        notes.append(f"{measured['threads']} thread{'s' if measured['threads'] > 1 else ''}")
    if measured.get("iqr_ms") is not None:
        notes.append(f"IQR {formats.milliseconds(measured['iqr_ms'])}")
    if cost.get("latency_predicted_ms") is not None:
        notes.append(f"predicted {formats.milliseconds(cost['latency_predicted_ms'])}")
    if limit is not None:
        notes.append(f"limit {formats.milliseconds(limit)}")
    if measured.get("is_noisy"):
        notes.append("noisy: the machine was busy")
    return [Card("Latency", formats.milliseconds(median), ", ".join(note for note in notes if note))]


def _limit_note(record: RunRecord, cost: ShownCost, value: float) -> str:
    limit = limits(record).get(f"max_{cost.name}")
    return f"limit {cost.text(limit)}" if limit is not None else f"{formats.whole(value)}, no limit"


def _network_name(record: RunRecord, row: NetworkRow) -> str:
    """Return the title that the figures use; if the winner was trained several times, "(exported)" marks one."""
    trainings = [other for other in record.networks if other.role == row.role]
    exported = len(trainings) > 1 and row is winner_network(record)
    return f"{figures.network_title(row)}{' (exported)' if exported else ''}"


def _data_name(record: RunRecord) -> str:
    named = stage_record(record, "data").get("name") or (record.result.get("data") or {}).get("name")
    return str(named or record.config.get("data", "data"))


def _subtitle(record: RunRecord) -> list[str]:
    data = stage_record(record, "data") or record.result.get("data") or {}
    facts = []
    if data.get("classes"):
        facts.append(f"{data['classes']} classes")
    if data.get("input_shape"):
        facts.append(f"inputs {'×'.join(map(str, data['input_shape']))}")
    sizes = [
        f"{formats.whole(num)} {split}"
        for split in ("train", "validation", "test")
        if (num := data.get(split))
    ]
    if sizes:
        facts.append(f"{' / '.join(sizes)} examples")
    metric = metric_of(record)
    facts += [] if metric.is_share else [f"{metric.name}, {metric.direction}"]
    facts += [f"method {record.config['method']}"] if record.config.get("method") else []
    facts += [f"seed {record.config['seed']}"] if record.config.get("seed") is not None else []
    return facts


def _setting(value: Any) -> str:
    if value is None:
        return formats.ABSENT
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
