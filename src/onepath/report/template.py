"""Loading the templates of the report's pages, and the scripts that draw their figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from onepath.report import formats
from onepath.webpage import plotly_script, policy

_FILTERS = (
    "duration",
    "milliseconds",
    "scientific",
    "share",
    "shortened",
    "whole",
)


def scripts() -> dict[str, Any]:
    """Return the scripts that draw a page's figures, and the content security policy that lets only them run."""
    texts = [plotly_script(), Path(__file__).with_name("figures.js").read_text(encoding="utf-8")]
    return {"scripts": texts, "policy": policy(texts)}


def template(name: str) -> Any:
    """Load a template of this package by its file name, with the number formats of the report as filters."""
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
