"""Labels of the results of operations that change the shape of a tensor."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from onepath.conversion.trace import Split, Trace

_LAYOUT = ("memory_format", "dtype", "layout", "device", "pin_memory")


def labelled(trace: Trace, *values: Any) -> list[Tensor]:
    """Return the labels of the tensors in these arguments, without those of tensors that have none."""
    found = [trace.label(leaf) for leaf in tree_leaves(values) if isinstance(leaf, Tensor)]
    return [labels for labels in found if labels is not None]


def has_units(result: Tensor) -> bool:
    """Whether the elements of a result belong to the units of its inputs; places, such as those of maxima, do not."""
    return result.dtype == torch.bool or result.is_floating_point() or result.is_complex()


def reshape_labels(trace: Trace, func: Any, args: Any, output: Any, kwargs: Any) -> None:
    """Apply to the labels what an operation did to the values.

    A transposed or detached matrix counts as the matrix itself, so that a layer can use it as its weight.
    """
    name = func._schema.name.removeprefix("aten::")
    if name in ("t", "transpose", "numpy_T", "permute", "detach", "alias") and args[0].dim() == 2:
        found = trace.matrix(args[0])
        if found is not None and found[0].elements is None:
            source, is_turned = found
            if (args[0].shape == output.shape and output.stride() == args[0].stride()) == is_turned:
                trace.turned[id(output)] = source
            else:
                trace.sources[id(output)] = source
            return
    if not labelled(trace, args, kwargs):
        return

    def twin(leaf: Any) -> Any:
        if not isinstance(leaf, Tensor):
            return leaf
        labels = trace.label(leaf)
        return torch.zeros(1, dtype=torch.int64).expand(leaf.shape) if labels is None else labels

    def option(leaf: Any) -> Any:
        is_index = isinstance(leaf, Tensor) and not leaf.is_floating_point()
        return leaf.cpu() if is_index else twin(leaf)

    if name in ("view", "_unsafe_view", "reshape"):
        labels = twin(args[0])
        trace.set(output, labels.reshape(output.shape))
        _note_splits(trace, labels, output.shape)
        return
    if name == "_to_copy":
        trace.set(output, twin(args[0]))
        return
    if name == "view_as_complex":
        real, imaginary = twin(args[0]).unbind(-1)
        trace.units.unite(real, imaginary)
        trace.set(output, real)
        return
    if name == "view_as_real":
        trace.set(output, twin(args[0])[..., None].expand(output.shape))
        return
    data = tree_map(twin, args[0])
    data = data.double() if name == "im2col" else data  # it takes no whole numbers
    rest = args[1:2] if name == "constant_pad_nd" else args[1:]  # its value is no label
    options = {k: v for k, v in tree_map(option, dict(kwargs)).items() if k not in _LAYOUT}
    try:
        parts = tree_leaves(func(data, *tree_map(option, rest), **options))
    except Exception:  # noqa: BLE001 - an operation may reject whole numbers in ways of its own
        for labels in labelled(trace, args, kwargs):
            trace.units.freeze(labels, f"{name} has no rule")
        return
    for result, labels in zip(tree_leaves(output), parts, strict=True):
        trace.set(result, labels.long())
    if name == "split" and len({part.shape for part in parts}) == 1:
        _note_parts(trace, twin(args[0]), len(parts))


def gate_labels(trace: Trace, func: Any, args: Any, kwargs: Any, output: Any) -> None:
    """Label the output of `glu`, where one half of the channels gates the other half."""
    del func
    labels = trace.label(args[0])
    if labels is not None:
        dim = args[1] if len(args) > 1 else kwargs.get("dim", -1)
        first, second = labels.chunk(2, dim)
        trace.units.unite(first, second)
        trace.set(output, first)


def _note_parts(trace: Trace, labels: Tensor, num: int) -> None:
    """Remember a dimension with units that was cut into equal parts: the code cuts a smaller one into as many."""
    for dim, size in enumerate(labels.shape):
        if size % num == 0 and trace.units.varies(labels, dim):
            trace.splits.append(Split(_line(labels, dim), num))


def _line(labels: Tensor, dim: int) -> Tensor:
    """The labels along a dimension, at the first place of all other dimensions."""
    return labels[tuple(slice(None) if other == dim else 0 for other in range(labels.dim()))]


def _note_splits(trace: Trace, labels: Tensor, shape: torch.Size) -> None:
    """Remember a dimension with units that a reshape turned into several."""
    old = [size for size in labels.shape if size != 1]
    new = [size for size in shape if size != 1]
    while old and new and old[0] == new[0]:
        old, new = old[1:], new[1:]
    while old and new and old[-1] == new[-1]:
        old, new = old[:-1], new[:-1]
    if len(old) != 1 or len(new) < 2:
        return
    for dim, size in enumerate(labels.shape):
        if size == old[0] and trace.units.varies(labels, dim):
            trace.splits.append(Split(_line(labels, dim), new[0]))
