"""The run directory and its contents: configuration, trial store, atomically written files and checkpoints."""

from onepath.record.atomic import (
    atomic_write_bytes,
    atomic_write_json,
    atomic_write_text,
    load_tensors,
    save_tensors,
    tensor_bytes,
)
from onepath.record.checkpoint import TrainingCheckpoint
from onepath.record.directory import RunDirectory
from onepath.record.estimates import EstimateStore
from onepath.record.rows import CurvePoint, NetworkRow, StageRow, TrialRow
from onepath.record.run_record import RunRecord
from onepath.record.store import Store

__all__ = [
    "CurvePoint",
    "EstimateStore",
    "NetworkRow",
    "RunDirectory",
    "RunRecord",
    "StageRow",
    "Store",
    "TrainingCheckpoint",
    "TrialRow",
    "atomic_write_bytes",
    "atomic_write_json",
    "atomic_write_text",
    "load_tensors",
    "save_tensors",
    "tensor_bytes",
]
