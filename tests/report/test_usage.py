from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from onepath.record import RunRecord
from onepath.report.page import render
from onepath.report.usage import usage


def test_the_page_says_how_the_files_are_used(finished_record: RunRecord) -> None:
    page = render(finished_record)
    section = page[page.index('<section id="use">') :]
    section = section[: section.index("</section>")]
    assert "float32 (N, 1, 8, 8), raw values 0 ... 16" in section
    assert "<pre><code>x = numpy.load(&#34;&lt;inputs&gt;.npy&#34;)\nprint(x)</code></pre>" in section
    assert "train()" in section
    assert "inherit=False" in section
    assert '<a href="#use">' in page


def test_what_loads_the_module(make_record: Callable[..., RunRecord]) -> None:
    def load(space: str, out: str | None) -> str:
        config = {"space": space, "out": out, "method": "spos"}
        stages = {"export": {"start": "inherited", "preprocessing": {"summary": "s", "snippet": None}}}
        found = usage(make_record(config=config, stages=stages))
        assert found is not None
        assert found.layers == "supernet.extract(architecture, inherit=True)"
        return found.load

    assert load("shufflenet", None) == 'onepath.load_run("runs/digits").model()'
    assert load("/home/me/own.py:build", "here") == 'onepath.load_run("here", space="own.py:build").model()'


def test_nothing_is_said_of_a_run_without_the_record(
    make_record: Callable[..., RunRecord], killed_run: Path
) -> None:
    assert usage(make_record(stages={"export": {"start": "scratch"}})) is None
    assert '<section id="use">' not in render(RunRecord.load(killed_run))
