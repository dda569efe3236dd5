"""A network as a file: one .onnx, one .pt2 or one .safetensors, each whole or not there at all.

Everything is done on a copy of the network, in eval mode, on the CPU and in the default memory format. The
network that came in keeps its mode, device, memory format and values.
"""

from __future__ import annotations

import copy
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from onepath.errors import ShapeError, UserError
from onepath.nn.inputs import input_dtype
from onepath.record import atomic_write_bytes

if TYPE_CHECKING:
    from onnx import ModelProto

INPUT_NAME = "input"
OUTPUT_NAME = "output"
BATCH_NAME = "batch"

# A batch of 1 would be taken for a constant by the tracer.
_EXAMPLE_BATCH = 2


def export_onnx(model: nn.Module | ExportedProgram, input_shape: Sequence[int], path: str | Path) -> Path:
    """Write the network as one ONNX file with the weights inside.

    The input is called "input", the output "output"; the batch size is free. The opset is the one that the
    installed torch recommends, which current runtimes know. Normalisation is folded into the convolutions, so
    outputs agree with the network's to rounding (about 1e-6 relative), not to the bit.

    Args:
        model: the network, or what `trace` made of it (to trace once for several files). Not changed.
        input_shape: of one example, (C, H, W), without the batch.
        path: the file to write, in an existing directory; an old file is replaced in one step.

    Returns:
        `path`.

    Raises:
        ShapeError: the network rejects `input_shape`.
        UserError: the network cannot be traced for any batch size, or is over ONNX's 2 GB for one file.
        RunDirectoryError: the file cannot be written; an old one is intact.
    """
    program = trace(model, input_shape) if isinstance(model, nn.Module) else model
    try:
        exported = torch.onnx.export(
            program,
            (_example(input_shape, _dtype_of(program)),),
            dynamo=True,
            dynamic_shapes=({0: BATCH_NAME},),
            input_names=[INPUT_NAME],
            output_names=[OUTPUT_NAME],
            verbose=False,
        )
    except RuntimeError as error:
        raise UserError(
            f"every operation of the network must have an ONNX form, but {_first_line(error)}; "
            "replace that operation, or use the .pt2 file"
        ) from error
    assert exported is not None
    proto = exported.model_proto
    _remove_source_notes(proto)
    if proto.ByteSize() >= 2**31:
        raise UserError(
            f"an .onnx file must stay under 2 GB, but the network takes {proto.ByteSize() / 2**30:.1f} GB; "
            "use the .pt2 file"
        )
    return _write(path, proto.SerializeToString(deterministic=True))


def export_program(model: nn.Module | ExportedProgram, input_shape: Sequence[int], path: str | Path) -> Path:
    """Write the network as a torch.export archive; `torch.export.load(path).module()` runs it without
    onepath.

    The batch size is free, inputs may have any strides, and outputs equal the network's in eval mode. Dropout
    is off for good; parameters keep their names.

    Args:
        model: the network, or what `trace` made of it. Not changed.
        input_shape: of one example, (C, H, W), without the batch.
        path: the file to write, in an existing directory; an old file is replaced in one step.

    Returns:
        `path`.

    Raises:
        ShapeError: the network rejects `input_shape`.
        UserError: the network cannot be traced for any batch size.
        RunDirectoryError: the file cannot be written; an old one is intact.
    """
    program = trace(model, input_shape) if isinstance(model, nn.Module) else model
    content = io.BytesIO()
    torch.export.save(program, content)
    return _write(path, content.getvalue())


