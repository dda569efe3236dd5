"""One row for each limit, whatever was limited."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from onepath.record import RunRecord
from onepath.report.page import content, render
from onepath.report.winners import front_of_limits, limited_cost, limits_section

Make = Callable[..., RunRecord]


def winner(limit: float, memory: float, test: float | None, **limits: float) -> dict[str, Any]:
    return {
        "max_latency_ms": None,
        "limits": {**limits, "max_memory": limit},
        "path": f"limit-{limit:g}",
        "cost": {"macs": 1_000_000, "params": 20_000, "latency_ms": None},
        "costs": {"memory": {"value": memory, "unit": "B"}},
        "accuracy": {"retrained_test": test},
        "random_baseline": {"num": 2, "retrained_test": [0.5, None], "memory": [memory - 1000, 2]},
    }


@pytest.fixture
def several(finished_record: RunRecord) -> RunRecord:
    winners = [winner(64_000, 60_000, 0.97), winner(32_000, 31_000, 0.95), winner(128_000, 100_000, None)]
    return replace(finished_record, result={**finished_record.result, "winners": winners})


def test_one_limit_is_no_section(finished_record: RunRecord, several: RunRecord) -> None:
    assert limits_section(finished_record) is None
    one = replace(several, result={"winners": several.result["winners"][:1]})
    assert limits_section(one) is None
    assert front_of_limits(one) is None


def test_every_limit_has_a_row_with_its_costs(several: RunRecord) -> None:
    section = limits_section(several)
    assert section is not None
    assert section["heads"] == [
        "Limit",
        "Test accuracy",
        "MACs",
        "Parameters",
        "Memory",
        "On the front",
        "Folder",
    ]
    assert [tuple(cell.replace("\u00a0", " ") for cell in row) for row in section["rows"]] == [
        ("64.0 kB of memory", "97.0 %", "1.00 M", "20.0 k", "60.0 kB", "yes", "limit-64000"),
        ("32.0 kB of memory", "95.0 %", "1.00 M", "20.0 k", "31.0 kB", "yes", "limit-32000"),
        ("128 kB of memory", "–", "1.00 M", "20.0 k", "100 kB", "no", "limit-128000"),
    ]


def test_what_another_winner_beats_is_not_on_the_front(several: RunRecord) -> None:
    winners = [winner(64_000, 60_000, 0.94), winner(32_000, 31_000, 0.95), winner(128_000, 100_000, 0.96)]
    section = limits_section(replace(several, result={**several.result, "winners": winners}))
    assert section is not None
    assert [row[-2] for row in section["rows"]] == ["no", "yes", "yes"]


def test_the_diagram_is_against_the_cost_whose_limit_differs(several: RunRecord) -> None:
    figure = front_of_limits(several)
    assert figure is not None
    winners, random = figure["data"]
    assert (winners["x"], winners["y"]) == ([31.0, 60.0], [95.0, 97.0]), (
        "by rising cost; untested ones are left out"
    )
    assert (random["x"], random["y"]) == ([30.0, 59.0], [50.0, 50.0])
    assert figure["layout"]["xaxis"]["title"]["text"] == "peak activation memory (kB)"


def test_of_two_limits_the_one_that_differs_is_drawn() -> None:
    rows = [winner(1, 1, 0.9, max_macs=5), winner(2, 1, 0.9, max_macs=5)]
    assert limited_cost(rows).name == "memory"
    assert limited_cost([winner(1, 1, 0.9, max_macs=5)] * 2).name == "macs", "the first where none differs"


def test_the_page_has_the_section_once(several: RunRecord, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("plotly.offline.get_plotlyjs", lambda: "PLOTLY")
    page = render(several)
    assert page.count('id="limits"') == 1
    assert "limit-32000" in page
    assert [figure["id"] for figure in content(several)["figures"]][-1] == "front-of-limits"
