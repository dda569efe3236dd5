"""Files that run without onepath: ONNX, torch.export and safetensors, and comparisons of files with their network."""

from onepath.export.files import export_onnx, export_program, save_weights, trace
from onepath.export.runtime import onnx_max_abs_error, program_max_abs_error

__all__ = [
    "export_onnx",
    "export_program",
    "onnx_max_abs_error",
    "program_max_abs_error",
    "save_weights",
    "trace",
]
