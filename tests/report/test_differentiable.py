"""The architecture weights of a differentiable search, as the report shows them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from onepath.record import RunRecord
from onepath.report.differentiable import differentiable_section
from onepath.report.page import render

Make = Callable[..., RunRecord]
HOSTILE = "<script>alert(1)</script>"


def history(num_choices: int, **others: Any) -> dict[str, Any]:
    """Two epochs of choices between three candidates, of which the first gains."""
    names = [f"block.{index}" for index in range(num_choices - 1)] + [HOSTILE]
    points = [
        {
            "epoch": epoch,
            "loss": 2.0 / epoch if epoch > 1 else None,
            "entropy": 1.0 - 0.1 * epoch,
            "num_skips": epoch,
            "num_choices": 4,
            "eigenvalue": None,
            "architecture": "0,0",
            "weights": {name: [0.2 + 0.2 * epoch, 0.8 - 0.2 * epoch, 0.0] for name in names},
        }
        for epoch in (1, 2)
    ]
    candidates = {name: ["skip", HOSTILE, "k3"] for name in names}
    return {"candidates": candidates, "points": points, "guard": None, "stopped": None} | others


def make(make_record: Make, architecture: dict[str, Any]) -> RunRecord:
    return make_record(stages={"train": {"architecture": architecture}})


def test_nothing_differentiable_is_no_section(make_record: Make) -> None:
    assert differentiable_section(make_record()) is None
    assert differentiable_section(make(make_record, {})) is None
    assert differentiable_section(make(make_record, history(2, points=[]))) is None


def test_few_choices_have_a_plot_each_with_every_candidate_by_epoch(make_record: Make) -> None:
    section = differentiable_section(make(make_record, history(3)))
    assert section is not None
    assert section["is_few"]
    assert len(section["weights"]) == 3
    lines = section["weights"][0]["data"]
    assert [line["name"] for line in lines] == ["skip", "&lt;script&gt;alert(1)&lt;/script&gt;", "k3"]
    assert (lines[0]["x"], lines[0]["y"]) == ([1, 2], pytest.approx([0.4, 0.6]))


def test_many_choices_are_rows_of_a_heat_map(make_record: Make) -> None:
    section = differentiable_section(make(make_record, history(28)))
    assert section is not None
    leading, final = section["weights"]
    assert len(leading["data"][0]["z"]) == 28
    assert leading["data"][0]["z"][0] == pytest.approx([0.6, 0.6])
    assert final["data"][0]["z"][0] == pytest.approx([0.6, 0.4, 0.0])


def test_signals_are_shown_where_they_are_known(make_record: Make) -> None:
    architecture = history(3)
    section = differentiable_section(make(make_record, architecture))
    assert section is not None
    assert [figure["id"] for figure in section["signals"]] == ["architecture-decisions", "architecture-loss"]
    entropy, skips = section["signals"][0]["data"]
    assert entropy["y"] == pytest.approx([0.9, 0.8])
    assert skips["y"] == pytest.approx([0.25, 0.5])
    assert section["signals"][1]["data"][0]["y"] == [None, 1.0]
    assert "2 of its 4 choices in the most probable architecture hand their input on" in section["text"]
    architecture["points"][1]["eigenvalue"] = 0.7
    section = differentiable_section(make(make_record, architecture))
    assert section is not None
    assert section["signals"][1]["data"][0]["y"] == [None, 0.7]


def test_a_guard_that_fired_is_told_and_marked(make_record: Make) -> None:
    guard = {"max_skips": 1, "eigenvalue_ratio": 0.75, "window": 5, "first_epoch": 0}
    fired = history(3, guard=guard, stopped="2 skip connections, after epoch 2", stopped_epoch=2)
    section = differentiable_section(make(make_record, fired))
    assert section is not None
    assert "fired: 2 skip connections, after epoch 2" in section["guard"]
    assert "went back to those of an earlier epoch and stayed" in section["guard"]
    known = differentiable_section(make(make_record, {**fired, "kept_epoch": 1}))
    assert known is not None
    assert "went back to those of epoch 1 and stayed" in known["guard"]
    assert [shape["x0"] for shape in section["signals"][0]["layout"]["shapes"]] == [2]
    quiet = differentiable_section(make(make_record, history(3, guard=guard)))
    assert quiet is not None
    assert quiet["guard"] == (
        "The guard, which stops at over 1 skip connections or a dominant eigenvalue over 1.33 times what it was 5 "
        "epochs before, did not fire."
    )
    assert not quiet["signals"][0]["layout"]["shapes"]


@pytest.mark.parametrize("num_choices", [3, 28])
def test_names_are_escaped_in_the_page(
    num_choices: int, make_record: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("plotly.offline.get_plotlyjs", lambda: "PLOTLY")
    seeds = [
        {
            "seed": seed,
            "inherited_validation": 0.5,
            "loss": 1.0,
            "macs": 10,
            "params": 10,
            "entropy": 0.5,
            "num_skips": 1,
            "stopped": HOSTILE,
            "architecture": HOSTILE,
        }
        for seed in (3, 4)
    ]
    architecture = history(num_choices, seeds=seeds, seed=4)
    search = {
        "space_choices": [{"name": "<b>.0->1", "options": [HOSTILE, "k3"]}],
        "active": {"<b>.0->1": HOSTILE},
    }
    page = render(make_record(stages={"train": {"architecture": architecture}, "search": search}))
    assert HOSTILE not in page
    assert "4 (taken)" in page
    assert "<svg" in page


@pytest.mark.parametrize(("order", "is_said"), [("first", False), ("second", True), ("second-exact", True)])
def test_the_loss_of_a_look_ahead_is_said_to_be_one(make_record: Make, order: str, is_said: bool) -> None:
    section = differentiable_section(make(make_record, history(2, order=order)))
    assert section is not None
    assert ("at the weights that the step looks ahead to" in section["text"]) is is_said
