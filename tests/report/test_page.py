"""The page: whole for whole and for partial records, safe for any text, and free of anything remote."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from onepath.errors import RunDirectoryError
from onepath.record import RunDirectory, RunRecord
from onepath.report import write_report
from onepath.report.page import cards, content, render

HOSTILE = "<script>alert(1)</script>"
PLOTLY = "PLOTLY"


class Page(HTMLParser):
    """What a browser would find: elements, texts, and the content of scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.scripts: list[str] = []
        self.ids: set[str] = set()
        self._open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._open.append(tag)
        if dict(attrs).get("id"):
            self.ids.add(str(dict(attrs)["id"]))

    def handle_endtag(self, tag: str) -> None:
        if tag in self._open:
            del self._open[len(self._open) - 1 - self._open[::-1].index(tag) :]

    def handle_data(self, data: str) -> None:
        where = self.scripts if self._open[-1:] == ["script"] else self.texts
        where.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", "".join(self.texts))

    @property
    def figures(self) -> list[dict[str, Any]]:
        return json.loads(self.scripts[0])


@pytest.fixture
def without_plotly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Five megabytes of script slow every parse down and are the same in every page."""
    monkeypatch.setattr("plotly.offline.get_plotlyjs", lambda: PLOTLY)


def test_finished_run_has_every_section_and_figure(without_plotly: None, finished_run: Path) -> None:
    path = write_report(finished_run)
    assert path == finished_run / "report.html"
    page = Page(path.read_text(encoding="utf-8"))
    assert {"found", "costs", "search", "training", "architecture", "trust", "settings"} <= page.ids
    names = [figure["id"] for figure in page.figures]
    assert names == [
        "score-against-macs",
        "score-against-params",
        "search-progress",
        "curves-supernet-loss",
        "curves-supernet-metric",
        "curves-stand-alone-loss",
        "curves-stand-alone-metric",
        "searched-against-alone",
    ]
    assert set(names) <= page.ids
    assert "The winner is 1.4 points above the mean of 3 random architectures trained alike" in page.text
    assert "1,000 of 1,099,511,627,776 architectures were evaluated: 9.1 × 10⁻⁸ % of the space." in page.text
    assert "not finished" not in page.text
    assert [classes for _, classes in page.tags if classes.get("class") == "missing"] == []
    assert sum(attrs.get("class") == "box" for _, attrs in page.tags) == 20


def test_killed_run_says_what_is_missing(without_plotly: None, killed_run: Path) -> None:
    page = Page(write_report(killed_run).read_text(encoding="utf-8"))
    assert "This run is not finished: search, retrain, export are still to be done." in page.text
    assert "The search has not finished, so there is no verdict on it." in page.text
    assert "there is no architecture to draw" in page.text
    assert "No network has been trained on its own yet." in page.text
    assert [figure["id"] for figure in page.figures] == [
        "score-against-macs",
        "score-against-params",
        "search-progress",
        "curves-supernet-loss",
        "curves-supernet-metric",
    ]


def test_run_that_has_only_a_configuration(without_plotly: None, tmp_path: Path) -> None:
    with RunDirectory(tmp_path / "run", create=True) as run:
        run.write_config({"data": "digits"})
    page = Page(write_report(tmp_path / "run").read_text(encoding="utf-8"))
    assert "No architecture has been evaluated yet." in page.text
    assert page.figures == []


def test_every_part_may_be_absent(without_plotly: None, finished_record: RunRecord) -> None:
    """Each field of the records emptied in turn, and each stage's record: the page is still made."""
    empty: dict[str, Any] = {
        "result": {},
        "trials": [],
        "networks": [],
        "curves": {},
        "stages": {},
        "config": {},
    }
    for field, value in empty.items():
        render(replace(finished_record, **{field: value}))
    for stage in finished_record.stages:
        stages = {**finished_record.stages, stage: {"seconds": 0.0, "done": False, "record": {}}}
        render(replace(finished_record, stages=stages, result={}))
    blank = [
        replace(
            row,
            inherited_validation=None,
            retrained_validation=None,
            retrained_test=None,
            costs={},
        )
        for row in finished_record.networks
    ]
    render(replace(finished_record, networks=blank))
    trials = [replace(trial, accuracy=None, loss=None, costs={}) for trial in finished_record.trials[:9]]
    render(replace(finished_record, trials=trials))


