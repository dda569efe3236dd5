"""What is handed over is measured once more, and its note goes by the rule by which the winner was chosen."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from torch import nn

from onepath import latency
from onepath.runs.exporting import _measured


@pytest.mark.parametrize(
    ("median_ms", "iqr_ms", "is_noisy", "note"),
    [
        (1.9, 0.1, False, None),
        (1.9, 0.11, False, "with its spread over the 2 ms that it met before"),
        (2.05, 0.06, False, "with its spread over the 2 ms that it met before"),
        (1.0, 0.5, True, "the latency is noisy"),
    ],
)
def test_the_note_goes_by_the_rule_of_the_search(
    monkeypatch: pytest.MonkeyPatch, median_ms: float, iqr_ms: float, is_noisy: bool, note: str | None
) -> None:
    found = latency.Latency(median_ms, iqr_ms, 20, 1, is_noisy)
    monkeypatch.setattr(latency, "measure", lambda *_: [found])
    notes: list[str] = []
    run: Any = SimpleNamespace(
        config=SimpleNamespace(device="mine", limit_ms=2.0),
        latencies=SimpleNamespace(device=SimpleNamespace(name="mine", settings=dict)),
        input_shape=(1, 8, 8),
        progress=SimpleNamespace(note=notes.append),
    )
    assert _measured(run, nn.Identity(), None)["latency_ms"] == median_ms
    assert len(notes) == (note is not None)
    assert note is None or note in notes[0]
