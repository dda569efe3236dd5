"""How often candidates were trained, as the report tells it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from onepath.record import RunRecord
from onepath.report.counts import counts_section, sampled_counts

Make = Callable[..., RunRecord]
START = {"num_updates": 4, "counts": {"a": {"x": 4, "y": 0}, "b": {"x": 4, "y": 0}}}


def make(make_record: Make, counts: dict[str, Any], **others: Any) -> RunRecord:
    return make_record(stages={"train": {"num_updates": 14, "counts": counts, **others}})


def test_nothing_counted_is_no_section(make_record: Make) -> None:
    assert counts_section(make_record()) is None
    assert counts_section(make(make_record, {})) is None


def test_the_start_from_one_path_is_left_out(make_record: Make) -> None:
    record = make(make_record, {"a": {"x": 14, "y": 10}, "b": {"x": 14, "y": 10}}, start=START)
    assert sampled_counts(record) == {"a": {"x": 10, "y": 10}, "b": {"x": 10, "y": 10}}
    section = counts_section(record)
    assert section is not None
    assert section["text"] == (
        "In 10 updates each of the 4 candidates in 2 blocks was trained in exactly 10 passes. The 4 updates before "
        "them trained one path and are left out."
    )


def test_the_most_uneven_block_is_named(make_record: Make) -> None:
    section = counts_section(make(make_record, {"a": {"x": 8, "y": 6}, "<b>": {"x": 10, "y": 4, "z": 1}}))
    assert section is not None
    assert section["text"] == (
        "In 14 updates each of the 5 candidates in 2 blocks was trained in 1 to 10 passes. The largest difference "
        "inside one block is 180.0\u00a0% of its mean: 1 to 10 in <b>."
    )
    lines, points = section["plot"]["data"]
    assert lines["y"] == [6, 8, None, 1, 10, None]
    assert points["y"] == [8, 6, 10, 4, 1]
    assert points["text"][2] == "&lt;b&gt;: x"
    assert section["plot"]["layout"]["xaxis"]["ticktext"] == ["a", "&lt;b&gt;"]


def test_blocks_that_never_ran_have_no_spread(make_record: Make) -> None:
    section = counts_section(make(make_record, {"a": {"x": 0, "y": 0}, "b": {"x": 7, "y": 7}}))
    assert section is not None
    assert "0 to 7 passes" in section["text"]
    assert "0.0\u00a0% of its mean" in section["text"]
