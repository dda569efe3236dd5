"""How the exported network is run and trained further."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from onepath.own_code import is_own
from onepath.record import RunRecord
from onepath.report.findings import stage_record


class Usage(NamedTuple):
    """What a user of the files has to know.

    Attributes:
        summary: what an input is.
        snippet: lines of Python that run `model.onnx` without onepath; None where there is no such file.
        load: the call that gives the module to train further.
        layers: the call that makes the module whose keys `model.safetensors` has.
    """

    summary: str
    snippet: str | None
    load: str
    layers: str


def usage(record: RunRecord) -> Usage | None:
    """None before the network is exported, and of runs from before it was recorded."""
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
