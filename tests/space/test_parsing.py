"""Every way in which an architecture is written, and one line for what is none."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onepath import spaces
from onepath.errors import SpaceError
from onepath.space import Architecture, Choice, SearchSpace

SPACE = SearchSpace([Choice("width", [8, 16, 24]), Choice("block", ["k3", "skip"])])
OPTIONS = {"width": 24, "block": "skip"}
WRITTEN_BY_A_RUN = {"space": "own", "architecture": "2,1", "notation": "2,1", "options": OPTIONS}
EXPECTED = SPACE.architecture([2, 1])


@pytest.mark.parametrize(
    "written",
    [
        "2,1",
        [2, 1],
        (2, 1),
        np.array([2, 1], dtype=np.uint8),
        [np.int64(2), np.int32(1)],
        OPTIONS,
        json.dumps(OPTIONS),
        WRITTEN_BY_A_RUN,
        json.dumps(WRITTEN_BY_A_RUN, indent=2),
        {"architecture": OPTIONS, "cost": {"macs": 5}},
        EXPECTED,
        SearchSpace([Choice("block", ["skip", "k3"]), Choice("width", [24, 16, 8])]).architecture([0, 0]),
    ],
)
def test_an_architecture_is_read_in_every_form(written: Any) -> None:
    assert SPACE.parse(written) == EXPECTED


def test_a_file_of_a_run_is_read(tmp_path: Path) -> None:
    path = tmp_path / "architecture.json"
    path.write_text(json.dumps(WRITTEN_BY_A_RUN))
    assert SPACE.parse(path) == SPACE.parse(str(path)) == SPACE.parse(tmp_path) == EXPECTED
    path.write_text(EXPECTED.to_json())
    assert SPACE.parse(path) == EXPECTED


def test_a_choice_of_the_name_of_a_key_is_a_choice() -> None:
    space = SearchSpace([Choice("options", ["a", "b"])])
    assert space.parse({"options": "b"}).indices == (1,)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("22212229", r"8 option indices, here one digit a block: .*; got 9 at position 7 of '22212229'"),
        ("2221222", r"8 option indices, here one digit a block: .*; got 7 digits of '2221222'"),
        ("222122222", "got 9 digits"),
        ("2" * 5000, r"got 5000 digits of .*\(5,000 characters\)"),
        ("2,2,2,1,2,2,2,9", r"for choice 'stages.2.2' \(position 7\); got 9"),
        ("2,2,2,1,2,2,2", "needs 8 option indices; got 7"),
        ("k3", "a text like '00000000'"),
    ],
)
def test_digits_of_nas_bench_macro_that_do_not_fit(text: str, message: str) -> None:
    space = spaces.build("nasbench-macro", 10, input_size=8, width=0.25).space
    assert space.parse("22212221").indices == (2, 2, 2, 1, 2, 2, 2, 1)
    with pytest.raises(SpaceError, match=message) as error:
        space.parse(text)
    assert len(str(error.value)) < 400


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("21", r"separate indices by commas"),
        ("9" * 5000, "separate indices by commas"),
        ("9" * 5000 + ",1", "an architecture is 2 option indices"),
        ("", "an architecture is 2 option indices"),
        ("{", "must be a JSON object"),
        ("{" * 100_000, "must be a JSON object"),
        ('{"a":' * 100_000, "nested too deep"),
        ('{"width": 24}', "got none for 'block'"),
        ({"width": 24, "block": ["skip"]}, "takes its options only"),
        ({"width": np.array([1, 2]), "block": "skip"}, "takes its options only"),
        ({"wdith": 24, "block": "skip"}, "did you mean 'width'"),
        ({}, "got none for 'width'"),
        ([2, 1, 0], "needs 2 option indices; got 3"),
        ([2, 2], r"for choice 'block'"),
        ([2.0, 1], "must be a sequence of 2 integers"),
        (np.zeros((2, 2), dtype=int), "must be a sequence of 2 integers"),
        (3, "got int"),
        (None, "got NoneType"),
        (b"2,1", "got bytes"),
        ({2, 1}, "got set"),
        (np.int64(3), "got int64"),
        ("missing/architecture.json", "must exist"),
        (Path("missing"), "must exist"),
    ],
)
def test_what_is_no_architecture_is_one_line(written: Any, message: str) -> None:
    with pytest.raises(SpaceError, match=message) as error:
        SPACE.parse(written)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 500


def test_only_small_regular_files_are_opened(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.json"
    os.mkfifo(pipe)
    large = tmp_path / "large.json"
    with large.open("wb") as file:
        file.truncate(2**30)
    binary = tmp_path / "binary.json"
    binary.write_bytes(b"\xff\xfe")
    for path, message in ((pipe, "must exist and be small"), (large, "be small"), (binary, "readable text")):
        with pytest.raises(SpaceError, match=message):
            SPACE.parse(path)


def test_json_of_an_architecture_is_read_as_parse_reads_it() -> None:
    assert Architecture.from_json(SPACE, json.dumps(WRITTEN_BY_A_RUN)) == EXPECTED
