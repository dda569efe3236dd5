from __future__ import annotations

import ctypes
import sys
from typing import Any

import pytest

from onepath.train.memory import keep_freed_memory


@pytest.fixture(autouse=True)
def fresh() -> Any:
    keep_freed_memory.cache_clear()
    yield
    keep_freed_memory.cache_clear()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc only")
def test_glibc_accepts_the_thresholds() -> None:
    assert keep_freed_memory() in (True, False)
    assert keep_freed_memory.cache_info().currsize == 1


def test_other_systems_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert keep_freed_memory() is False


def test_a_c_library_without_mallopt_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    monkeypatch.setattr(sys, "platform", "linux")
    assert keep_freed_memory() is False


def test_a_refused_threshold_is_tried_smaller(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, int]] = []

    def mallopt(parameter: int, value: int) -> int:
        asked.append((parameter, value))
        return int(value <= 1 << 25)

    monkeypatch.setattr(ctypes, "CDLL", lambda name: type("C", (), {"mallopt": staticmethod(mallopt)}))
    monkeypatch.setattr(sys, "platform", "linux")
    assert keep_freed_memory() is True
    assert asked == [(-3, 1 << 30), (-3, 1 << 25), (-1, 1 << 25)]
