"""An ONNX file to be timed and thrown away."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from onepath.export import export_onnx
from onepath.latency.conditioning import conditioned, example
from onepath.nn.inputs import input_dtype


def write_for_timing(model: nn.Module, input_shape: Sequence[int], batch: int, path: Path) -> Path:
    """Write a network whose batch is fixed and whose weights are `conditioned`.

    PyTorch's older exporter writes it, which takes a tenth of the time of `export_onnx` (0.7 against 10 s for a
    ShuffleNet) for the same operations but for the way channels are dealt: onnxruntime ran it 1 to 3 % faster.
    What that exporter cannot write, `export_onnx` does. The latency of a file that is handed over is that of the file:
    give its path to `measure`.

    Args:
        model: not changed.
        input_shape: of one example, (C, H, W), without the batch.
        batch: examples in one inference.
        path: the file to write, in an existing directory.

    Raises:
        ShapeError: the network rejects `input_shape`.
        UserError: the network has no ONNX form.
    """
    network = conditioned(model, input_shape)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            # It says of itself that it is the older one, and of sizes that it takes for constants: here they are.
            warnings.simplefilter("ignore")
            torch.onnx.export(
                network,
                (example(input_shape, batch, input_dtype(network)),),
                path,
                dynamo=False,
                input_names=["input"],
                output_names=["output"],
            )
    except (RuntimeError, ValueError, TypeError):
        return export_onnx(network, input_shape, path)
    return path