def save_weights(
    model: nn.Module,
    path: str | Path,
    *,
    input_shape: Sequence[int] | None = None,
    class_names: Sequence[str] | None = None,
    metadata: Mapping[str, str] | None = None,
) -> Path:
    """Write parameters and buffers as safetensors: contiguous, under their `state_dict` names.

    Args:
        model: not changed. Tensors that share storage are each written whole.
        path: the file to write, in an existing directory; an old file is replaced in one step.
        input_shape: kept in the file's metadata as JSON under "input_shape".
        class_names: kept in the file's metadata as JSON under "class_names", in the order of the outputs.
        metadata: further texts for the file's metadata.

    Returns:
        `path`.

    Raises:
        UserError: the `state_dict` holds something other than tensors.
        RunDirectoryError: the file cannot be written; an old one is intact.
    """
    from safetensors.torch import save

    notes = {"format": "pt", **(metadata or {})}
    if input_shape is not None:
        notes["input_shape"] = json.dumps([int(size) for size in input_shape])
    if class_names is not None:
        notes["class_names"] = json.dumps(list(class_names), ensure_ascii=False)
    state = model.state_dict()
    for name, value in state.items():
        if not isinstance(value, Tensor):
            raise UserError(
                f"every entry of the state_dict must be a tensor, but {name} is a {type(value).__name__}; "
                "drop the module's get_extra_state"
            )
    tensors = {
        name: value.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, value in state.items()
    }
    return _write(path, save(tensors, notes))


def trace(model: nn.Module, input_shape: Sequence[int]) -> ExportedProgram:
    """The network in eval mode as a graph of torch operations for any batch size, on the CPU.

    Args:
        model: returns one tensor whose first dimension is the batch. Not changed.
        input_shape: of one example, (C, H, W), without the batch.

    Raises:
        ShapeError: the network rejects `input_shape`.
        UserError: the network cannot be traced for any batch size.
    """
    network = standalone_copy(model)
    example = _example(input_shape, input_dtype(network))
    _check_runs(network, example)
    # The tracer drops a `contiguous()` that its example does not need; a clone it keeps. With it the file
    # takes channels_last inputs as well, whatever views the network takes of them.
    network.register_forward_pre_hook(_contiguous_inputs)
    try:
        program = torch.export.export(
            network, (example,), dynamic_shapes=({0: torch.export.Dim(BATCH_NAME, min=1)},)
        )
    except RuntimeError as error:
        raise UserError(
            f"the network must be traceable for any batch size, but {_first_line(error)}; "
            "take sizes from the input's shape and do not branch on values"
        ) from error
    # File names and lines of this machine have no business in the files.
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)
    return program


def standalone_copy(model: nn.Module) -> nn.Module:
    """A copy in eval mode on the CPU whose tensors have the default strides; shares nothing with `model`."""
    network = copy.deepcopy(model).to("cpu").eval()
    for tensor in (*network.parameters(), *network.buffers()):
        tensor.data = tensor.data.clone(memory_format=torch.contiguous_format)
    return network


def _dtype_of(program: ExportedProgram) -> torch.dtype:
    """The type of a traced network's inputs."""
    inputs = program.example_inputs
    return torch.float32 if inputs is None else inputs[0][0].dtype


def _example(input_shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    shape = tuple(int(size) for size in input_shape)
    if not shape or min(shape) < 1:
        raise ShapeError(
            f"input_shape must be sizes of 1 or more without the batch, but got {shape}; give (C, H, W)"
        )
    return torch.zeros((_EXAMPLE_BATCH, *shape), dtype=dtype)


def _check_runs(network: nn.Module, example: Tensor) -> None:
    try:
        with torch.no_grad():
            output: Any = network(example)
    except RuntimeError as error:
        raise ShapeError(
            f"the network must accept inputs of shape {tuple(example.shape[1:])}, but {_first_line(error)}; "
            "give the shape of one example without the batch"
        ) from error
    if not isinstance(output, Tensor) or output.ndim < 1 or output.shape[0] != len(example):
        what = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise UserError(
            f"the network must return one tensor, a row for each input, but a batch gave {what}; "
            "return the logits alone"
        )


def _contiguous_inputs(_module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(tensor.clone(memory_format=torch.contiguous_format) for tensor in inputs)


def _remove_source_notes(proto: ModelProto) -> None:
    """Drop the exporter's notes on where each operation came from: half of a small network's file."""
    graph = proto.graph
    values = (*graph.input, *graph.output, *graph.value_info, *graph.initializer)
    for item in (proto, graph, *graph.node, *values):
        del item.metadata_props[:]


def _write(path: str | Path, content: bytes) -> Path:
    path = Path(path)
    atomic_write_bytes(path, content)
    return path


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
