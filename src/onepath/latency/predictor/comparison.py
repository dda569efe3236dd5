"""How well each predictor does on held-out pairs: figures, as JSON and as one diagram."""

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
    """Return how far predictions are from measurements.

    Args:
        measured_ms: (n,) measured latencies.
        predicted_ms: (n,) predicted latencies of the same networks.

    Returns:
        "rmse_ms", the root mean square error; "mape_percent", the mean absolute error in percent of the measured
        latency; "spearman", the rank correlation, None if fewer than three pairs or equal values leave it undefined.
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
    """Return a bound in ms on the absolute error of a fresh network, which holds in 95 of 100 cases.

    The bound is the absolute error of rank ceil(0.95 (num + 1)) among pairs that took no part in the fit. It needs no
    assumption about the errors, if the fresh network is drawn as the pairs were. Fewer than 19 pairs cannot give such a
    bound; then their largest error is returned, which holds in num / (num + 1) of the cases.
    """
    sizes = np.sort(np.abs(predicted_ms - measured_ms))
    rank = int(np.ceil(0.95 * (len(sizes) + 1)))
    return float(sizes[min(rank, len(sizes)) - 1])


def write_report(comparison: Mapping[str, Any], path: Path) -> None:
    """Write a comparison to `path` as JSON, and its diagram beside it as one .html file that loads nothing.

    Args:
        comparison: `NetworkPredictor.comparison`.
        path: file that ends in .json, in an existing directory.
    """
    atomic_write_json(path, comparison)
    atomic_write_text(path.with_suffix(".html"), scatter_page(comparison))


def scatter_page(comparison: Mapping[str, Any]) -> str:
    """Return a diagram of predicted against measured latency of the test pairs, as one HTML page.

    Each predictor has its own kind of points.
    """
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
