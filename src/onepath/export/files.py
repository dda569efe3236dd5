"""Write a network to one .onnx, .pt2 or .safetensors file; a file is written completely or not at all.

The exported graphs are made from a copy of the network, in eval mode, on the CPU and in the default memory format. The
network that came in keeps its mode, device, memory format and values.

The same network gives the same bytes. A graph with `preprocessing` takes raw values, as the data had them, and
normalises them itself, by one operation in front of the network: a batch normalisation with fixed statistics, which
takes 0.02 ms for 224x224 colours on one core. Folding the normalisation into the first convolution would be wrong at
the zero padding of that convolution.
"""

from __future__ import annotations

import contextlib
import copy
import io
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from onepath.data import Normalisation, Preprocessing
from onepath.data.preprocessing import check_normalisation
from onepath.errors import ShapeError, UserError
from onepath.nn.inputs import input_dtype
from onepath.record import atomic_write_bytes, tensor_bytes

if TYPE_CHECKING:
    from onnx import ModelProto

INPUT_NAME = "input"
OUTPUT_NAME = "output"
BATCH_NAME = "batch"
NOTES = "onepath.json"

# The tracer would take a batch of 1 for a constant.
_EXAMPLE_BATCH = 2


def export_onnx(
    model: nn.Module | ExportedProgram,
    input_shape: Sequence[int],
    path: str | Path,
    *,
    preprocessing: Preprocessing | None = None,
    normalisation: Normalisation = "inside",
) -> Path:
    """Write the network as one ONNX file with the weights inside.

    The input is called "input", the output "output"; the batch size is free. The opset is the one that the
    installed torch recommends, which current runtimes know. Batch normalisation is folded into the convolutions, so
    the outputs equal the network's outputs up to rounding (about 1e-6 relative), not to the bit.

    The file's metadata (`custom_metadata_map` in onnxruntime) hold JSON texts: "input_shape", "class_names" and
    "preprocessing". The last one describes an input: type, layout, colours, size, scale, mean and standard deviation.
    Without `preprocessing` the metadata have no "class_names", and "preprocessing" says only that the input is that of
    the network.

    Args:
        model: the network, or the result of `trace` (to trace once for several files). Not changed.
        input_shape: shape of one example, (C, H, W), without the batch.
        path: the file to write, in an existing directory; an old file is replaced in one step.
        preprocessing: how the data were prepared, `data.preprocessing`. None: the file takes the network's own input,
            normalised as in its training. If `model` is a result of `trace`, the same value as given to `trace`.
        normalisation: "inside": the file takes raw values, float32, and normalises them; "outside": the file takes
            normalised values. If `model` is a result of `trace`, the same value as given to `trace`.

    Returns:
        `path` as a `Path`.

    Raises:
        ConfigurationError: `normalisation` is neither "inside" nor "outside".
        ShapeError: the network rejects `input_shape`, or `preprocessing` is for another shape.
        UserError: the network cannot be traced for any batch size, an operation has no ONNX form, or the file would
            reach ONNX's limit of 2 GB.
        RunDirectoryError: the file cannot be written; an old file stays intact.
    """
    program = _traced(model, input_shape, preprocessing, normalisation)
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
    for key, text in _notes(input_shape, preprocessing, normalisation).items():
        proto.metadata_props.add(key=key, value=text)
    if proto.ByteSize() >= 2**31:
        raise UserError(
            f"an .onnx file must stay under 2 GB, but the network takes {proto.ByteSize() / 2**30:.1f} GB; "
            "use the .pt2 file"
        )
    return _write(path, proto.SerializeToString(deterministic=True))


