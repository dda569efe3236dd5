"""Importing this makes the exporter load its operators, which takes seconds, before processes are forked."""

from __future__ import annotations

import tempfile
from pathlib import Path

from torch import nn

from onepath.export import export_onnx

with tempfile.TemporaryDirectory() as folder:
    export_onnx(nn.Conv2d(1, 1, 1), (1, 2, 2), Path(folder) / "warm.onnx")
