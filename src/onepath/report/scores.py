"""The page of `onepath score`: scores of random architectures, in one HTML file that loads nothing."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from onepath.display import shown_cost
from onepath.report.figures import EVALUATED, layout_of, scatter
from onepath.report.formats import shortened
from onepath.report.template import scripts, template

_ARCHITECTURE_LENGTH = 90
_BEST = {"color": "front", "size": 8}


def scores_page(title: str, result: Mapping[str, Any]) -> str:
    """Return a page that plots each score against multiply-accumulates.

    A point is an architecture; the tenth with the best mean ranks has another colour.

    Args:
        title: title of the page.
        result: what `studies.score_space.score_space` returns.
    """
    networks, cost = result["networks"], shown_cost("macs")
    num_best = max(1, len(networks) // 10)
    groups = (
        ("others", networks[num_best:], EVALUATED),
        ("best tenth by mean rank", networks[:num_best], _BEST),
    )
    figures = []
    for place, (name, num_degenerate) in enumerate(result["num_degenerate"].items()):
        data = []
        for group, rows, marker in groups:
            shown = [row for row in rows if row["scores"][name] is not None]
            x, y = [row["macs"] / cost.factor for row in shown], [row["scores"][name] for row in shown]
            texts = [escape(shortened(row["architecture"], _ARCHITECTURE_LENGTH)) for row in shown]
            hover = "%{x:.4~g} M MACs<br>%{y:.6~g}<br>%{text}"
            data.append(scatter(group, x, y, hover, text=texts, marker=marker))
        heading = name + (f" ({num_degenerate} degenerate)" if num_degenerate else "")
        layout = layout_of(cost.axis, name)
        figures.append({"id": f"score-{place}", "heading": heading, "data": data, "layout": layout})
    page: str = template("scores.html.jinja").render(
        title=title, num=result["num"], batch=result["batch"], figures=figures, **scripts()
    )
    return page