def test_absent_run_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RunDirectoryError):
        write_report(tmp_path / "absent")


def test_page_is_the_same_every_time(without_plotly: None, finished_run: Path) -> None:
    first = write_report(finished_run).read_bytes()
    assert write_report(finished_run).read_bytes() == first


def hostile(record: RunRecord, text: str) -> RunRecord:
    """The record with `text` wherever a user's words get in."""
    data = {**record.stages["data"]["record"], "name": text, "class_names": [text, "b"], "notes": [text]}
    choices = [{"name": f"{text}.0", "options": [text, "a \"quoted\" & 'odd' one"]}]
    search = {**record.stages["search"]["record"], "space_choices": choices, "active": {f"{text}.0": text}}
    stages = {
        **record.stages,
        "data": {**record.stages["data"], "record": data},
        "search": {**record.stages["search"], "record": search},
    }
    return replace(
        record,
        config={**record.config, "data": text, "space": text, "space_arguments": {text: text}, "out": text},
        stages=stages,
        trials=[replace(trial, architecture=f"{text}{trial.number}", origin=text) for trial in record.trials],
        networks=[replace(row, role=text, start=text, architecture=text) for row in record.networks[:1]]
        + record.networks[1:],
        curves={text: record.curves["supernet"], **record.curves},
    )


@pytest.mark.parametrize(
    "text", [HOSTILE, '"><img src=x onerror=alert(1)>', "{{ 1 }}", "</script><!--", "' onload='x"]
)
def test_users_words_stay_words(without_plotly: None, finished_record: RunRecord, text: str) -> None:
    clean, page = Page(render(finished_record)), Page(render(hostile(finished_record, text)))
    assert len(page.scripts) == len(clean.scripts) == 3
    assert not {"img", "b"} & {tag for tag, _ in page.tags}
    assert not any(name.startswith("on") for _, attrs in page.tags for name in attrs)
    assert f"{text} on {text}" in page.text
    assert any(attrs.get("title") == f"{text}.0 = {text}" for _, attrs in page.tags)
    # Plotly shows texts as HTML, so they are escaped there once more.
    described = page.figures[0]["data"][0]["text"][0]
    assert ("<script" in described or "<img" in described) is False


def test_command_with_odd_words_is_quoted(without_plotly: None, finished_record: RunRecord) -> None:
    page = Page(
        render(replace(finished_record, config={**finished_record.config, "data": "it's a $(folder)"}))
    )
    assert """--data 'it'"'"'s a $(folder)'""" in page.text


