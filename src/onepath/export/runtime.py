"""Run exported files, and compare their outputs with those of the network."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from onepath.errors import RunDirectoryError, ShapeError, UserError
from onepath.export.files import standalone_copy

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

# Number of examples that a comparison runs at once, so that memory does not grow with the number of all examples.
_BATCH = 256


def onnx_max_abs_error(
    model: nn.Module, path: str | Path, inputs: Tensor, *, raw: Tensor | None = None
) -> float:
    """Return the largest absolute difference between the outputs of a network and of its ONNX file.

    The file runs in onnxruntime on the CPU.

    Args:
        model: the network, which runs in eval mode on the CPU; not changed.
        path: the file that `export_onnx` wrote.
        inputs: inputs of the network, (N, C, H, W), N at least 1; compared in batches of 256, the last one may be
            smaller.
        raw: the same examples as raw values, if the file normalises them itself. None: the file gets `inputs`.

    Returns:
        The maximum over all values of all N outputs; 0 means equal to the bit.

    Raises:
        RunDirectoryError: there is no file at `path`.
        ShapeError: `inputs` is empty, `raw` has another length, or the outputs differ in shape.
        UserError: an output is not finite.
    """
    session = _session(path, threads=torch.get_num_threads())
    (entry,) = session.get_inputs()

    def run(batch: Tensor) -> Tensor:
        (output,) = session.run(None, {entry.name: np.ascontiguousarray(batch.numpy())})
        return torch.from_numpy(output)

    return _max_abs_error(model, run, inputs, raw)


def program_max_abs_error(
    model: nn.Module, path: str | Path, inputs: Tensor, *, raw: Tensor | None = None
) -> float:
    """Return the largest absolute difference between the outputs of a network and of its torch.export archive.

    Args:
        model: the network, which runs in eval mode on the CPU; not changed.
        path: the archive that `export_program` wrote. It is loaded from disk; load only archives of your own.
        inputs: inputs of the network, (N, C, H, W), N at least 1; compared in batches of 256, the last one may be
            smaller.
        raw: the same examples as raw values, if the archive normalises them itself. None: the archive gets `inputs`.

    Returns:
        The maximum over all values of all N outputs; 0 means equal to the bit.

    Raises:
        RunDirectoryError: there is no file at `path`.
        ShapeError: `inputs` is empty, `raw` has another length, or the outputs differ in shape.
        UserError: an output is not finite.
    """
    return _max_abs_error(model, torch.export.load(_existing(path)).module(), inputs, raw)


def _max_abs_error(
    model: nn.Module, run: Callable[[Tensor], Tensor], inputs: Tensor, raw: Tensor | None
) -> float:
    if inputs.ndim < 1 or len(inputs) == 0:
        raise ShapeError(
            f"a comparison needs at least one input, but got shape {tuple(inputs.shape)}; give (N, C, H, W)"
        )
    raw = inputs if raw is None else raw
    if len(raw) != len(inputs):
        raise ShapeError(
            f"a comparison needs the same examples raw and normalised, but got {len(raw)} and {len(inputs)}; give both"
        )
    network = standalone_copy(model)
    with torch.no_grad():
        pairs = zip(_batches(inputs), _batches(raw), strict=True)
        return max(_difference(network(batch), run(given)) for batch, given in pairs)


def _batches(inputs: Tensor) -> Iterator[Tensor]:
    inputs = inputs.detach().cpu()
    return (inputs[start : start + _BATCH] for start in range(0, len(inputs), _BATCH))


def _difference(expected: Tensor, actual: Tensor) -> float:
    if expected.shape != actual.shape:
        raise ShapeError(
            f"the file must give outputs of shape {tuple(expected.shape)}, but gave {tuple(actual.shape)}; "
            "export this network again"
        )
    difference = float((expected - actual).abs().max())
    if not np.isfinite(difference):
        raise UserError(
            "outputs must be finite to be compared, but some are NaN or infinite; "
            "the training diverged: lower the learning rate"
        )
    return difference


def _session(path: str | Path, threads: int) -> InferenceSession:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(_existing(path)), options, providers=["CPUExecutionProvider"])


def _existing(path: str | Path) -> Path:
    path = Path(path)
    if not path.is_file():
        raise RunDirectoryError(
            f"{path} must be an exported file, but there is none; export the network first"
        )
    return path