def export_program(
    model: nn.Module | ExportedProgram,
    input_shape: Sequence[int],
    path: str | Path,
    *,
    preprocessing: Preprocessing | None = None,
    normalisation: Normalisation = "inside",
) -> Path:
    """Write the network as a torch.export archive, which `torch.export.load(path).module()` runs without onepath.

    The batch size is free, inputs may have any strides, and outputs equal the network's outputs in eval mode.
    Parameters keep their names. The graph stays in eval mode: dropout is off, and `train()` raises. To train a network
    further, keep the module; `load_run(path).model()` returns the module of a run.

    The archive holds the same metadata as the file of `export_onnx`, in the extra file "onepath.json". To read it, call
    `torch.export.load(path, extra_files=found)` with `found = {"onepath.json": ""}`.

    Args:
        model: the network, or the result of `trace`. Not changed.
        input_shape: shape of one example, (C, H, W), without the batch.
        path: the file to write, in an existing directory; an old file is replaced in one step.
        preprocessing: see `export_onnx`.
        normalisation: see `export_onnx`.

    Returns:
        `path` as a `Path`.

    Raises:
        ConfigurationError: `normalisation` is neither "inside" nor "outside".
        ShapeError: the network rejects `input_shape`, or `preprocessing` is for another shape.
        UserError: the network cannot be traced for any batch size.
        RunDirectoryError: the file cannot be written; an old file stays intact.
    """
    program = _traced(model, input_shape, preprocessing, normalisation)
    notes = _notes(input_shape, preprocessing, normalisation)
    text = json.dumps({key: json.loads(value) for key, value in notes.items()}, ensure_ascii=False)
    content = io.BytesIO()
    torch.export.save(program, content, extra_files={NOTES: text})
    return _write(path, content.getvalue())


def save_weights(
    model: nn.Module,
    path: str | Path,
    *,
    input_shape: Sequence[int] | None = None,
    class_names: Sequence[str] | None = None,
    preprocessing: Preprocessing | None = None,
    metadata: Mapping[str, str] | None = None,
) -> Path:
    """Write parameters and buffers as safetensors: contiguous, under their `state_dict` names.

    The file fits a module of the same layers. A network that was extracted from a supernet needs the module that
    `extract` returns with the same `inherit`; the file does not fit the supernet itself. The module takes normalised
    inputs, even if the exported graphs take raw values.

    Args:
        model: the network; not changed. Tensors that share storage are each written in full.
        path: the file to write, in an existing directory; an old file is replaced in one step.
        input_shape: shape of one example without the batch, kept in the file's metadata as JSON under "input_shape".
            None takes the shape of `preprocessing`, if that is given.
        class_names: class names in the order of the outputs, kept in the file's metadata as JSON under "class_names".
            None takes the names of `preprocessing`, if that is given.
        preprocessing: how the data were prepared, kept in the file's metadata as JSON under "preprocessing"; see
            `export_onnx`.
        metadata: further texts for the file's metadata.

    Returns:
        `path` as a `Path`.

    Raises:
        UserError: the `state_dict` holds something other than tensors.
        RunDirectoryError: the file cannot be written; an old file stays intact.
    """
    if preprocessing is not None:
        input_shape = preprocessing.input_shape if input_shape is None else input_shape
        class_names = preprocessing.class_names if class_names is None else class_names
        metadata = {"preprocessing": _json(preprocessing.document("outside")), **(metadata or {})}
    notes = {"format": "pt", **(metadata or {})}
    if input_shape is not None:
        notes["input_shape"] = _json([int(size) for size in input_shape])
    if class_names is not None:
        notes["class_names"] = _json(list(class_names))
    state = model.state_dict()
    for name, value in state.items():
        if not isinstance(value, Tensor):
            raise UserError(
                f"every entry of the state_dict must be a tensor, but {name} is a {type(value).__name__}; "
                "drop the module's get_extra_state"
            )
    return _write(path, tensor_bytes(state, notes))