def test_page_loads_nothing(finished_run: Path) -> None:
    """Checked with plotly.js inside; the policy makes the browser refuse what a script might still ask for."""
    text = write_report(finished_run).read_text(encoding="utf-8")
    page = Page(text)
    assert len(page.scripts) == 3
    assert len(page.scripts[1]) > 500_000
    for tag, attrs in page.tags:
        assert not {"src", "srcset", "data", "action"} & attrs.keys()
        assert (attrs.get("href") or "#").startswith("#"), tag
        assert tag not in ("link", "iframe", "object", "embed", "base")
    (style,) = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    assert "url(" not in style
    assert "@import" not in style
    policies = [
        attrs["content"] for _, attrs in page.tags if attrs.get("http-equiv") == "Content-Security-Policy"
    ]
    # The two scripts by their hashes, each as it stands in the page; the data before them are not run.
    hashes = [
        base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in page.scripts[1:]
    ]
    assert policies == [
        f"default-src 'none'; script-src 'sha256-{hashes[0]}' 'sha256-{hashes[1]}'; style-src 'unsafe-inline'; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    ]


def test_cards_state_limits_noise_and_the_measuring_device(finished_record: RunRecord) -> None:
    by_title = {card.title: card for card in cards(finished_record)}
    assert by_title["Test accuracy"][1:] == ("98.3\u00a0%", "±1.4 points on 360 examples")
    assert by_title["Random baseline"][1:] == ("96.9\u00a0%", "range 96.7–97.2\u00a0%, 3 networks")
    assert by_title["MACs"].note == "limit 2.00 M"
    assert by_title["Latency"][1:] == ("0.413\u00a0ms", "onnxruntime-cpu, 2 threads, IQR 0.021\u00a0ms")
    export = finished_record.stages["export"]["record"]
    noisy = {**export, "latency": {**export["latency"], "is_noisy": True}}
    stages = {**finished_record.stages, "export": {**finished_record.stages["export"], "record": noisy}}
    by_title = {card.title: card for card in cards(replace(finished_record, stages=stages))}
    assert by_title["Latency"].note.endswith("IQR 0.021\u00a0ms, noisy: the machine was busy")


def test_networks_table_has_the_gain_of_retraining(
    make_record: Callable[..., RunRecord], finished_record: RunRecord
) -> None:
    winner = replace(finished_record.networks[0], inherited_validation=0.90, retrained_validation=0.95)
    (row,) = content(make_record(networks=[winner]))["networks"]
    assert row[0] == "Winner"
    assert row[2] == pytest.approx(0.05)


def test_of_two_trainings_of_the_winner_the_exported_one_is_named(finished_record: RunRecord) -> None:
    winner = finished_record.networks[0]
    networks = [
        winner,
        replace(winner, start="inherited", retrained_test=0.99),
        *finished_record.networks[1:],
    ]
    export = {**finished_record.stages["export"], "record": {"start": "inherited"}}
    record = replace(finished_record, networks=networks, stages={**finished_record.stages, "export": export})
    shown = content(record)
    assert [name for name, _, _ in shown["networks"][:3]] == [
        "Winner",
        "Winner, inherited (exported)",
        "Random 1",
    ]
    assert shown["cards"][0].value == "99.0\u00a0%"
    assert shown["cards"][0].note.endswith("from inherited weights")
    assert shown["verdict"].startswith("The winner trained from scratch is")


def test_a_page_of_another_metric_says_nothing_of_accuracy_or_percent(
    without_plotly: None, finished_record: RunRecord
) -> None:
    """An rmse, whose rows hold its negative: every table, card, axis and tooltip shows it as itself."""

    def turned(row: Any, *names: str) -> Any:
        return replace(row, **{name: -3 + getattr(row, name) for name in names})

    noted = {"name": "rmse", "higher_is_better": False, "is_share": False}
    data = {**finished_record.stages["data"]["record"], "metric": noted, "classes": None}
    record = replace(
        finished_record,
        trials=[turned(row, "accuracy") for row in finished_record.trials],
        networks=[
            turned(row, "inherited_validation", "retrained_validation", "retrained_test")
            for row in finished_record.networks
        ],
        stages={**finished_record.stages, "data": {**finished_record.stages["data"], "record": data}},
    )
    page = Page(render(record))
    assert "ccuracy" not in page.text
    assert "rmse, lower is better" in page.text
    assert "2.017" in page.text, "3 - 0.9833, the winner's"
    assert "\u22122.0" not in page.text
    described = json.dumps(page.figures)
    assert "ccuracy" not in described
    assert ":.2f} %" not in described
    assert "inherited validation rmse<br>(lower is better)" in described
    best = next(figure for figure in page.figures if figure["id"] == "search-progress")["data"][-1]["y"]
    assert best == sorted(best, reverse=True), "the best so far falls"
    assert best[-1] == pytest.approx(-max(row.accuracy for row in record.trials), abs=1e-4)
    few = replace(record, trials=[replace(row, generation=0) for row in record.trials[:30]])
    by_trial = next(figure for figure in content(few)["figures"] if figure["id"] == "search-progress")[
        "data"
    ][-1]["y"]
    assert by_trial[-1] == pytest.approx(-max(row.accuracy for row in few.trials), abs=1e-4)
