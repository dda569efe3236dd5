"""Rules for what each operation does to the labels of its tensors.

An operation that changes a shape is applied to the labels as well, so that concatenation, slices, flattening, shuffles,
windows and heads need no rules of their own. An operation that computes element by element unites the labels that it
joins. A convolution or a linear layer makes new labels. A product of two computed tensors is treated as attention.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from onepath.conversion.products import attention, convolution, embedding, linear, product
from onepath.conversion.reshaping import gate_labels, has_units, labelled, reshape_labels
from onepath.conversion.trace import Trace
from onepath.conversion.units import spread, unite_joined

Rule = Callable[[Trace, Any, Sequence[Any], Mapping[str, Any], Any], None]


def apply_rule(trace: Trace, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], output: Any) -> str:
    """Label the results of an operation; if it has no rule, the units of its inputs are frozen.

    Args:
        trace: the trace that records the operation.
        func: the operation, as torch passes it to a `TorchDispatchMode`.
        args: its positional arguments.
        kwargs: its named arguments.
        output: its result.

    Returns:
        The kind of the operation; see `Operation`.
    """
    space, _, name = func._schema.name.rpartition("::")
    name = name if name in RULES or name in _SHAPES else name.removesuffix("_")
    tags = func.tags
    if space != "aten":
        _unknown(trace, func, args, kwargs, output)
        return "other"
    if name in RULES:
        RULES[name](trace, func, args, kwargs, output)
        return "other"
    if name in _SHAPES or func.is_view:
        reshape_labels(trace, func, args, output, kwargs)
        return "shape"
    if torch.Tag.pointwise in tags or name in _POINTWISE:
        _pointwise(trace, func, args, kwargs, output)
        num = sum(isinstance(leaf, Tensor) for leaf in args)
        return "add" if name == "add" and num == 2 else "pointwise" if num == 1 else "other"
    if name in _SAME:
        _same(trace, func, args, kwargs, output)
        return "pointwise"
    if torch.Tag.reduction in tags or name in _REDUCTIONS:
        _reduction(trace, func, args, kwargs, output)
        return "other"
    if name.startswith("_scaled_dot_product"):
        attention(trace, args, kwargs, output)
    elif "batch_norm" in name:
        _batch_norm(trace, func, args, kwargs, output)
    elif "pool" in name or "upsample" in name:
        _resampling(trace, func, args, kwargs, output)
    else:
        _unknown(trace, func, args, kwargs, output)
    return "other"


def _unknown(trace: Trace, func: Any, args: Any, kwargs: Any, output: Any) -> None:
    del output
    for labels in labelled(trace, args, kwargs):
        trace.units.freeze(labels, f"{func._schema.name.removeprefix('aten::')} has no rule")


def _pointwise(trace: Trace, func: Any, args: Any, kwargs: Any, output: Any) -> None:
    """Unite the labels of tensors that are combined element by element."""
    del func
    results = [leaf for leaf in tree_leaves(output) if isinstance(leaf, Tensor)]
    if not results:
        return
    shape = results[0].shape
    tensors = [leaf for leaf in tree_leaves([args, kwargs]) if isinstance(leaf, Tensor)]
    joined: tuple[Tensor, torch.Size] | None = None
    for tensor in tensors:
        labels = trace.label(tensor)
        if labels is not None:
            own = labels.expand(shape), tensor.shape
            joined = own if joined is None else unite_joined(trace.units, joined, own)
    if joined is None:
        return
    for tensor in tensors if joined[0].numel() else ():  # a network may find nothing, such as no boxes
        if trace.label(tensor) is None:
            _freeze_beside(trace, joined[0], tensor)
    for result in results:
        trace.set(result, joined[0] if result.shape == shape and has_units(result) else None)


def _freeze_beside(trace: Trace, labels: Tensor, tensor: Tensor) -> None:
    """Freeze units that a tensor of fixed size is joined with; unite them where it repeats, as for each head."""
    beside = tensor.expand(labels.shape)  # a stride of 0: one value fits any size
    varying = [dim for dim in range(labels.dim()) if trace.units.varies(labels, dim)]
    fixed = [dim for dim in varying if beside.stride(dim) != 0]
    if fixed == varying and fixed:
        trace.units.freeze(labels, "it is joined with a tensor of fixed size")
        return
    for dim in fixed:
        trace.units.unite(labels, labels.amax(dim, keepdim=True).expand_as(labels))


def _same(trace: Trace, func: Any, args: Any, kwargs: Any, output: Any) -> None:
    del func, kwargs
    for result in tree_leaves(output):
        if isinstance(result, Tensor) and result.shape == args[0].shape:
            trace.set(result, trace.label(args[0]))


def _reduction(trace: Trace, func: Any, args: Any, kwargs: Any, output: Any) -> None:
    found = trace.label(args[0]) if args else None
    if found is None:
        return
    labels: Tensor = found
    if "normalized_shape" in vars(trace.model.get_submodule(trace.path)) and not _repeats(trace, labels):
        trace.notes[trace.path, "normalized_shape"] = trace.units.along(labels, -1)
    names = [argument.name for argument in func._schema.arguments]
    given = {**dict(zip(names, args, strict=False)), **kwargs}
    dims = given.get("dim", given.get("dims"))
    dims = range(labels.dim()) if dims is None or dims == [] else [dims] if isinstance(dims, int) else dims
    dims = sorted({dim % max(1, labels.dim()) for dim in dims})
    varying = [dim for dim in range(labels.dim()) if trace.units.varies(labels, dim)]
    over = [dim for dim in dims if dim in varying]
    if over and len(over) == len(varying):  # all channels are reduced: the result belongs to none of them
        return
    for dim in dims:
        if dim in over:  # other channels remain: the reduced ones belong together
            trace.units.unite(labels, labels.amax(dim, keepdim=True).expand_as(labels))
        labels = labels.amax(dim, keepdim=True)
    for result in tree_leaves(output):
        if isinstance(result, Tensor) and has_units(result) and result.numel() == labels.numel():
            trace.set(result, labels.reshape(result.shape))


def _vector(trace: Trace, labels: Tensor, vector: Any) -> None:
    """Unite the labels of a normalisation's parameter or statistic with those of its channels."""
    own = trace.label(vector)
    if own is not None:
        trace.units.unite(own, labels)


