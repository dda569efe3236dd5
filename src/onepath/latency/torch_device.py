"""PyTorch itself, one call of the module after the other, on the CPU or on a CUDA card."""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from onepath.latency.conditioning import conditioned, example
from onepath.latency.device import Device, Network, Prepared, module_only
from onepath.nn.inputs import input_dtype


class TorchCpu(Device):
    """Eager PyTorch on the CPU, without gradients; the time of Python between the layers is in it."""

    name = "torch-cpu"
    precisions = ("float32", "bfloat16")

    def version(self) -> str:  # noqa: D102
        return torch.__version__

    def prepare(self, model: Network, input_shape: Sequence[int]) -> Prepared:
        """Copy the module; see `Device.prepare`.

        Raises:
            ShapeError: the network rejects `input_shape`.
            UserError: `model` is a file.
        """
        return _OnCpu(*_placed(self, model, input_shape, "cpu"), self.threads)


class TorchCuda(Device):
    """Eager PyTorch on the first CUDA card; input and output stay on the card."""

    name = "torch-cuda"
    precisions = ("float32", "float16", "bfloat16")

    def missing(self) -> str | None:  # noqa: D102
        return None if torch.cuda.is_available() else "torch finds no CUDA card"

    def version(self) -> str:  # noqa: D102
        return f"{torch.__version__}, CUDA {torch.version.cuda}"

    def processor(self) -> str | None:  # noqa: D102
        return torch.cuda.get_device_name() if torch.cuda.is_available() else None

    def prepare(self, model: Network, input_shape: Sequence[int]) -> Prepared:
        """Copy the module to the card; see `Device.prepare`.

        Raises:
            ShapeError: the network rejects `input_shape`.
            UserError: `model` is a file.
        """
        return _OnCuda(*_placed(self, model, input_shape, "cuda"))


def _placed(
    device: Device, model: Network, input_shape: Sequence[int], place: str
) -> tuple[nn.Module, Tensor]:
    dtype = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}[device.precision]
    network = conditioned(module_only(model, device.name), input_shape)
    inputs = example(input_shape, device.batch, input_dtype(network))
    return network.to(place, dtype), inputs.to(place, dtype if inputs.is_floating_point() else inputs.dtype)


class _OnCpu:
    def __init__(self, network: nn.Module, inputs: Tensor, threads: int) -> None:
        self._network = network
        self._inputs = inputs
        self._threads = threads

    def run(self) -> float:
        before = torch.get_num_threads()
        if before != self._threads:
            torch.set_num_threads(self._threads)
        try:
            with torch.inference_mode():
                start = time.perf_counter_ns()
                self._network(self._inputs)
                return (time.perf_counter_ns() - start) / 1e6
        finally:
            if before != self._threads:
                torch.set_num_threads(before)

    def close(self) -> None:
        del self._network, self._inputs


class _OnCuda:
    def __init__(self, network: nn.Module, inputs: Tensor) -> None:
        self._network = network
        self._inputs = inputs

    def run(self) -> float:
        torch.cuda.synchronize()
        with torch.inference_mode():
            start = time.perf_counter_ns()
            self._network(self._inputs)
            torch.cuda.synchronize()
            return (time.perf_counter_ns() - start) / 1e6

    def close(self) -> None:
        del self._network, self._inputs
