"""Pages of `onepath rank`: scores against the truth, correlations with intervals, and similarity of candidates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

from onepath.record import RunRecord
from onepath.record.atomic import damaged_error, file_digest
from onepath.record.directory import RANKING, read_json
from onepath.report.figures import WINNER, Figure, layout_of, scatter
from onepath.report.template import scripts, template

_MOST_HEAT_MAPS = 24
_ABSENT = "–"
_TIMED_HEADS = ("proxy", "networks", "tau-b", "Spearman", "not finite", "seconds a network", "times faster")
_ASIDE = (
    "In brackets the bootstrap interval of 95 %: what other networks of the same kind would give, not another"
)
_NOT_TIMED = (
    " training of the supernet. A top share is of the networks that are best by truth; the best in top k is the truth "
    "of the best among the k of highest score."
)
_TIMED = (
    " training of each. Scores that are not finite rank last. Times faster is the time of whole trainings over that of "
    "the same networks at the proxy."
)
WHOLE = "whole"
"""Name of the whole training among the scores of a study of proxy tasks."""
NAMES = {
    WHOLE: "whole training",
    "accuracy": "validation accuracy",
    "loss": "validation loss (negated)",
    "macs": "MACs",
    "params": "parameters",
}


@dataclass(frozen=True)
class Study:
    """How well scores rank networks whose true quality is known.

    Attributes:
        title: title of the section.
        truth: title of the truth's axis, with its unit.
        notes: sentences on where the rows come from.
        networks: one row per network, with "architecture", "truth" and a number for each score, which is None if it is
            not finite.
        evidence: result of `onepath.estimate.rank_evidence`.
        chosen: rows that are shown but not counted in the evidence, because a score chose them.
        similarity: block -> "names" and "matrix" of `onepath.estimate.LayerSimilarity`; empty if it was not measured.
        timings: for scores that are trainings, name of a score -> "num", the number of networks, "seconds", the mean
            time of one, and "times_faster", whole training over this one; "seconds" is None for a score that is counted
            without training. A name without evidence is the truth itself. Empty for other scores.
    """

    title: str
    truth: str
    notes: Sequence[str]
    networks: Sequence[Mapping[str, Any]]
    evidence: Mapping[str, Any]
    chosen: Sequence[Mapping[str, Any]] = ()
    similarity: Mapping[str, Any] = field(default_factory=dict)
    timings: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)


def ranking_page(studies: Sequence[Study]) -> str:
    """Return the studies as one HTML page that loads nothing."""
    sections = ranking_sections(studies)
    page: str = template("ranking.html.jinja").render(
        title=studies[0].title if studies else "Rank evidence",
        ranking_sections=sections,
        figures=ranking_figures(sections),
        **scripts(),
    )
    return page


def stored_studies(record: RunRecord) -> list[Study]:
    """Read the studies that `onepath rank` has written into a run directory.

    Raises:
        RunDirectoryError: the file of studies is damaged.
    """
    if record.digests.get(RANKING) not in (None, file_digest(record.path / RANKING)):
        raise damaged_error(record.path / RANKING)
    return studies_in(record.path)


def studies_in(path: Path) -> list[Study]:
    """Read the studies in a run directory as `stored_studies` does, but without comparing the file's digest."""
    content = read_json(path / RANKING) or {}
    try:
        found = [Study(**study) for study in content.values()]
        ranking_sections(found)
    except (LookupError, TypeError, AttributeError, ValueError) as error:
        raise damaged_error(path / RANKING) from error
    return found


def ranking_sections(studies: Sequence[Study]) -> list[dict[str, Any]]:
    """Return what the template shows of each study."""
    return [
        {
            "title": study.title,
            "notes": list(study.notes),
            "verdicts": verdicts(study.evidence),
            "table": table_of(study.evidence, study.timings),
            "aside": _ASIDE + (_TIMED if study.timings else _NOT_TIMED),
            "scatters": _scatters(study, number),
            "similarity": _heat_maps(study, number),
            "num_hidden": max(0, len(study.similarity) - _MOST_HEAT_MAPS),
        }
        for number, study in enumerate(studies)
    ]


def ranking_figures(sections: Sequence[Mapping[str, Any]]) -> list[Figure]:
    """List all diagrams of the sections."""
    return [figure for section in sections for name in ("scatters", "similarity") for figure in section[name]]


def table_of(
    evidence: Mapping[str, Any], timings: Mapping[str, Mapping[str, float | None]]
) -> tuple[list[str], list[list[str]]]:
    """Return the titles of the table's columns, and its rows; with `Study.timings`, those of trainings."""
    if timings:
        return list(_TIMED_HEADS), timed_rows(evidence, timings)
    return heads(evidence), rows(evidence)


def heads(evidence: Mapping[str, Any]) -> list[str]:
    """Return the titles of the table's columns."""
    first = next(iter(evidence["scores"].values()))
    tops = [f"best in top {top}" for top in first["best_in_top"]]
    return ["score", "tau-b", "Spearman", *(f"tau-b, {_part_title(name)}" for name in _parts(first)), *tops]


