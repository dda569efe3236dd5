"""The report's section on a limit on latency: the score against latency, and predictions beside measurements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from onepath.pareto import front_of_points
from onepath.record import RunRecord, TrialRow
from onepath.report.figures import (
    EVALUATED,
    FRONT_LINE,
    OUTLINE,
    WINNER,
    Figure,
    layout_of,
    line_label,
    network_title,
    trials_scatter,
    vertical_line,
)
from onepath.report.findings import limits, searched_by, stage_record, winner_trial
from onepath.report.formats import milliseconds, percent, whole
from onepath.verdict import score_of, within_latency


class MeasuredRow(NamedTuple):
    """A network that was measured on the device.

    Attributes:
        name: title of the network, for example "Winner", "Random 1" or "Trial 12".
        predicted_ms: predicted latency; None if it was not predicted.
        median_ms: measured latency, the median.
        iqr_ms: interquartile range of the measurement.
        is_noisy: whether the measurement was too noisy to be used.
        limit_ms: the limit on latency.
    """

    name: str
    predicted_ms: float | None
    median_ms: float
    iqr_ms: float
    is_noisy: bool
    limit_ms: float

    @property
    def is_within(self) -> bool:
        """Whether median and IQR together are within the limit; a noisy measurement is not."""
        return within_latency(self.limit_ms, self.median_ms, self.iqr_ms, self.is_noisy)

    @property
    def cells(self) -> tuple[str, ...]:
        """The cells of the network's row in the table, as text."""
        numbers = (milliseconds(ms) for ms in (self.predicted_ms, self.median_ms, self.iqr_ms))
        return (self.name, *numbers, self.words)

    @property
    def words(self) -> str:
        """Whether the network meets the limit, in words."""
        if self.is_noisy:
            return "too noisy to be used"
        if self.is_within:
            return "within the limit"
        return f"over the limit{' with its spread' if within_latency(self.limit_ms, self.median_ms, 0.0) else ''}"


def limit_ms(record: RunRecord) -> float | None:
    """Return the limit on latency in milliseconds; None if the run has none."""
    return limits(record).get("max_latency_ms")


def latency_section(record: RunRecord) -> dict[str, Any] | None:
    """Return the section of the page; None for a run without a limit on latency."""
    limit = limit_ms(record)
    if limit is None:
        return None
    return {
        "text": _text(record),
        "scatter": score_against_latency(record),
        "rows": measured_rows(record),
    }


def winner_latency(record: RunRecord) -> Mapping[str, Any]:
    """Return the measurement by which the winner was chosen; empty before the winner is measured."""
    winner = winner_trial(record)
    measured = stage_record(record, "latency").get("measured") or {}
    return measured.get(winner.architecture, {}) if winner is not None else {}


def measured_rows(record: RunRecord) -> list[MeasuredRow]:
    """List the measured networks in the order of measurement; empty for a run without a limit on latency."""
    limit, predicted = limit_ms(record), _predicted(record)
    if limit is None:
        return []
    names = {trial.architecture: f"Trial {trial.number}" for trial in record.trials}
    names |= {row.architecture: network_title(row) for row in reversed(record.networks)}
    winner = winner_trial(record)
    if winner is not None and stage_record(record, "search").get("winner") == winner.architecture:
        names[winner.architecture] = "Winner"
    return [
        MeasuredRow(
            names.get(architecture, "Random, not taken"),
            predicted.get(architecture),
            found["median_ms"],
            found["iqr_ms"],
            found["is_noisy"],
            limit,
        )
        for architecture, found in (stage_record(record, "latency").get("measured") or {}).items()
    ]


def score_against_latency(record: RunRecord) -> Figure | None:
    """Draw the scores of all evaluated architectures against predicted latency, and measured ones again at theirs.

    Return None if nothing was predicted or there is no limit on latency.
    """
    predicted, limit = _predicted(record), limit_ms(record)
    trials = [row for row in record.trials if row.accuracy is not None and row.architecture in predicted]
    if not trials or limit is None:
        return None
    measured = stage_record(record, "latency").get("measured") or {}
    winner, by = winner_trial(record), searched_by(record)
    points = front_of_points(
        [score_of(row) for row in trials], [[predicted[row.architecture]] for row in trials]
    )

    medians = {architecture: found["median_ms"] for architecture, found in measured.items()}

    def at(name: str, rows: Sequence[TrialRow], ms: Mapping[str, float], **style: Any) -> Figure:
        x = [round(ms[row.architecture], 6) for row in rows]
        return trials_scatter(name, rows, x, "%{x:.4~g} ms", by, **style)

    data = [
        at("evaluated (predicted)", trials, predicted, marker=EVALUATED),
        at("Pareto front (predicted)", [trials[index] for index in points.indices], predicted, **FRONT_LINE),
    ]
    tried = {"color": "limit", "size": 10, "symbol": "x", "line": OUTLINE}
    for name, is_winner, marker in (("measured", False, tried), ("winner (measured)", True, WINNER)):
        rows = [row for row in trials if row.architecture in measured and (row is winner) == is_winner]
        if rows:
            data.append(at(name, rows, medians, marker=marker))
    layout = layout_of("latency (ms)", by.axis)
    layout["shapes"], layout["annotations"] = [vertical_line(limit)], [line_label(limit, "limit")]
    return {"id": "score-against-latency", "data": data, "layout": layout}


def _predicted(record: RunRecord) -> dict[str, float]:
    values = stage_record(record, "search").get("predicted_ms") or []
    return {
        trial.architecture: ms for trial, ms in zip(record.trials, values, strict=False) if ms is not None
    }


def _text(record: RunRecord) -> str:
    """Return sentences on the limit, the predictions and the measurements."""
    settings = stage_record(record, "latency").get("settings") or {}
    device = settings.get("name") or record.config.get("device")
    threads = settings.get("threads")
    where = f"{device}, {threads} thread{'' if threads == 1 else 's'}" if threads else str(device)
    limit = limit_ms(record)
    parts = [f"The limit was {milliseconds(limit)} on {where}."]
    bound = stage_record(record, "profile").get("error_ms_95")
    if bound is not None:
        parts.append(f"The predictions are within {milliseconds(bound)} for 95 % of fresh networks.")
    search, rows, winner = stage_record(record, "search"), measured_rows(record), winner_latency(record)
    screen = search.get("screen_ms")
    if screen is not None and limit is not None and screen < limit:
        parts.append(
            f"Nothing measured after the first search was within it, so the search went on among networks predicted to "
            f"take at most {milliseconds(screen)}."
        )
    if winner:
        num = sum(row.name.startswith(("Trial", "Winner")) for row in rows)
        parts.append(
            f"Of {whole(num)} candidate{'' if num == 1 else 's'} measured, the winner is the best within "
            f"the limit: {milliseconds(winner['median_ms'])} measured (the slowest of its sessions, IQR "
            f"{milliseconds(winner['iqr_ms'])}), {milliseconds(_winner_prediction(record))} predicted."
        )
    again = stage_record(record, "export").get("latency_ms")
    if winner and again is not None:
        excess = again / winner["median_ms"] - 1
        parts.append(
            f"What is handed over, measured once more at the end, takes {milliseconds(again)}, "
            f"{percent(abs(excess))} {'more' if excess > 0 else 'less'}."
        )
    return " ".join(parts)


def _winner_prediction(record: RunRecord) -> float | None:
    winner = winner_trial(record)
    return None if winner is None else _predicted(record).get(winner.architecture)