def trace(
    model: nn.Module,
    input_shape: Sequence[int],
    *,
    preprocessing: Preprocessing | None = None,
    normalisation: Normalisation = "inside",
) -> ExportedProgram:
    """Return the network in eval mode as a graph of torch operations for any batch size, on the CPU.

    Args:
        model: the network; must return one tensor whose first dimension is the batch. Not changed.
        input_shape: shape of one example, (C, H, W), without the batch.
        preprocessing: see `export_onnx`.
        normalisation: see `export_onnx`.

    Raises:
        ConfigurationError: `normalisation` is neither "inside" nor "outside".
        ShapeError: the network rejects `input_shape`, or `preprocessing` is for another shape.
        UserError: the network cannot be traced for any batch size, or does not return one tensor with a row per input.
    """
    network = standalone_copy(model)
    example = _example(input_shape, input_dtype(network))
    _check_runs(network, example)
    # The tracer drops a `contiguous()` that its example does not need, but keeps a clone. With the clone the file
    # takes channels_last inputs as well, whatever views the network takes of them.
    network.register_forward_pre_hook(_contiguous_inputs)
    check_normalisation(normalisation)
    if preprocessing is not None:
        if preprocessing.input_shape != tuple(example.shape[1:]):
            raise ShapeError(
                f"preprocessing must be for the network's inputs, but it is for {preprocessing.input_shape} and "
                f"input_shape is {tuple(example.shape[1:])}; give that of the data the network was trained on"
            )
        if normalisation == "inside" and not preprocessing.is_text:
            network.register_forward_pre_hook(_Normalising(preprocessing, example.dtype))
            example = example.float()
    try:
        with _quiet():
            program = torch.export.export(
                network, (example,), dynamic_shapes=({0: torch.export.Dim(BATCH_NAME, min=1)},)
            )
    except RuntimeError as error:
        raise UserError(
            f"the network must be traceable for any batch size, but {_first_line(error)}; "
            "take sizes from the input's shape and do not branch on values"
        ) from error
    # File names and line numbers of this machine must not be in the files.
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)
    return program


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Inside, torch does not print the graph that it could not finish; its error says what is wrong."""
    logger = logging.getLogger("torch.fx.experimental.symbolic_shapes")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        logger.setLevel(level)


def standalone_copy(model: nn.Module) -> nn.Module:
    """Return a copy in eval mode on the CPU whose tensors have the default strides; it shares nothing with `model`."""
    network = copy.deepcopy(model).to("cpu").eval()
    for tensor in (*network.parameters(), *network.buffers()):
        tensor.data = tensor.data.clone(memory_format=torch.contiguous_format)
    return network


def _dtype_of(program: ExportedProgram) -> torch.dtype:
    """Return the dtype of a traced network's inputs."""
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


class _Normalising:
    """A forward pre-hook that turns raw values into the inputs of the network."""

    def __init__(self, preprocessing: Preprocessing, dtype: torch.dtype) -> None:
        self._preprocessing = preprocessing
        self._dtype = dtype

    def __call__(self, _module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return tuple(self._preprocessing.normalise(tensor).to(self._dtype) for tensor in inputs)


def _traced(
    model: nn.Module | ExportedProgram,
    input_shape: Sequence[int],
    preprocessing: Preprocessing | None,
    normalisation: Normalisation,
) -> ExportedProgram:
    if not isinstance(model, nn.Module):
        return model
    return trace(model, input_shape, preprocessing=preprocessing, normalisation=normalisation)


def _notes(
    input_shape: Sequence[int], preprocessing: Preprocessing | None, normalisation: Normalisation
) -> dict[str, str]:
    """Return the metadata of a file: key -> JSON text."""
    notes: dict[str, Any] = {"input_shape": [int(size) for size in input_shape]}
    if preprocessing is None:
        notes["preprocessing"] = {
            "values": "the network's own inputs: normalised as in its training, if it was trained so",
            "normalisation": "outside",
        }
    else:
        notes["class_names"] = list(preprocessing.class_names)
        notes["preprocessing"] = preprocessing.document(normalisation)
    return {key: _json(value) for key, value in notes.items()}


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _remove_source_notes(proto: ModelProto) -> None:
    """Remove the exporter's notes on the source of each operation, which are half of a small network's file."""
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
