"""Devices that run an ONNX file: their base class, and onnxruntime on the CPU and on a CUDA card."""

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
    """A runtime that runs ONNX files: an existing file, or one that is written for a network and deleted afterwards."""

    def prepare(self, model: Network, input_shape: Sequence[int]) -> Prepared:
        """Export the network and load it, or load an existing ONNX file; see `Device.prepare`.

        Raises:
            ShapeError: the network rejects `input_shape`.
            RunDirectoryError: `model` is a path without a file.
            UserError: the network cannot be exported, or the runtime cannot take the file.
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
        """Load an ONNX file, which stays in place until the prepared network is closed.

        Args:
            path: a file with one input, whose first dimension is free or the device's batch.
            input_shape: shape of one example, (C, H, W), without the batch.

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
    """Write a network as an ONNX file for timing, with a fixed batch and with weights that are `conditioned`.

    PyTorch's older exporter writes the file. It takes a tenth of the time of `export_onnx` (0.7 against 10 s for a
    ShuffleNet). The operations are the same, except for the way channels are rearranged: onnxruntime ran this file 1 to
    3 % faster. If the older exporter cannot write the network, `export_onnx` writes it.

    To measure a file exactly as it is handed over, give its path to `measure`.

    Args:
        model: the network; not changed.
        input_shape: shape of one example, (C, H, W), without the batch.
        batch: number of examples in one inference.
        path: the file to write, in an existing directory.

    Returns:
        `path`.

    Raises:
        ShapeError: the network rejects `input_shape`.
        UserError: the network has no ONNX form.
    """
    network = conditioned(model, input_shape)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            # The exporter warns that it is the older one and that it takes sizes for constants, which they are here.
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
    """A prepared network whose file is deleted when the network is closed."""

    def __init__(self, prepared: Prepared, directory: TemporaryFolder) -> None:
        self._prepared = prepared
        self._directory = directory
        self.run = prepared.run

    def close(self) -> None:
        self._prepared.close()
        self._directory.close()


def bound_run(session: InferenceSession, inputs: np.ndarray[Any, Any], place: str) -> Callable[[], Any]:
    """Return a function that runs one inference on values in the memory of `place` ("cpu" or "cuda")."""
    import onnxruntime

    binding = session.io_binding()
    binding.bind_ortvalue_input(
        session.get_inputs()[0].name, onnxruntime.OrtValue.ortvalue_from_numpy(inputs, place, 0)
    )
    binding.bind_output(session.get_outputs()[0].name, place)
    return lambda: session.run_with_iobinding(binding)


def _dtype(name: str) -> torch.dtype:
    """Return the type of an ONNX input; "tensor(int64)" holds indices, such as words."""
    return torch.int64 if name == "tensor(int64)" else torch.float32


def package_version(name: str) -> str | None:
    """Return the version of an installed package; None if no package of that name is installed."""
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
