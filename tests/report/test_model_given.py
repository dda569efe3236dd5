"""What the report says and draws of a model that came in."""

from __future__ import annotations

import dataclasses
from typing import Any

from onepath.record import RunRecord
from onepath.report.model_given import Layer, model_section
from onepath.report.page import render

COSTS = {"macs": 2e6, "params": 4e5, "layers": 9, "memory": 3e5, "size": 1.6e6}
MODEL: dict[str, Any] = {
    "name": "net.py:build",
    "costs": COSTS,
    "winner_costs": {**COSTS, "macs": 1e6},
    "validation": 0.9,
    "test": 0.88,
    "latency_ms": 2.0,
    "winner_latency_ms": 1.0,
    "latency_device": "onnxruntime-cpu",
    "is_noisy": False,
    "agreement": 0.93,
    "layers": [
        {
            "path": "stem",
            "kind": "Conv2d",
            "width": 16,
            "kept_width": 8,
            "kernel": [5, 5],
            "kept_kernel": [3, 3],
        },
        {"path": "<b>", "kind": "Conv2d", "width": 64, "kept_width": None, "kernel": [], "kept_kernel": []},
        {"path": "attn", "kind": "heads", "width": 12, "kept_width": 6, "kernel": [], "kept_kernel": []},
        {"path": "head", "kind": "Linear", "width": 1, "kept_width": 1, "kernel": [], "kept_kernel": []},
    ],
}


def with_model(record: RunRecord, **changes: Any) -> RunRecord:
    export = record.stages["export"]
    stage = {**export, "record": {**export["record"], "model": {**MODEL, **changes}}}
    return dataclasses.replace(record, stages={**record.stages, "export": stage})


def test_table_bars_and_words(finished_record: RunRecord) -> None:
    section = model_section(with_model(finished_record))
    assert section is not None
    first = [cell.replace("\u00a0", " ") for cell in section["rows"][0]]
    assert first[:4] == ["The model that came in", "88.0 %", "90.0 %", "2.00 M"]
    assert section["rows"][1][3].replace("\u00a0", " ") == "1.00 M"
    assert section["heads"][-1] == "Latency"
    assert section["layers"] == [
        Layer("stem", 50.0, 50.0, "8 of 16 outputs, kernel 3x3 of 5x5"),
        Layer("<b>", 100.0, 0.0, "left out (64 outputs)"),
        Layer("attn", 43.3, 50.0, "6 of 12 heads"),
        Layer("head", 12.5, 100.0, "1 output"),
    ]
    assert section["text"] == (
        "The model that came in has 3 layers with weights: 1 left out, 1 with fewer outputs, 1 with a smaller kernel."
    )
    page = render(with_model(finished_record))
    assert "What was cut out of the model that came in" in page
    assert "&lt;b&gt;" in page
    assert "<b></span>" not in page


def test_without_a_model_there_is_nothing(finished_record: RunRecord) -> None:
    assert model_section(finished_record) is None
    older = with_model(finished_record)
    del older.stages["export"]["record"]["model"]["winner_costs"]
    assert model_section(older) is None
    assert "What was cut out" not in render(finished_record)


def test_what_was_not_cut_is_said(finished_record: RunRecord) -> None:
    section = model_section(with_model(finished_record, layers=MODEL["layers"][3:]))
    assert section is not None
    assert section["text"].endswith("has 1 layer with weights: none cut.")
