"""Records of stages that something else has written or changed: right, or one line, in every reader."""

from __future__ import annotations

import copy
import json
import pickle
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from onepath.errors import RunDirectoryError
from onepath.record import StageRow
from onepath.record.stage_records import Recorded, is_record, reading_records
from onepath.record.store import Store

RECORDS: dict[str, Any] = {
    "search": {
        "space_size": 27,
        "winner": "0,1,2",
        "space_choices": [{"name": "a", "options": ["x", 3, 0.5]}],
        "active": {"a": "x"},
        "limit": {"max_macs": 25000},
        "front": {"trials": [4, 0], "hypervolume": 0.5, "reference": {"macs": 3}, "decides_ties": False},
        "score": None,
        "num_random_legal": 6,
        "predictor": {
            "num_pairs": 2,
            "error": 0.1,
            "tau": None,
            "held_out": [0.5, 0.6],
            "accuracies": [0.5, 1],
            "costs": {"macs": [3, 4]},
        },
    },
    "export": {
        "model": {
            "name": "net.py:build",
            "costs": {"macs": 3},
            "validation": 0.5,
            "test": 0.5,
            "latency_ms": 2.0,
            "winner_latency_ms": 1.0,
            "latency_device": "cpu",
            "is_noisy": False,
            "agreement": None,
            "layers": [
                {
                    "path": "a",
                    "kind": "heads",
                    "width": 3,
                    "kept_width": None,
                    "kernel": [],
                    "kept_kernel": [],
                }
            ],
        },
    },
    "retrain": {
        "networks": [
            {
                "role": "winner",
                "start": "scratch",
                "architecture": "0",
                "seed": 1,
                "inherited_validation": None,
            }
        ],
        "exported": "scratch",
    },
    "data": {"name": "digits", "train": 9, "classes": 2, "input_shape": [1, 8, 8], "class_names": ["0", "1"]},
    "train": {
        "num_updates": 3,
        "counts": {"block": {"skip": 3}},
        "start": {},
        "architecture": {
            "logits": {"a": [0.1, -0.1]},
            "points": [
                {"epoch": 1, "entropy": 0.9, "num_skips": 1, "weights": {"a": [0.4, 0.6]}, "loss": None}
            ],
            "guard": {"max_skips": 2},
            "stopped": None,
        },
    },
    "latency": {
        "settings": {"name": "cpu"},
        "measured": {"0": {"median_ms": 1, "iqr_ms": 0.1, "is_noisy": False}},
    },
}
WRONG = (None, True, -1, 1.5, "no", [], [None], {}, {"a": None}, [[]])


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every container in a value and a key in it."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in list(items):
        yield value, key
        yield from places(inner)


@pytest.mark.parametrize("stage", sorted(RECORDS))
def test_what_is_written_is_a_record_and_with_other_types_none(stage: str) -> None:
    assert is_record(stage, RECORDS[stage])
    assert is_record(stage, {})
    assert not is_record(stage, [])
    for key, value in RECORDS[stage].items():
        wrong = [other for other in (True, -1, "no", [None], {"a": None}) if type(other) is not type(value)]
        found = [is_record(stage, {**RECORDS[stage], key: other}) for other in wrong]
        assert not any(found), (key, wrong, found)


@pytest.mark.parametrize(
    ("stage", "path", "value"),
    [
        ("search", ("front", "trials"), ["4"]),
        ("search", ("space_choices", 0, "options"), []),
        ("search", ("space_choices", 0), {"name": "a"}),
        ("retrain", ("networks", 0, "start"), "elsewhere"),
        ("retrain", ("networks", 0), "winner"),
        ("retrain", ("exported",), "elsewhere"),
        ("train", ("counts", "block", "skip"), "3"),
        ("train", ("architecture", "points", 0, "weights"), {"a": "high"}),
        ("train", ("architecture", "points", 0), {}),
        ("train", ("architecture", "guard"), 3),
        ("latency", ("measured", "0"), {"median_ms": 1}),
        ("latency", ("measured", "0", "median_ms"), "1"),
        ("data", ("input_shape",), []),
        ("data", ("classes",), True),
    ],
)
def test_parts_are_looked_into(stage: str, path: tuple[Any, ...], value: Any) -> None:
    record = copy.deepcopy(RECORDS[stage])
    inner = record
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    assert not is_record(stage, record)


def test_a_store_tells_other_types_and_absent_keys_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "trials.sqlite"
    with Store(path) as store:
        store.put_stage(StageRow("search", done=True, record={"winner": "0,1"}))
        record = store.stage("search").record
        assert (record, record["winner"], record.get("active")) == ({"winner": "0,1"}, "0,1", None)
        for read in (record, pickle.loads(pickle.dumps(record)), copy.deepcopy(record)):
            with pytest.raises(RunDirectoryError, match=r"trials.sqlite must be as onepath wrote it"):
                read["active"]
    connection = sqlite3.connect(path)
    connection.execute("DROP TABLE digests")
    connection.execute("UPDATE stages SET record = ?", [json.dumps({"winner": 3})])
    connection.commit()
    connection.close()
    with (
        Store(path) as store,
        pytest.raises(RunDirectoryError, match=r"trials.sqlite must be as onepath wrote it"),
    ):
        store.stage("search")


def test_what_does_not_fit_together_names_the_cause(tmp_path: Path) -> None:
    for error in (KeyError("a"), IndexError("b"), TypeError("c"), ValueError("d"), ZeroDivisionError("e")):
        with pytest.raises(RunDirectoryError, match=type(error).__name__), reading_records(tmp_path):
            raise error
    with pytest.raises(OSError, match="disk"), reading_records(tmp_path):
        raise OSError("disk")
    assert Recorded({"a": 1}) == {"a": 1}
