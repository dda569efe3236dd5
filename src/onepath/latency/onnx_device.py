"""Devices that run the exported ONNX file; onnxruntime is the first of them."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from onepath.errors import RunDirectoryError, UserError
from onepath.export import export_onnx
from onepath.latency.conditioning import conditioned, example
from onepath.latency.device import Device, Network, Prepared
from onepath.latency.torch_device import Timed
from onepath.nn.inputs import input_dtype
from onepath.temporary import TemporaryFolder

if TYPE_CHECKING:
    from onnxruntime import InferenceSession


class OnnxDevice(Device):
    """A runtime that is given an ONNX file: a network's, written for the occasion, or one that is there."""

    def prepare(self, model: Network, input_shape: Sequence[int]) -> Prepared:
        """Export the network and load it, or load a file that was exported before; see `Device.prepare`.

        Raises:
            ShapeError: the network rejects `input_shape`.
            RunDirectoryError: `model` is a path without a file.
            UserError: the network cannot be exported.
        """
        if not isinstance(model, nn.Module):
            if not model.is_file():
                raise RunDirectoryError(
                    f"{model} must be an exported file, but there is none; export the network first"
                )
            return self.prepare_file(model, input_shape)
        directory = TemporaryFolder()
        try:
            path = write_for_timing(model, input_shape, self.batch, directory.path / "model.onnx")
            prepared = self.prepare_file(path, input_shape)
        except BaseException:
            directory.close()
            raise
        return _WithFile(prepared, directory)

    @abstractmethod
    def prepare_file(self, path: Path, input_shape: Sequence[int]) -> Prepared:
        """Load an ONNX file, which stays where it is until `close`.

        Args:
            path: a file with one input, whose first dimension is free or the device's batch.
            input_shape: of one example, (C, H, W), without the batch.

        Raises:
            UserError: the runtime cannot take the file.
        """


class OnnxRuntimeCpu(OnnxDevice):
    """onnxruntime on the CPU."""

    name = "onnxruntime-cpu"

    def version(self) -> str | None:  # noqa: D102
        return package_version("onnxruntime")

    def prepare_file(self, path: Path, input_shape: Sequence[int]) -> Prepared:  # noqa: D102
        session = _session(path, self.threads, ["CPUExecutionProvider"])
        (entry,) = session.get_inputs()
        inputs = {entry.name: example(input_shape, self.batch, _dtype(entry.type)).numpy()}
        return Timed(lambda: session.run(None, inputs))


class OnnxRuntimeCuda(OnnxDevice):
    """onnxruntime on the first CUDA card; input and output stay on the card."""

    name = "onnxruntime-cuda"

    def missing(self) -> str | None:  # noqa: D102
        import onnxruntime

        if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
            return "the installed onnxruntime has no CUDA provider: pip install onnxruntime-gpu"
        return None if torch.cuda.is_available() else "torch finds no CUDA card"

    def version(self) -> str | None:  # noqa: D102
        return package_version("onnxruntime-gpu")

    def processor(self) -> str | None:  # noqa: D102
        return torch.cuda.get_device_name() if torch.cuda.is_available() else None

    def prepare_file(self, path: Path, input_shape: Sequence[int]) -> Prepared:
        """Load the file on the card; see `OnnxDevice.prepare_file`.

        Raises:
            UserError: onnxruntime fell back to the CPU.
        """
        session = _session(path, self.threads, ["CUDAExecutionProvider", "CPUExecutionProvider"])
        if "CUDAExecutionProvider" not in session.get_providers():
            raise UserError(
                f"{self.name} must run on the card, but onnxruntime fell back to the CPU; "
                "check that its CUDA and cuDNN versions fit"
            )
        dtype = _dtype(session.get_inputs()[0].type)
        return Timed(bound_run(session, example(input_shape, self.batch, dtype).numpy(), "cuda"))


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


class _WithFile:
    """A prepared network whose file lives as long as it does."""

    def __init__(self, prepared: Prepared, directory: TemporaryFolder) -> None:
        self._prepared = prepared
        self._directory = directory
        self.run = prepared.run

    def close(self) -> None:
        self._prepared.close()
        self._directory.close()


def bound_run(session: InferenceSession, inputs: np.ndarray[Any, Any], place: str) -> Callable[[], Any]:
    """One inference on values that stay in the memory of `place` ("cpu" or "cuda")."""
    import onnxruntime

    binding = session.io_binding()
    binding.bind_ortvalue_input(
        session.get_inputs()[0].name, onnxruntime.OrtValue.ortvalue_from_numpy(inputs, place, 0)
    )
    binding.bind_output(session.get_outputs()[0].name, place)
    return lambda: session.run_with_iobinding(binding)


def _dtype(name: str) -> torch.dtype:
    """Of an ONNX input: "tensor(int64)" are indices, such as words."""
    return torch.int64 if name == "tensor(int64)" else torch.float32


def package_version(name: str) -> str | None:
    """Of an installed package; None where there is none of that name."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _session(path: Path, threads: int, providers: list[str]) -> InferenceSession:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=providers)