def rows(evidence: Mapping[str, Any]) -> list[list[str]]:
    """Return the rows of the table, one per score; each cell is a figure with its interval."""
    found = []
    for name, figures in evidence["scores"].items():
        bad = figures["num_not_finite"]
        cells = [NAMES.get(name, name) + (f" ({bad} not finite)" if bad else "")]
        cells += [with_interval(figures["kendall_tau"]), with_interval(figures["spearman"])]
        cells += [with_interval(figures[part]["kendall_tau"]) for part in _parts(figures)]
        cells += [with_interval(figure, 2) for figure in figures["best_in_top"].values()]
        found.append(cells)
    return found


def timed_rows(
    evidence: Mapping[str, Any], timings: Mapping[str, Mapping[str, float | None]]
) -> list[list[str]]:
    """Return the rows of the table for scores that are trainings, see `Study.timings`."""
    found = []
    for name, timing in timings.items():
        figures = evidence["scores"].get(name)
        cells = ["the truth", _ABSENT, _ABSENT]
        if figures is not None:
            cells = [with_interval(figures[each]) for each in ("kendall_tau", "spearman")]
            cells.append(str(figures["num_not_finite"]))
        seconds, faster = timing["seconds"], timing["times_faster"]
        cells.append("no training" if seconds is None else f"{seconds:.3g}")
        cells.append(_ABSENT if faster is None else f"{faster:.3g}")
        found.append([NAMES.get(name, name), f"{timing['num']:.0f}", *cells])
    return found


def verdicts(evidence: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each score and each trivial baseline on which of them ranks better."""
    found = []
    for name, baselines in evidence["differences"].items():
        for baseline, figures in baselines.items():
            difference = figures["kendall_tau"]
            title, other = NAMES.get(name, name), NAMES.get(baseline, baseline)
            if difference["value"] is None or difference["low"] is None:
                found.append(f"{title} cannot be compared with {other}: one of them has no rank correlation.")
                continue
            verb = "is not told apart from"
            if difference["low"] > 0:
                verb = "ranks better than"
            elif difference["high"] < 0:
                verb = "ranks worse than"
            found.append(f"{title} {verb} {other}: tau-b {with_interval(difference, signed=True)}.")
    return [sentence[0].upper() + sentence[1:] for sentence in found]


def with_interval(figure: Mapping[str, float | None], digits: int = 3, *, signed: bool = False) -> str:
    """Format a figure and its interval as "0.651 [0.612, 0.698]"; a dash if the figure is undefined."""
    sign = "+" if signed else ""
    if figure["value"] is None:
        return _ABSENT
    text = f"{figure['value']:{sign}.{digits}f}"
    if figure["low"] is None or figure["high"] is None:
        return text
    return f"{text} [{figure['low']:{sign}.{digits}f}, {figure['high']:{sign}.{digits}f}]"


def _parts(figures: Mapping[str, Any]) -> list[str]:
    return [name for name in figures if name.startswith("top_")]


def _part_title(part: str) -> str:
    return f"top {part.removeprefix('top_').removesuffix('_percent')} %"


def _scatters(study: Study, number: int) -> list[Figure]:
    figures = []
    for place, name in enumerate(study.evidence["scores"]):
        title = NAMES.get(name, name)
        data = []
        for label, members, marker in (
            ("networks", study.networks, {"color": "trial", "size": 7, "opacity": 0.55}),
            ("chosen by the search", study.chosen, WINNER),
        ):
            shown = [row for row in members if row.get(name) is not None]
            if shown:
                x, y = [row[name] for row in shown], [row["truth"] for row in shown]
                texts = [escape(str(row["architecture"])) for row in shown]
                hover = "%{x:.5~g}<br>%{y:.5~g}<br>%{text}"
                data.append(scatter(label, x, y, hover, text=texts, marker=marker))
        tau = with_interval(study.evidence["scores"][name]["kendall_tau"])
        layout = layout_of(title, study.truth) | {"showlegend": len(data) > 1}
        heading = f"{title}: tau-b {tau}"
        figures.append(
            {"id": f"ranking-{number}-{place}", "heading": heading, "data": data, "layout": layout}
        )
    return figures


def _heat_maps(study: Study, number: int) -> list[Figure]:
    figures = []
    for place, (block, found) in enumerate(list(study.similarity.items())[:_MOST_HEAT_MAPS]):
        names = [escape(str(name)) for name in found["names"]]
        data = {
            "type": "heatmap",
            "x": names,
            "y": names,
            "z": found["matrix"],
            "zmin": 0,
            "zmax": 1,
            "colorscale": "Blues",
            "showscale": False,
            "texttemplate": "%{z:.2f}",
            "hovertemplate": "%{x}, %{y}: %{z:.3f}<extra></extra>",
        }
        layout = layout_of("", "") | {"showlegend": False}
        layout["yaxis"]["autorange"] = "reversed"
        figures.append(
            {"id": f"similarity-{number}-{place}", "heading": block, "data": [data], "layout": layout}
        )
    return figures
