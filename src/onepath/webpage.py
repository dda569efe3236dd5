"""Pages that load nothing: a policy that lets the browser run our own scripts and nothing else, and diagrams in one."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

# Data stand in a script element that the browser does not run, so what the scripts say is ours alone.
_DRAW = """
const place = document.getElementById(document.body.dataset.figure);
const figure = JSON.parse(document.getElementById("content").textContent);
Plotly.newPlot(place, figure.data, figure.layout, figure.config);
"""
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>onepath: {title}</title>
</head>
<body data-figure="{name}">
<div id="{name}" style="width:100%;height:{height}"></div>
<script type="application/json" id="content">{content}</script>
<script>{plotly}</script>
<script>{draw}</script>
</body>
</html>
"""


def policy(scripts: Sequence[str]) -> str:
    """The Content-Security-Policy of a page: these scripts by their hashes, and nothing from outside.

    Styles are let pass, for plotly.js sets them on elements; blobs are what it saves a diagram by.
    """
    hashes = " ".join(f"'sha256-{base64.b64encode(_digest(script)).decode()}'" for script in scripts)
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data: blob:; base-uri 'none'; "
        "form-action 'none'"
    )


def plotly_script() -> str:
    """plotly.js as it stands in a script element (about 5 MB)."""
    from plotly.offline import get_plotlyjs

    # As a browser reads it, which the hash is of.
    text: str = get_plotlyjs()
    return text.replace("\r\n", "\n").replace("\r", "\n")


def script_json(text: str) -> str:
    """JSON that may stand in a script element: nothing in it ends the element, or a line of JavaScript."""
    for char in "<>&\u2028\u2029":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return text


def figure_page(figure: Any, name: str, *, title: str, config: Mapping[str, Any] | None = None) -> str:
    """A diagram as one HTML file that loads nothing.

    Args:
        figure: of plotly; texts in it from outside are escaped already, for it shows them as HTML.
        name: id of the element that holds it.
        title: of the page, plain text.
        config: of plotly.js, beside its own defaults.
    """
    plotly = plotly_script()
    settings = {"responsive": True, **(config or {})}
    content = f'{figure.to_json()[:-1]},"config":{json.dumps(settings)}}}'
    height = figure.layout.height
    return _PAGE.format(
        policy=policy([plotly, _DRAW]),
        title=escape(title),
        name=escape(name),
        height="100vh" if height is None else f"{height}px",
        content=script_json(content),
        plotly=plotly,
        draw=_DRAW,
    )


def _digest(script: str) -> bytes:
    return hashlib.sha256(script.encode()).digest()
