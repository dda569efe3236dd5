"""Pages of one diagram: nothing from outside is loaded or run, whatever the texts in them say."""

from __future__ import annotations

import base64
import hashlib
import json
from html.parser import HTMLParser
from typing import Any

import pytest

from onepath.webpage import figure_page, script_json

HOSTILE = "</script><script>alert(1)</script><img src=x onerror='alert(1)'>\u2028&amp;"


class Page(HTMLParser):
    """Elements and the texts of scripts as a browser sees them."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.title = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1][0] == "script" and self.get_starttag_text() is not None:
            self.scripts[-1] += data if self.cdata_elem == "script" else ""
        elif self.tags and self.tags[-1][0] == "title":
            self.title += data


@pytest.fixture
def _without_plotly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("plotly.offline.get_plotlyjs", lambda: "one\r\ntwo")


@pytest.fixture
def figure() -> Any:
    from plotly.graph_objects import Figure, Scatter

    return Figure(Scatter(x=[1, 2], y=[3, 4], text=[HOSTILE] * 2), {"height": 300})


@pytest.mark.usefixtures("_without_plotly")
def test_what_runs_is_ours_and_texts_stay_texts(figure: Any) -> None:
    page = Page(figure_page(figure, "name", title=HOSTILE, config={"displaylogo": False}))
    assert [tag for tag, _ in page.tags if tag in ("script", "img")] == ["script"] * 3
    assert page.scripts[1] == "one\ntwo"
    (policy,) = [attrs["content"] for _, attrs in page.tags if "content" in attrs and "http-equiv" in attrs]
    assert policy is not None
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["script-src"].split() == [
        f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
        for script in page.scripts[1:]
    ]
    content = json.loads(page.scripts[0])
    assert content["data"][0]["text"] == [HOSTILE] * 2
    assert content["config"] == {"responsive": True, "displaylogo": False}
    assert page.title.strip() == f"onepath: {HOSTILE}"


def test_json_in_a_script_ends_neither_it_nor_a_line() -> None:
    text = script_json(json.dumps({"a": HOSTILE}, ensure_ascii=False))
    assert not set("<>&\u2028\u2029") & set(text)
    assert json.loads(text) == {"a": HOSTILE}


def test_every_page_has_the_policy() -> None:
    """No other place writes HTML: plotly's own pages have no policy, and put data into what is run."""
    from pathlib import Path

    import onepath

    source = Path(onepath.__file__).parent
    assert [path.name for path in source.rglob("*.py") if "to_html(" in path.read_text()] == []
    written = [path for kind in ("*.py", "*.jinja") for path in source.rglob(kind)]
    pages = [text for path in written if "<!doctype html" in (text := path.read_text()).lower()]
    assert len(pages) == 2
    assert all('Content-Security-Policy" content="{' in text for text in pages)
