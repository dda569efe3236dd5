"""What the exported files do where they run: how far from the network's outputs, and how fast."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from onepath.errors import RunDirectoryError, ShapeError, UserError
from onepath.export.files import standalone_copy
from onepath.randomness import generator

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

# Examples a comparison puts through the network at once, so that memory does not grow with their number.
_BATCH = 256
_WARM_UP = 10


class Latency(NamedTuple):
    """Time of one inference of one example."""

    median_ms: float
    iqr_ms: float
    """Third minus first quartile of the measured times."""
    repeats: int
    threads: int


def onnx_max_abs_error(model: nn.Module, path: str | Path, inputs: Tensor) -> float:
    """The largest absolute difference between the network's outputs and the ONNX file's in onnxruntime on the
    CPU.

    Args:
        model: compared in eval mode on the CPU; not changed.
        path: what `export_onnx` wrote.
        inputs: (N, C, H, W), N at least 1; compared in batches of 256 and a last smaller one.

    Returns:
        The maximum over all N outputs; 0 is equality to the bit.

    Raises:
        RunDirectoryError: there is no file at `path`.
        ShapeError: `inputs` is empty, or the outputs differ in shape.
        UserError: an output is not finite.
    """
    session = _session(path, threads=torch.get_num_threads())
    (entry,) = session.get_inputs()

    def run(batch: Tensor) -> Tensor:
        (output,) = session.run(None, {entry.name: np.ascontiguousarray(batch.numpy())})
        return torch.from_numpy(output)

    return _max_abs_error(model, run, inputs)


def program_max_abs_error(model: nn.Module, path: str | Path, inputs: Tensor) -> float:
    """The largest absolute difference between the network's outputs and those of the reloaded torch.export
    archive.

    Args:
        model: compared in eval mode on the CPU; not changed.
        path: what `export_program` wrote. Loaded afresh; load only archives of your own.
        inputs: (N, C, H, W), N at least 1; compared in batches of 256 and a last smaller one.

    Returns:
        The maximum over all N outputs; 0 is equality to the bit.

    Raises:
        RunDirectoryError: there is no file at `path`.
        ShapeError: `inputs` is empty, or the outputs differ in shape.
        UserError: an output is not finite.
    """
    return _max_abs_error(model, torch.export.load(_existing(path)).module(), inputs)


def latency_ms(
    path: str | Path, input_shape: Sequence[int], *, threads: int | None = None, repeats: int = 100
) -> Latency:
    """Time an ONNX file in onnxruntime on the CPU, one example at a time, after a warm-up.

    The median says what an inference takes; a wide interquartile range says that the machine was busy.

    Args:
        path: what `export_onnx` wrote.
        input_shape: of one example, (C, H, W), without the batch.
        threads: that one inference may use; None takes torch's own number.
        repeats: measured runs, 1 or more; 10 runs before them are not counted.

    Raises:
        RunDirectoryError: there is no file at `path`.
        UserError: `threads` or `repeats` is under 1.
    """
    threads = torch.get_num_threads() if threads is None else threads
    for name, value in (("threads", threads), ("repeats", repeats)):
        if value < 1:
            raise UserError(f"{name} must be 1 or more, but got {value}; give at least 1")
    session = _session(path, threads)
    (entry,) = session.get_inputs()
    example = generator(0, "latency").standard_normal((1, *input_shape)).astype(np.float32)
    times_ms = np.empty(repeats)
    for repeat in range(-_WARM_UP, repeats):
        start = time.perf_counter_ns()
        session.run(None, {entry.name: example})
        if repeat >= 0:
            times_ms[repeat] = (time.perf_counter_ns() - start) / 1e6
    low, median, high = np.percentile(times_ms, [25, 50, 75])
    return Latency(float(median), float(high - low), repeats, threads)


def _max_abs_error(model: nn.Module, run: Callable[[Tensor], Tensor], inputs: Tensor) -> float:
    if inputs.ndim < 1 or len(inputs) == 0:
        raise ShapeError(
            f"a comparison needs at least one input, but got shape {tuple(inputs.shape)}; give (N, C, H, W)"
        )
    network = standalone_copy(model)
    with torch.no_grad():
        return max(_difference(network(batch), run(batch)) for batch in _batches(inputs))


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
