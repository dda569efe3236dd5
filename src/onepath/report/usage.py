"""How to run the exported network and how to train it further."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from onepath.own_code import is_own
from onepath.record import RunRecord
from onepath.report.findings import stage_record


class Usage(NamedTuple):
    """Instructions for using the exported files.

    Attributes:
        summary: description of an input and its preprocessing.
        snippet: lines of Python that run `model.onnx` without onepath; None if there is no such file.
        load: Python call that returns the module, to train it further.
        layers: Python call that builds the module whose parameter names are the keys of `model.safetensors`.
    """

    summary: str
    snippet: str | None
    load: str
    layers: str


def usage(record: RunRecord) -> Usage | None:
    """Return the instructions for a run; None before the export, and for older runs that did not record them."""
    export = stage_record(record, "export")
    preparing: dict[str, Any] | None = export.get("preprocessing")
    if preparing is None:
        return None
    space = str(record.config.get("space", ""))
    path = str(record.config.get("out") or f"runs/{record.path.name}")
    code = f', space="{Path(space).name}"' if is_own(space) else ""
    return Usage(
        preparing["summary"],
        preparing["snippet"],
        f'onepath.load_run("{path}"{code}).model()',
        f"supernet.extract(architecture, inherit={export.get('start') != 'scratch'})",
    )
