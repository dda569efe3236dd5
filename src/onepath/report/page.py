"""`report.html` of a run directory: one page that opens anywhere, offline."""

from __future__ import annotations

import importlib.metadata
import json
import platform
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from onepath.record import NetworkRow, RunRecord, atomic_write_text
from onepath.record.stage_records import reading_records
from onepath.report import figures, formats
from onepath.report.cells import Cell, draw_cells
from onepath.report.command import reproduce
from onepath.report.counts import counts_section
from onepath.report.drawing import Drawing, draw
from onepath.report.findings import (
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
from onepath.report.front import front_section
from onepath.report.latency import figures_of, latency_section, limit_ms, winner_latency
from onepath.report.ranking import ranking_figures, ranking_sections, stored_studies
from onepath.report.relaxed import relaxed_figures, relaxed_section
from onepath.report.sentences import cautions, limits_text, ranking_text, retraining_text, verdict
from onepath.report.usage import usage
from onepath.webpage import plotly_script, policy

REPORT_NAME = "report.html"
_STAGES = ("train", "search", "retrain", "export")
_FILTERS = (
    "duration",
    "milliseconds",
    "percent",
    "scientific",
    "share",
    "short_count",
    "shortened",
    "signed_points",
    "whole",
)
_PACKAGES = ("torch", "torchvision", "numpy", "onnx", "onnxruntime")


class Card(NamedTuple):
    """A figure at the top of the page."""

    title: str
    value: str
    note: str


class Parity(NamedTuple):
    """How far an exported file is from the network."""

    file: str
    runtime: str
    max_abs_error: float | None


def write_report(run_directory: Path | str) -> Path:
    """Write `report.html` into a run directory, from its records alone.

    The page loads nothing: style, plotly.js (about 5 MB) and data are inside. What a run has not done yet is left out
    with a sentence in its place. The same records give the same page on the same installation.

    Returns:
        The path of the page.

    Raises:
        RunDirectoryError: no run has begun there, a file of it is damaged, its records do not fit together, or the page
            cannot be written.
    """
    record = RunRecord.load(run_directory)
    path = record.path / REPORT_NAME
    with reading_records(record.path):
        page = render(record)
    atomic_write_text(path, page)
    return path


def render(record: RunRecord) -> str:
    """The page as text."""
    page: str = template("report.html.jinja").render(**content(record), **scripts())
    return page


def scripts() -> dict[str, Any]:
    """The scripts that draw a page's figures, and the policy that lets these run alone."""
    texts = [plotly_script(), Path(__file__).with_name("figures.js").read_text(encoding="utf-8")]
    return {"scripts": texts, "policy": policy(texts)}


def template(name: str) -> Any:
    """One of this room's templates, with the filters of the report."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        finalize=lambda value: formats.ABSENT if value is None else value,
    )
    for filter_name in _FILTERS:
        environment.filters[filter_name] = getattr(formats, filter_name)
    environment.policies["json.dumps_kwargs"] = {"sort_keys": True, "allow_nan": False}
    return environment.get_template(name)


def content(record: RunRecord) -> dict[str, Any]:
    """Everything that the template shows."""
    comparison, latency = compare(record), latency_section(record)
    front, counts = front_section(record), counts_section(record)
    relaxed = relaxed_section(record)
    ranking = ranking_sections(stored_studies(record))
    tone = "neutral"
    if comparison is not None:
        tone = "good" if comparison.is_better else "bad" if comparison.is_worse else "neutral"
    trial, network = winner_trial(record), winner_network(record)
    search = stage_record(record, "search")
    size = record.result.get("space_size") or search.get("space_size")
    return {
        "title": f"{record.config.get('space', 'run')} on {_data_name(record)}",
        "subtitle": _subtitle(record),
        "unfinished": [stage for stage in _STAGES if not is_done(record, stage)],
        "verdict": verdict(record),
        "tone": tone,
        "cards": cards(record),
        "usage": usage(record),
        "files": record.result.get("files") or {},
        "seconds": {stage: record.stages[stage]["seconds"] for stage in _STAGES if stage in record.stages},
        "limits": limits_text(record),
        "scatter": figures.accuracy_against_macs(record),
        "progress": figures.search_progress(record),
        "curves": figures.training_curves(record),
        "against": figures.inherited_against_alone(record),
        "latency": latency,
        "front": front,
        "counts": counts,
        "relaxed": relaxed,
        "ranking_sections": ranking,
        "figures": [
            *_all_figures(record),
            *_section_figures(front, counts),
            *relaxed_figures(relaxed),
            *figures_of(latency),
            *ranking_figures(ranking),
        ],
        "drawing": drawing(record),
        "cells": cells(record),
        "winner": trial.architecture if trial else network.architecture if network else None,
        "networks": [(_network_name(record, row), row, _gain(row)) for row in record.networks],
        "searched": searched_by(record),
        "ranking": ranking_text(rank(record), searched_by(record).name),
        "retraining": retraining_text(record),
        "parity": parity(record),
        "num_evaluated": len(record.trials),
        "space_size": size,
        "coverage": len(record.trials) / size if size else None,
        "cautions": cautions(record),
        "settings": {name: _setting(value) for name, value in record.config.items()},
        "versions": versions(record),
        "command": reproduce(record),
    }


def cards(record: RunRecord) -> list[Card]:
    """The winner's accuracy and costs; of the best evaluated architecture while it has not been retrained."""
    trial, network = winner_trial(record), winner_network(record)
    found = []
    if network is not None and network.retrained_test is not None:
        num = num_images(record, "test")
        error = sampling_error(network.retrained_test, num)
        notes = [f"±{formats.points(2 * error)} on {formats.whole(num)} images"] if error else []
        notes += [] if network.start == "scratch" else [f"from {network.start} weights"]
        found.append(Card("Test accuracy", formats.percent(network.retrained_test), ", ".join(notes)))
    elif trial is not None and trial.accuracy is not None:
        num = num_scored(record)
        note = f"best so far, on {formats.whole(num)} validation images" if num else "best so far"
        if searched_by(record).is_score:
            found.append(Card(f"Score {record.config['proxy']}", f"{trial.accuracy:.4g}", "best so far"))
        else:
            found.append(Card("Inherited accuracy", formats.percent(trial.accuracy), note))
    others = [row.retrained_test for row in baselines(record) if row.retrained_test is not None]
    if others:
        spread = f"range {formats.percent_range(others)}, " if len(others) > 1 else ""
        note = f"{spread}{len(others)} network{'s' if len(others) > 1 else ''}"
        found.append(Card("Random baseline", formats.percent(statistics.fmean(others)), note))
    costs = network or trial
    if costs is not None and costs.macs is not None:
        found.append(
            Card("MACs", formats.short_count(costs.macs), _limit_note(record, "max_macs", costs.macs))
        )
    if costs is not None and costs.params is not None:
        note = _limit_note(record, "max_params", costs.params)
        found.append(Card("Parameters", formats.short_count(costs.params), note))
    found += _latency_card(record)
    return found


def drawing(record: RunRecord) -> Drawing | None:
    """The winner's options, laid out; None before the search has ended."""
    search = stage_record(record, "search")
    return draw(search.get("space_choices") or (), search.get("active") or {})


def cells(record: RunRecord) -> list[Cell]:
    """The winner's cells as graphs; none before the search has ended, or where no choice is an edge."""
    search = stage_record(record, "search")
    space = str(record.config.get("space", ""))
    return draw_cells(search.get("space_choices") or (), search.get("active") or {}, space)


def parity(record: RunRecord) -> list[Parity]:
    """The exported files that were compared with the network."""
    source: Mapping[str, Any] = record.result.get("parity") or stage_record(record, "export")
    rows = [
        Parity("model.onnx", "onnxruntime on the CPU", source.get("onnx_max_abs_error")),
        Parity("model.pt2", "torch.export, loaded again", source.get("pt2_max_abs_error")),
    ]
    return [row for row in rows if row.max_abs_error is not None]


def versions(record: RunRecord) -> dict[str, str]:
    """Of onepath when the run ended, and of what else is installed where the page is written."""
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


def _limit_note(record: RunRecord, name: str, cost: float) -> str:
    limit = limits(record).get(name)
    return f"limit {formats.short_count(limit)}" if limit is not None else f"{formats.whole(cost)}, no limit"


def _all_figures(record: RunRecord) -> list[figures.Figure]:
    candidates = (
        figures.accuracy_against_macs(record),
        figures.search_progress(record),
        *figures.training_curves(record),
        figures.inherited_against_alone(record),
    )
    return [figure for figure in candidates if figure is not None]


def _section_figures(front: dict[str, Any] | None, counts: dict[str, Any] | None) -> list[figures.Figure]:
    return [*(front["plots"] if front else ()), *([counts["plot"]] if counts else ())]


def _network_name(record: RunRecord, row: NetworkRow) -> str:
    """As in the figures; of two trainings of the winner, the one that is exported says so."""
    trainings = [other for other in record.networks if other.role == row.role]
    exported = len(trainings) > 1 and row is winner_network(record)
    return f"{figures.network_title(row)}{' (exported)' if exported else ''}"


def _gain(row: NetworkRow) -> float | None:
    """Validation accuracy of the network's own training minus the inherited one."""
    if row.retrained_validation is None or row.inherited_validation is None:
        return None
    return row.retrained_validation - row.inherited_validation


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
    images = [
        f"{formats.whole(num)} {split}"
        for split in ("train", "validation", "test")
        if (num := data.get(split))
    ]
    if images:
        facts.append(f"{' / '.join(images)} images")
    facts += [f"method {record.config['method']}"] if record.config.get("method") else []
    facts += [f"seed {record.config['seed']}"] if record.config.get("seed") is not None else []
    return facts


def _setting(value: Any) -> str:
    if value is None:
        return formats.ABSENT
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
