"""Pairs from files."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from latency.predictor.pairs_of_a_law import deep_space

from onepath.errors import DataError, SpaceError
from onepath.latency.predictor import HAT_FEATURES, HatFeatures, hat_space, read_pairs


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".csv":
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    else:
        path.write_text(json.dumps(rows))
    return path


def table() -> list[dict[str, Any]]:
    return [
        {"architecture": "0,1,0,0", "latency_ms": 2.5, "device": "board", "is_noisy": False},
        {"architecture": "2,1,3,2", "latency_ms": 4.5, "device": "board", "is_noisy": False},
        {"architecture": "1,1,3,0", "latency_ms": 9.5, "device": "board", "is_noisy": True},
    ]


def hat_rows(num: int) -> list[dict[str, Any]]:
    space = hat_space()
    values = HatFeatures().values(space, space.sample(num, np.random.default_rng(0)))
    return [
        {
            "task": "t",
            "device": ("xeon", "pi")[index % 2],
            **dict(zip(HAT_FEATURES, row.tolist(), strict=True)),
            "latency_mean_encoder": 1.0 + index,
            "latency_mean_decoder": 10.0,
        }
        for index, row in enumerate(values)
    ]


@pytest.mark.parametrize("ending", ["parquet", "csv", "json"])
def test_architectures(tmp_path: Path, ending: str) -> None:
    space = deep_space()
    pairs = read_pairs(write(tmp_path / f"a.{ending}", table()), space=space)
    assert pairs.latencies_ms.tolist() == [2.5, 4.5]
    assert pairs.num_noisy == 1
    assert dict(pairs.device) == {"name": "board"}
    assert pairs.labels == ("0,1,0,0", "2,1,3,2")
    assert np.array_equal(pairs.inputs, space.one_hot(np.array([[0, 1, 0, 0], [2, 1, 3, 2]])))


@pytest.mark.parametrize("ending", ["parquet", "csv", "json"])
def test_hats_columns(tmp_path: Path, ending: str) -> None:
    rows = hat_rows(6)
    pairs = read_pairs(write(tmp_path / f"a.{ending}", rows), where={"device": "pi"})
    assert pairs.latencies_ms.tolist() == [12.0, 14.0, 16.0]
    assert pairs.inputs[0].tolist() == [rows[1][name] for name in HAT_FEATURES]
    assert pairs.space_name == "hat"
    assert pairs.device["name"] == "pi"


def test_several_sets_are_not_mixed(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", hat_rows(4))
    with pytest.raises(DataError, match=r"one device; .* has pi, xeon; take one"):
        read_pairs(path)
    with pytest.raises(DataError, match=r"rows of device 'phone', but there are: pi, xeon"):
        read_pairs(path, where={"device": "phone"})


def test_what_cannot_be_read(tmp_path: Path) -> None:
    space = deep_space()
    good = write(tmp_path / "good.json", table())
    with pytest.raises(DataError, match="no space"):
        read_pairs(good)
    with pytest.raises(DataError, match="column seconds"):
        read_pairs(good, space=space, latency_column="seconds")
    with pytest.raises(DataError, match="cannot be read"):
        read_pairs(tmp_path / "absent.csv", space=space)
    with pytest.raises(DataError, match="convert it"):
        read_pairs(tmp_path / "a.pickle", space=space)
    other = write(tmp_path / "other.json", [{"device": "board", "width": 3}])
    with pytest.raises(DataError, match="it has device, width"):
        read_pairs(other)
    (tmp_path / "object.json").write_text("{}")
    with pytest.raises(DataError, match="neither a list"):
        read_pairs(tmp_path / "object.json")


@pytest.mark.parametrize(("change", "message"), [(0.0, "positive"), ("fast", "hold numbers")])
def test_latencies_that_are_none(tmp_path: Path, change: Any, message: str) -> None:
    rows = table()
    rows[0]["latency_ms"] = change
    with pytest.raises(DataError, match=message):
        read_pairs(write(tmp_path / "a.json", rows), space=deep_space())


def test_device_must_be_known_and_architectures_of_the_space(tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", [{"architecture": "0,1,0,0", "latency_ms": 2.5}])
    with pytest.raises(DataError, match="names none"):
        read_pairs(path, space=deep_space())
    with pytest.raises(SpaceError):
        read_pairs(path, space=hat_space(), device="board")
