"""HTML pages that load nothing from outside, with a policy that lets the browser run only our own scripts."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

# The data are in a script element that the browser does not run, so the scripts hold only text of our own.
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
    """Return the Content-Security-Policy of a page that runs these scripts, by their hashes, and loads nothing.

    Inline styles are allowed because plotly.js sets them on elements, and blobs because it saves diagrams with them.

    Args:
        scripts: the text of each script element that runs.
    """
    hashes = " ".join(f"'sha256-{base64.b64encode(_digest(script)).decode()}'" for script in scripts)
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data: blob:; base-uri 'none'; "
        "form-action 'none'"
    )


def plotly_script() -> str:
    """Return plotly.js as the text of a script element (about 5 MB)."""
    from plotly.offline import get_plotlyjs

    # A browser normalises line ends before it computes the hash.
    text: str = get_plotlyjs()
    return text.replace("\r\n", "\n").replace("\r", "\n")


def script_json(text: str) -> str:
    """Return JSON that is safe in a script element: no character ends the element or a line of JavaScript.

    Args:
        text: JSON; the result stands for the same value.
    """
    for char in "<>&\u2028\u2029":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return text


def figure_page(figure: Any, name: str, *, title: str, config: Mapping[str, Any] | None = None) -> str:
    """Return a diagram as the text of one HTML file that loads nothing.

    Args:
        figure: a figure of plotly. Texts in it that come from outside must be escaped already, because plotly shows
            them as HTML.
        name: id of the HTML element that holds the diagram.
        title: title of the page, plain text.
        config: settings of plotly.js in addition to its defaults.
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
