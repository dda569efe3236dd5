"""A device that runs ONNX files with OpenVINO on the CPU."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from onepath.errors import UserError
from onepath.latency.conditioning import example
from onepath.latency.device import Prepared
from onepath.latency.onnx_device import OnnxDevice, package_version
from onepath.latency.torch_device import Timed

_TYPES = {"float32": "f32", "bfloat16": "bf16"}


class OpenVinoCpu(OnnxDevice):
    """OpenVINO on the CPU, set for latency: one stream of inferences, the batch fixed when the file is loaded."""

    name = "openvino-cpu"
    precisions = tuple(_TYPES)

    def missing(self) -> str | None:  # noqa: D102
        if importlib.util.find_spec("openvino") is None:
            return "openvino is not installed: pip install 'onepath[openvino]'"
        return None

    def version(self) -> str | None:  # noqa: D102
        return package_version("openvino")

    def prepare_file(self, path: Path, input_shape: Sequence[int]) -> Prepared:
        """Compile the file; see `OnnxDevice.prepare_file`.

        Raises:
            UserError: OpenVINO cannot compile the file, or this processor lacks the precision.
        """
        import openvino

        core = openvino.Core()
        wanted = _TYPES[self.precision]
        # Without the hint OpenVINO picks bfloat16 by itself on processors that have it.
        properties: dict[str, Any] = {
            "INFERENCE_PRECISION_HINT": wanted,
            "INFERENCE_NUM_THREADS": self.threads,
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": "1",
        }
        try:
            network = core.read_model(path)
            network.reshape([self.batch, *input_shape])
            compiled = core.compile_model(network, "CPU", properties)
        except RuntimeError as error:
            line = (str(error).strip().splitlines() or ["no reason given"])[-1]
            raise UserError(
                f"OpenVINO must be able to compile the network, but {line}; use another device"
            ) from error
        precision = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
        if precision != wanted:
            raise UserError(
                f"{self.name} must compute in {self.precision}, but this processor gives {precision}; use float32"
            )
        request = compiled.create_infer_request()
        request.set_input_tensor(openvino.Tensor(example(input_shape, self.batch).numpy().copy()))
        return Timed(request.infer)
