"""What the report says of a controller that was trained beside shared weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from onepath.record import RunRecord
from onepath.report.controller import controller_section
from onepath.report.page import render

Make = Callable[..., RunRecord]

TRAINED = {
    "controller": "AAAA",
    "points": [
        {"epoch": 1, "entropy": 0.98, "reward": 0.25, "baseline": 0.2},
        {"epoch": 2, "entropy": 0.5, "reward": 0.75, "baseline": 0.4},
    ],
}


def make(make_record: Make, architecture: dict[str, Any]) -> RunRecord:
    return make_record(stages={"train": {"architecture": architecture}})


def test_no_controller_is_no_section(make_record: Make) -> None:
    assert controller_section(make_record()) is None
    assert controller_section(make(make_record, {**TRAINED, "points": []})) is None


def test_the_text_and_the_lines_have_the_points(make_record: Make) -> None:
    section = controller_section(make(make_record, TRAINED))
    assert section is not None
    assert "from 0.98 to 0.50" in section["text"]
    assert "2 epochs" in section["text"]
    entropy, rewards = section["figures"]
    assert entropy["data"][0]["y"] == [0.98, 0.5]
    assert len(rewards["data"]) == 2
    assert rewards["data"][0]["x"] == [1, 2]


def test_the_page_has_the_section(make_record: Make) -> None:
    assert 'id="controller"' in render(make(make_record, TRAINED))
    assert 'id="controller"' not in render(make_record())
