"""Scores of random architectures as one HTML file that loads nothing."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from onepath.report.formats import shortened
from onepath.webpage import figure_page

_MOST_COLUMNS = 3
_ARCHITECTURE_LENGTH = 90
_HEIGHT = 380


def scores_page(title: str, result: Mapping[str, Any]) -> str:
    """Each score against multiply-accumulates; a point is an architecture, the best mean ranks in another colour.

    Args:
        title: of the page.
        result: as `studies.scoring.score_space` returns it.
    """
    from plotly.graph_objects import Scatter
    from plotly.subplots import make_subplots

    names, networks = list(result["num_degenerate"]), result["networks"]
    columns = min(len(names), _MOST_COLUMNS)
    lines = -(-len(names) // columns)
    titles = [
        name + (f" ({result['num_degenerate'][name]} degenerate)" if result["num_degenerate"][name] else "")
        for name in names
    ]
    figure = make_subplots(rows=lines, cols=columns, subplot_titles=titles)
    num_best = max(1, len(networks) // 10)
    groups = (
        ("others", networks[num_best:], "#9aa3af"),
        ("best tenth by mean rank", networks[:num_best], "#2563eb"),
    )
    for place, name in enumerate(names):
        where = {"row": place // columns + 1, "col": place % columns + 1}
        for group, rows, colour in groups:
            shown = [row for row in rows if row["scores"][name] is not None]
            figure.add_trace(
                Scatter(
                    x=[row["macs"] / 1e6 for row in shown],
                    y=[row["scores"][name] for row in shown],
                    text=[escape(shortened(row["architecture"], _ARCHITECTURE_LENGTH)) for row in shown],
                    mode="markers",
                    name=group,
                    legendgroup=group,
                    showlegend=place == 0,
                    marker={"size": 8, "color": colour},
                    hovertemplate="%{x:.4~g} M MACs<br>%{y:.6~g}<br>%{text}<extra></extra>",
                ),
                **where,
            )
        figure.update_xaxes(title_text="million MACs", **where)
    figure.update_layout(
        title=escape(f"{title}: {result['num']} random architectures, {result['batch']}"),
        template="plotly_white",
        height=120 + _HEIGHT * lines,
        margin={"t": 100},
    )
    return figure_page(figure, "scores", title=title)