def _batch_norm(trace: Trace, func: Any, args: Any, kwargs: Any, output: Any) -> None:
    labels = trace.label(args[0])
    if labels is not None:
        channels = trace.units.along(labels, 1)
        for tensor in tree_leaves([args[1:], kwargs]):
            if isinstance(tensor, Tensor) and tensor.shape == channels.shape:
                _vector(trace, channels, tensor)
    results = output if isinstance(output, tuple | list) else (output,)
    trace.set(results[0], labels)
    del func


def _layer_norm(trace: Trace, func: Any, args: Any, kwargs: Any, output: Any) -> None:
    del func, kwargs
    x, shape, *affine = args
    labels = trace.label(x)
    if labels is None:
        return
    trace.set(output[0], labels)
    if len(shape) > 1:
        trace.units.freeze(labels, "it is normalised over several dimensions")
        return
    features = trace.units.along(labels, -1) if not _repeats(trace, labels) else None
    if features is None:
        return
    trace.notes[trace.path, "normalized_shape"] = features
    for vector in affine[:2]:
        if isinstance(vector, Tensor):
            _vector(trace, features, vector)


def _repeats(trace: Trace, labels: Tensor) -> bool:
    """Whether units differ along a dimension other than the last, as where each head is normalised by itself."""
    last = labels.narrow(-1, 0, 1)
    return any(trace.units.varies(last, dim) for dim in range(last.dim() - 1))


