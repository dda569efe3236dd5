"""Tables that are kept for later runs: where, under which name, and how long one holds."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "runs"))

from fake_device import Fake, Noisy
from tiny_space import build

from onepath import MaxLatency
from onepath.latency import LatencyTable, profile
from onepath.latency.kept import (
    MAX_DRIFT,
    KeptTable,
    age_text,
    cache_folder,
    kept_or_profiled,
    kept_path,
    kept_table,
)
from onepath.nn import Supernet
from onepath.record import atomic_write_json

SHAPE = (1, 8, 8)


@pytest.fixture(scope="module")
def supernet() -> Supernet:
    return Supernet(build(10))


@pytest.fixture(scope="module")
def table(supernet: Supernet, tmp_path_factory: pytest.TempPathFactory) -> LatencyTable:
    path = tmp_path_factory.mktemp("table") / "table.json"
    return profile(supernet, Fake(threads=1), SHAPE, path=path)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("ONEPATH_CACHE", str(folder))
    return folder


def keep(table: LatencyTable, supernet: Supernet, device: Any) -> Path:
    path = kept_path(supernet, device, SHAPE)
    assert path is not None
    path.parent.mkdir(exist_ok=True)
    table.save(path)
    return path


def test_the_folder_is_the_users(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    for own, folder in (
        (str(tmp_path / "own"), tmp_path / "own"),
        ("~/own", tmp_path / "own"),
        ("", None),
    ):
        monkeypatch.setenv("ONEPATH_CACHE", own)
        assert cache_folder() == folder
    monkeypatch.delenv("ONEPATH_CACHE")
    assert cache_folder() == tmp_path / "xdg" / "onepath"
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    assert cache_folder() == tmp_path / ".cache" / "onepath"


def test_the_name_tells_all_that_a_latency_depends_on(
    cache: Path, supernet: Supernet, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def name(network: Supernet = supernet, shape: tuple[int, ...] = SHAPE, **settings: Any) -> str:
        path = kept_path(network, Fake(**{"threads": 1, **settings}), shape)
        assert path is not None
        assert path.parent == cache
        return path.name

    first = name()
    assert name(Supernet(build(10))) == first
    torch.manual_seed(5)
    assert name(Supernet(build(10))) == first  # weights do not matter
    others = [name(Supernet(build(9))), name(shape=(1, 9, 9)), name(threads=2), name(batch=2)]
    monkeypatch.setattr(Fake, "processor", lambda _: "another")
    others.append(name())
    monkeypatch.setattr(Fake, "version", lambda _: "2.0")
    others.append(name())
    monkeypatch.setattr(os, "cpu_count", lambda: 1000)
    others.append(name())
    monkeypatch.chdir(tmp_path)  # where a command or file of your own is looked up
    others.append(name())
    assert len({first, *others}) == 9


def test_nothing_is_kept_where_it_is_turned_off(
    supernet: Supernet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ONEPATH_CACHE", "")
    assert kept_path(supernet, Fake(threads=1), SHAPE) is None
    assert kept_table(supernet, Fake(threads=1), SHAPE) is None
    kept_or_profiled(supernet, Fake(threads=1), SHAPE, path=tmp_path / "table.json")
    assert {path.name for path in tmp_path.iterdir()} == {"table.json", "table.html"}


@pytest.mark.parametrize(
    ("factor", "holds"), [(1.0, True), (1.09, True), (0.91, True), (1.11, False), (0.89, False), (2.0, False)]
)
def test_a_known_network_says_whether_a_table_holds(
    cache: Path,
    supernet: Supernet,
    table: LatencyTable,
    monkeypatch: pytest.MonkeyPatch,
    factor: float,
    holds: bool,
) -> None:
    keep(table, supernet, Fake(threads=1))
    monkeypatch.setattr("fake_device.BASE_MS", 0.1 * factor)
    monkeypatch.setattr("fake_device.WEIGHT_MS", 0.01 * factor)
    found = kept_table(supernet, Fake(threads=1), SHAPE)
    assert found is not None
    assert found.slowness == pytest.approx(factor)
    assert found.holds is holds
    assert f"known networks take {factor:.2f} times as long now" in found.sentence


def test_a_slow_moment_is_not_held_against_a_table(
    cache: Path, supernet: Supernet, table: LatencyTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(table, supernet, Fake(threads=1))
    slowness = iter([*[1.5] * 3, *[1.2] * 3, 1.05, 1.3, 1.05])  # three networks a session
    original = Fake.prepare

    def prepare(self: Fake, model: Any, input_shape: Any) -> Any:
        factor = next(slowness)
        monkeypatch.setattr("fake_device.BASE_MS", 0.1 * factor)
        monkeypatch.setattr("fake_device.WEIGHT_MS", 0.01 * factor)
        return original(self, model, input_shape)

    monkeypatch.setattr(Fake, "prepare", prepare)
    found = kept_table(supernet, Fake(threads=1), SHAPE)
    assert found is not None
    assert found.slowness == pytest.approx(1.05)


def test_noise_is_not_held_against_a_table(cache: Path, supernet: Supernet, table: LatencyTable) -> None:
    path = keep(table, supernet, Noisy(threads=1))
    atomic_write_json(path, {**table.to_data(), "device": "noisy"})
    found = kept_table(supernet, Noisy(threads=1), SHAPE)
    assert found is not None
    assert found.slowness is None
    assert found.holds
    assert "too noisy to compare" in found.sentence


def test_a_file_of_something_else_is_profiled_anew(
    cache: Path, supernet: Supernet, table: LatencyTable, tmp_path: Path
) -> None:
    device = Fake(threads=1)
    path = keep(table, supernet, device)
    for content in ("{", "[]", "", path.read_text().replace('"fake"', '"other"')):
        path.write_text(content)
        assert kept_table(supernet, device, SHAPE) is None
    kept_or_profiled(supernet, device, SHAPE, path=tmp_path / "table.json")
    assert LatencyTable.load(path).device["name"] == "fake"


def test_a_folder_that_cannot_be_written_costs_one_line(
    supernet: Supernet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("ONEPATH_CACHE", str(tmp_path / "file"))
    said: list[str] = []
    table = kept_or_profiled(
        supernet, Fake(threads=1), SHAPE, path=tmp_path / "table.json", say=said.append, seed=3
    )
    assert table.evidence["settings"]["seed"] == 3
    assert len(said) == 1
    assert said[0].startswith("the latency table cannot be kept for later runs: ")


def test_the_age_is_that_of_the_file(cache: Path, supernet: Supernet, table: LatencyTable) -> None:
    path = keep(table, supernet, Fake(threads=1))
    then = time.time() - 3 * 86_400 - 5
    os.utime(path, (then, then))
    found = kept_table(supernet, Fake(threads=1), SHAPE)
    assert found is not None
    assert found.sentence.startswith("3 days old, and known networks")
    os.utime(path, (time.time() + 100, time.time() + 100))  # a clock that was put back
    found = kept_table(supernet, Fake(threads=1), SHAPE)
    assert found is not None
    assert found.sentence.startswith("0 seconds old")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 seconds"), (1.5, "1 second"), (119, "1 minute"), (7_300, "2 hours"), (90_000, "1 day")],
)
def test_an_age_is_in_its_largest_unit(seconds: float, text: str) -> None:
    assert age_text(seconds) == text


def test_a_limit_in_python_uses_what_is_kept(
    cache: Path, supernet: Supernet, table: LatencyTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    matrix = supernet.space.matrix(list(supernet.space.enumerate()))
    first = MaxLatency(Fake(threads=1), 0.3).bind(supernet, SHAPE)
    monkeypatch.setattr("onepath.latency.kept.profile", None)  # not called
    second = MaxLatency(Fake(threads=1), 0.3).bind(supernet, SHAPE)
    np.testing.assert_array_equal(first.costs(matrix), second.costs(matrix))
    assert abs(KeptTable(table, 0.0, 1 + MAX_DRIFT / 2).slowness - 1) < MAX_DRIFT  # type: ignore[operator]
