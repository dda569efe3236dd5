"""How far a latency table can be trusted: its errors in figures and in words, and as an HTML page."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from onepath.latency.predictor.comparison import bound_95_ms, errors
from onepath.record import atomic_write_text
from onepath.webpage import figure_page

if TYPE_CHECKING:
    from onepath.latency.table import LatencyTable

Floats = npt.NDArray[np.float64]

_MOST_NAMES = 12
_FITTED, _FRESH, _LINE = "#9aa3af", "#2563eb", "#6b7280"


def errors_of(measured_ms: Floats, predicted_ms: Floats) -> dict[str, Any]:
    """Return how far predictions are from measurements, in the form that a latency table stores.

    Args:
        measured_ms: (n,) measured latencies.
        predicted_ms: (n,) predicted latencies of the same networks.

    Returns:
        "num", the number of networks; "mape_percent", "rmse_ms" and "spearman", see `comparison.errors`; and
        "error_ms_95", see `comparison.bound_95_ms`.
    """
    return {
        "num": len(measured_ms),
        **errors(measured_ms, predicted_ms),
        "error_ms_95": bound_95_ms(measured_ms, predicted_ms),
    }


def sentence(table: LatencyTable) -> str:
    """Return the errors of a validated table as one sentence."""
    found = table.errors
    rank = "none" if found["spearman"] is None else f"{found['spearman']:.3f}"
    return (
        f"on {found['num']} fresh networks: MAPE {found['mape_percent']:.2f} %, RMSE {found['rmse_ms']:.4g} ms, "
        f"Spearman {rank}, 95 % within {found['error_ms_95']:.3g} ms"
    )


def save_with_page(table: LatencyTable, path: Path) -> None:
    """Write the table to a file, and its evidence as a page beside it, with the ending `.html`."""
    atomic_write_text(path.with_suffix(".html"), table_page(table))
    table.save(path)


def table_page(table: LatencyTable) -> str:
    """Return the evidence for a table as one HTML file that loads nothing.

    It shows predicted against measured latency, and the entries of the table.
    """
    from plotly.subplots import make_subplots

    titles = ("Whole networks", "Candidates at their input shapes")
    figure = make_subplots(rows=2, cols=1, vertical_spacing=0.16, subplot_titles=titles)
    for row, traces in enumerate((_networks(table), _candidates(table)), start=1):
        figure.add_traces(traces, rows=row, cols=1)
    figure.update_xaxes(title_text="measured, ms", row=1, col=1)
    figure.update_yaxes(title_text="predicted, ms", row=1, col=1)
    figure.update_yaxes(title_text=table.unit, rangemode="tozero", row=2, col=1)
    title = f"{escape(table.space_name)} on {escape(str(table.device['name']))}"
    figure.update_layout(
        title={"text": f"{title}<br><sup>{escape(sentence(table))}</sup>"},
        template="plotly_white",
        height=1150,
        legend={"tracegroupgap": 420},
        margin={"t": 110},
    )
    return figure_page(figure, "latency-table", title=table.space_name)


def _networks(table: LatencyTable) -> list[Any]:
    from plotly.graph_objects import Scatter

    rows = table.evidence["networks"]
    ends = [min(row["measured_ms"] for row in rows), max(row["measured_ms"] for row in rows)]
    bound = table.errors["error_ms_95"]
    traces = [
        Scatter(
            x=ends,
            y=[end + shift for end in ends],
            mode="lines",
            line={"color": _LINE, "dash": dash, "width": 1},
            name=name,
            legendgroup="networks",
            showlegend=bool(name),
            hoverinfo="skip",
        )
        for shift, dash, name in ((0, "solid", "equal"), (bound, "dot", "95 % bound"), (-bound, "dot", ""))
    ]
    for use, colour, symbol in (("calibration", _FITTED, "circle-open"), ("validation", _FRESH, "circle")):
        shown = [row for row in rows if row["use"] == use and not row["is_noisy"]]
        traces.append(
            Scatter(
                x=[row["measured_ms"] for row in shown],
                y=[row["predicted_ms"] for row in shown],
                text=[escape(row["architecture"]) for row in shown],
                mode="markers",
                name=f"{len(shown)} for {use}",
                legendgroup="networks",
                marker={"color": colour, "symbol": symbol, "size": 8},
                hovertemplate="measured %{x:.4g} ms<br>predicted %{y:.4g} ms<br>%{text}<extra></extra>",
            )
        )
    return traces


def _candidates(table: LatencyTable) -> list[Any]:
    """Return one group of points for each name; if there are more than a dozen names, one group for all."""
    from plotly.graph_objects import Scatter

    fields = {
        key: (key.split("-input:")[0], key.split("-input:")[-1].split("-layers:")[0]) for key in table.entries
    }
    names = list(dict.fromkeys(name for name, _ in fields.values()))
    groups = {name: [key for key in fields if fields[key][0] == name] for name in names}
    if len(names) > _MOST_NAMES:
        groups = {"candidates": list(fields)}
    return [
        Scatter(
            x=[fields[key][1].replace("-output:", " to ") for key in keys],
            y=[table.entries[key].mean for key in keys],
            error_y={"type": "data", "array": [table.entries[key].std for key in keys], "thickness": 1},
            text=[escape(key) for key in keys],
            mode="markers",
            name=escape(name),
            legendgroup="candidates",
            marker={"size": 9},
            hovertemplate=f"%{{text}}<br>%{{y:.4g}} {escape(table.unit)}<extra></extra>",
        )
        for name, keys in groups.items()
    ]
