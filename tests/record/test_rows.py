"""Rows hold any number of costs, and what is read back is checked."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import astuple, replace
from pathlib import Path
from typing import Any

import pytest

from onepath.errors import RunDirectoryError
from onepath.record import NetworkRow, Store, TrialRow
from onepath.record.rows import checked

COSTS = {"macs": 10**12, "params": 5.0, "memory": 0, "energy_mj": 0.1 + 0.2, "own-cost": 1e-300}
TRIAL = TrialRow(0, "2,1,0", 0, "random", 0.5, 0.25, COSTS, 0.5)
NETWORK = NetworkRow("winner", "scratch", "2,1,0", 3, COSTS, 0.5, 0.75, None, 1.0)
BAD: list[Any] = [
    None,
    [],
    "macs",
    {"macs": None},
    {"macs": "10"},
    {"macs": True},
    {"macs": -1},
    {"macs": float("nan")},
    {"macs": float("inf")},
    {"macs": {"value": 1}},
    {"": 1},
    {"a/b": 1},
    {"../macs": 1},
    {"m" * 101: 1},
    {7: 1},
]


def values(row: TrialRow | NetworkRow) -> list[Any]:
    return [getattr(row, name) for name in row.__dataclass_fields__]


@pytest.mark.parametrize("costs", [{}, {"macs": 1}, COSTS, {f"cost_{index}": index for index in range(30)}])
def test_any_number_of_costs_comes_back_exactly(tmp_path: Path, costs: dict[str, float]) -> None:
    trial, network = replace(TRIAL, costs=costs), replace(NETWORK, costs=costs)
    with Store(tmp_path / "t.sqlite") as store:
        store.add_trial(trial)
        store.put_network(network)
    with Store(tmp_path / "t.sqlite") as store:
        assert store.trials() == [trial]
        assert store.networks() == [network]


@pytest.mark.parametrize("row", [TRIAL, NETWORK], ids=["trial", "network"])
def test_a_row_is_its_values(row: TrialRow | NetworkRow) -> None:
    assert checked(type(row), values(row)) == row
    assert astuple(row)[list(row.__dataclass_fields__).index("costs")] == COSTS


@pytest.mark.parametrize("costs", BAD, ids=repr)
@pytest.mark.parametrize("row", [TRIAL, NETWORK], ids=["trial", "network"])
def test_costs_that_are_none_are_refused(row: TrialRow | NetworkRow, costs: Any) -> None:
    with pytest.raises(ValueError, match=f"costs of a {type(row).__name__}"):
        checked(type(row), values(replace(row, costs=costs)))


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "3", '{"macs": -1}', '{"macs": NaN}', "[" * 9999, '{"/": 1}']
)
def test_costs_changed_in_the_file_are_damage(tmp_path: Path, text: str) -> None:
    path = tmp_path / "t.sqlite"
    with Store(path) as store:
        store.add_trial(TRIAL)
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE trials SET costs = ?", (text,))
        connection.execute("DROP TABLE digests")  # so that only the check of the row is left
    with Store(path) as store, pytest.raises(RunDirectoryError, match="damaged") as error:
        store.trials()
    assert "\n" not in str(error.value)


def test_costs_are_one_column_of_json_in_a_fixed_order(tmp_path: Path) -> None:
    path = tmp_path / "t.sqlite"
    with Store(path) as store:
        store.add_trial(TRIAL)
    with sqlite3.connect(path) as connection:
        ((text,),) = connection.execute("SELECT costs FROM trials").fetchall()
    assert list(json.loads(text).items()) == sorted(COSTS.items())


def test_a_cost_that_is_not_finite_is_not_stored(tmp_path: Path) -> None:
    with Store(tmp_path / "t.sqlite") as store:
        with pytest.raises(ValueError, match="JSON"):
            store.add_trial(replace(TRIAL, costs={"macs": float("nan")}))
        assert store.trials() == []