def _group_norm(trace: Trace, func: Any, args: Any, kwargs: Any, output: Any) -> None:
    del func, kwargs
    x, weight, bias, _, num, _, groups, *_ = args
    labels = trace.label(x)
    if labels is None:
        return
    channels = trace.units.along(labels, 1).reshape(groups, num // groups)
    trace.units.unite(channels, channels.amax(1, keepdim=True).expand_as(channels))
    for vector in (weight, bias):
        if isinstance(vector, Tensor):
            _vector(trace, channels.flatten(), vector)
    trace.notes[trace.path, "num_groups"] = trace.notes[trace.path, "num_channels"] = channels.flatten()
    trace.set(output[0], labels)


def _resampling(trace: Trace, func: Any, args: Any, kwargs: Any, output: Any) -> None:
    """Label the output of pooling or upsampling: places change, channels stay."""
    del kwargs
    labels = trace.label(args[0])
    if labels is None:
        return
    name = func._schema.name
    num_places = 3 if "3d" in name else 1 if "1d" in name or "linear1d" in name else 2
    vector = trace.units.along(labels, -1 - num_places)
    for result in tree_leaves(output):
        if isinstance(result, Tensor) and result.is_floating_point():
            trace.set(result, spread(vector, result.shape, result.dim() - 1 - num_places))


def _copy(trace: Trace, func: Any, args: Any, kwargs: Any, output: Any) -> None:
    """Label a tensor that another one is written into."""
    labels = trace.label(args[1])
    if labels is None:
        return
    if args[0]._is_view() or args[0].shape != args[1].shape:
        _unknown(trace, func, args, kwargs, output)
    else:
        trace.set(args[0], labels)


def _ignored(trace: Trace, func: Any, args: Any, kwargs: Any, output: Any) -> None:
    del trace, func, args, kwargs, output


def _product(trace: Trace, func: Any, args: Any, kwargs: Any, output: Any) -> None:
    """Label the output of `mm`, `addmm`, `bmm`, `baddbmm`, `linear`, `mv` and similar operations."""
    del kwargs
    name = func._schema.name.removeprefix("aten::").removesuffix("_")
    if name == "linear":
        x, weight, bias = args[0], args[1], args[2] if len(args) > 2 else None
        linear(trace, x, weight, bias, output, is_turned=False)
        return
    bias, x, weight = args[:3] if name in ("addmm", "baddbmm", "addmv") else (None, *args[:2])
    if x.dim() == 2 and weight.dim() == 2:
        if trace.matrix(weight) is not None:
            linear(trace, x, weight, bias, output, is_turned=True)
            return
        if trace.matrix(x) is not None and trace.label(weight) is not None:
            for found in labelled(trace, x, weight):
                trace.units.freeze(found, "a weight is multiplied from the left")
            return
    product(trace, x, weight, output)
    labels, added = trace.label(output), trace.label(bias)
    if labels is not None and added is not None:
        unite_joined(trace.units, (labels, labels.shape), (added.expand(labels.shape), bias.shape))


def _convolution(trace: Trace, func: Any, args: Any, kwargs: Any, output: Any) -> None:
    del func, kwargs
    x, weight, bias, _, _, _, is_transposed, _, groups, *_ = args
    convolution(trace, x, weight, bias, output, groups=groups, is_transposed=is_transposed)


def _embedding(trace: Trace, func: Any, args: Any, kwargs: Any, output: Any) -> None:
    del func, kwargs
    embedding(trace, args[0], output)


# fmt: off
_SHAPES = frozenset((
    "view", "_unsafe_view", "reshape", "_reshape_alias", "clone", "contiguous", "roll", "flip", "index",
    "index_select", "pixel_shuffle", "pixel_unshuffle", "channel_shuffle", "native_channel_shuffle", "repeat",
    "repeat_interleave", "cat", "stack", "constant_pad_nd", "tril", "triu", "im2col", "unfold", "rot90",
    "gather", "_to_copy", "reflection_pad2d", "replication_pad2d", "reflection_pad1d", "lift_fresh",
    "lift_fresh_copy", "as_strided", "detach", "alias",
))
_POINTWISE = frozenset((
    "masked_fill", "where", "addcmul", "addcdiv", "lerp", "clamp", "_prelu_kernel", "hardswish",
    "dropout",
))
_SAME = frozenset((
    "_softmax", "_log_softmax", "softmax", "log_softmax", "cumsum", "native_dropout", "empty_like",
    "zeros_like", "ones_like", "rand_like", "full_like", "randn_like", "bernoulli", "fill", "zero", "normal",
    "uniform", "_safe_softmax",
))
_REDUCTIONS = frozenset((
    "mean", "sum", "linalg_vector_norm", "norm", "var", "std", "var_mean", "std_mean", "max", "min", "amax",
    "amin",
))
# fmt: on
RULES: dict[str, Rule] = {
    **dict.fromkeys(("mm", "addmm", "bmm", "baddbmm", "linear", "mv", "addmv", "dot", "matmul"), _product),
    **dict.fromkeys(("convolution", "_convolution", "convolution_overrideable"), _convolution),
    **dict.fromkeys(("native_layer_norm", "_fused_rms_norm"), _layer_norm),
    "native_group_norm": _group_norm,
    "embedding": _embedding,
    "glu": gate_labels,
    "copy_": _copy,
    "copy": _copy,
    "_local_scalar_dense": _ignored,
}
