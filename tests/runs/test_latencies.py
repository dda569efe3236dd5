"""What a run keeps of its measurements is checked before it decides by them."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from onepath.errors import RunDirectoryError
from onepath.latency import Latency
from onepath.record import StageRow
from onepath.runs.latencies import Latencies

GOOD = {"median_ms": 1.5, "iqr_ms": 0.1, "repeats": 20, "threads": 1, "is_noisy": False}


def latencies(record: dict[str, Any]) -> Latencies:
    store = SimpleNamespace(stage=lambda _: StageRow("latency", 0.0, True, record), put_stage=lambda _: None)
    run: Any = SimpleNamespace(
        path=Path("run"), directory=SimpleNamespace(store=store), config=SimpleNamespace(limit_ms=1.59)
    )
    return Latencies(run, lambda _: None)


def test_a_stored_latency_is_read_back() -> None:
    found = latencies({"settings": {}, "measured": {"0": GOOD}})
    assert found.measure("0") == Latency(**GOOD)  # type: ignore[arg-type]  its text is what counts
    assert not found.is_within(Latency(**GOOD))
    assert found.is_within(Latency(**{**GOOD, "iqr_ms": 0.09}))


@pytest.mark.parametrize(
    "measured",
    [
        *([], {"0": []}, {"0": {}}, {"0": {**GOOD, "more": 1}}, {"\x1b": GOOD}),
        *(
            {"0": {**GOOD, name: value}}
            for name in ("median_ms", "iqr_ms")
            for value in (-1.0, "1", None, 1e308)
        ),
        *({"0": {**GOOD, "is_noisy": value}} for value in (0, "no", None)),
    ],
)
def test_a_store_of_something_else_is_one_line(measured: Any) -> None:
    for use in (lambda found: found.measure("0"), lambda found: found.forget_noisy()):
        with pytest.raises(RunDirectoryError, match=r"trials\.sqlite must be as onepath wrote it"):
            use(latencies({"measured": measured}))
