"""Which predictor wins on held-out pairs: figures, as JSON and as one diagram."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from onepath.latency.predictor.features import Floats
from onepath.record import atomic_write_json, atomic_write_text
from onepath.webpage import figure_page

TITLES = {"mlp": "HAT's perceptron", "ridge": "Ridge regression", "trees": "Boosted trees"}
_COLOURS = {"mlp": "#d97706", "ridge": "#2563eb", "trees": "#059669"}
_SYMBOLS = {"mlp": "diamond-open", "ridge": "circle", "trees": "cross-thin-open"}


def errors(measured_ms: Floats, predicted_ms: Floats) -> dict[str, float | None]:
    """How far predictions are from measurements.

    Returns:
        "rmse_ms"; "mape_percent", mean absolute error in percent of the measured; "spearman", rank correlation, None
        where fewer than three pairs or equal values leave it undefined.
    """
    from scipy.stats import spearmanr

    difference = predicted_ms - measured_ms
    has_ranks = len(difference) > 2 and np.ptp(measured_ms) > 0 and np.ptp(predicted_ms) > 0
    return {
        "rmse_ms": float(np.sqrt(np.mean(difference**2))),
        "mape_percent": float(100 * np.mean(np.abs(difference) / measured_ms)),
        "spearman": float(spearmanr(measured_ms, predicted_ms).statistic) if has_ranks else None,
    }


def bound_95_ms(measured_ms: Floats, predicted_ms: Floats) -> float:
    """A bound on the absolute error of a fresh network, that holds in 95 of 100 cases.

    The absolute error of rank ceil(0.95 (num + 1)) among pairs that took no part in the fit: a bound without any
    assumption on the errors, if the fresh network is drawn as the pairs were. Fewer than 19 pairs cannot give one;
    their largest error is returned, which holds in num / (num + 1) of the cases.
    """
    sizes = np.sort(np.abs(predicted_ms - measured_ms))
    rank = int(np.ceil(0.95 * (len(sizes) + 1)))
    return float(sizes[min(rank, len(sizes)) - 1])


def write_report(comparison: Mapping[str, Any], path: Path) -> None:
    """Write a comparison as `path` (.json), and its diagram beside it as one .html file that loads nothing.

    Args:
        comparison: `NetworkPredictor.comparison`.
        path: ends in .json; the directory exists.
    """
    atomic_write_json(path, comparison)
    atomic_write_text(path.with_suffix(".html"), scatter_page(comparison))


def scatter_page(comparison: Mapping[str, Any]) -> str:
    """Predicted against measured latency of the test pairs, one kind of points for each predictor, as HTML."""
    from plotly.graph_objects import Figure, Scatter

    measured = comparison["test_pairs"]["measured_ms"]
    labels = [escape(text) for text in comparison["test_pairs"]["architecture"]]
    figure = Figure()
    low, high = min(measured), max(measured)
    figure.add_trace(
        Scatter(
            x=[low, high],
            y=[low, high],
            mode="lines",
            name="equal",
            line={"color": "#9ca3af", "dash": "dash"},
        )
    )
    for name, model in comparison["models"].items():
        figure.add_trace(
            Scatter(
                x=measured,
                y=comparison["test_pairs"]["predicted_ms"][name],
                mode="markers",
                name=f"{TITLES[name]}: {model['test']['rmse_ms']:.4g} ms",
                text=labels,
                marker={"color": _COLOURS[name], "symbol": _SYMBOLS[name], "size": 7},
                hovertemplate="measured %{x:.4g} ms<br>predicted %{y:.4g} ms<br>%{text}",
            )
        )
    figure.update_layout(
        title=escape(
            f"{TITLES[comparison['winner']]} predicts {comparison['space']['name']} on "
            f"{comparison['device']['name']}: root mean square error on {len(measured)} test pairs"
        ),
        xaxis_title="measured latency, ms",
        yaxis_title="predicted latency, ms",
        template="plotly_white",
        legend={"x": 0.02, "y": 0.98},
    )
    return figure_page(figure, "latency", title=comparison["space"]["name"], config={"displaylogo": False})
