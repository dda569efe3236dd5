"""Devices that run a module in eager PyTorch, on the CPU or on a CUDA card."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn

from onepath.latency.conditioning import conditioned, example
from onepath.latency.device import Device, Network, Prepared, module_only
from onepath.nn.inputs import input_dtype


class TorchCpu(Device):
    """Eager PyTorch on the CPU, without gradients; a latency includes the time of Python between the layers."""

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
        network, inputs = _placed(self, model, input_shape, "cpu")
        return Timed(lambda: network(inputs), lambda: _inferring(self.threads))


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
        network, inputs = _placed(self, model, input_shape, "cuda")

        def infer() -> None:
            network(inputs)
            torch.cuda.synchronize()

        return Timed(infer, _inferring_on_card)


def _placed(
    device: Device, model: Network, input_shape: Sequence[int], place: str
) -> tuple[nn.Module, Tensor]:
    dtype = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}[device.precision]
    network = conditioned(module_only(model, device.name), input_shape)
    inputs = example(input_shape, device.batch, input_dtype(network))
    return network.to(place, dtype), inputs.to(place, dtype if inputs.is_floating_point() else inputs.dtype)


class Timed:
    """A prepared network whose inference is one function call, timed by this process's clock.

    Args:
        infer: runs one inference, and returns when the inference has ended.
        around: returns a context that is entered before the clock starts and left after it stops.
    """

    def __init__(
        self,
        infer: Callable[[], object],
        around: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext,
    ) -> None:
        self._infer, self._around = infer, around

    def run(self) -> float:
        """Run one inference and return its time in ms."""
        with self._around():
            start = time.perf_counter_ns()
            self._infer()
            return (time.perf_counter_ns() - start) / 1e6

    def close(self) -> None:
        """Release the function and everything it holds."""
        del self._infer


@contextlib.contextmanager
def _inferring(threads: int) -> Iterator[None]:
    """Inside the context, torch keeps no gradients and uses this many threads."""
    before = torch.get_num_threads()
    if before != threads:
        torch.set_num_threads(threads)
    try:
        with torch.inference_mode():
            yield
    finally:
        if before != threads:
            torch.set_num_threads(before)


@contextlib.contextmanager
def _inferring_on_card() -> Iterator[None]:
    """Inside the context, torch keeps no gradients; the card has finished its earlier work when the context begins."""
    torch.cuda.synchronize()
    with torch.inference_mode():
        yield
