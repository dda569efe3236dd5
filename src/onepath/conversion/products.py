"""Rules for the labels of layers with weights, and of products of two computed tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from onepath.conversion.trace import Source, Trace
from onepath.conversion.units import FIXED, spread, unite_joined

COMPUTED = "its weight is computed from others"


def linear(trace: Trace, x: Tensor, weight: Tensor, bias: Any, output: Tensor, *, is_turned: bool) -> None:
    """Label x (..., I) times a weight (O, I), or times a weight (I, O) if `is_turned`."""
    found, labels = trace.matrix(weight), trace.label(x)
    if found is None:
        _freeze(trace, COMPUTED, x, weight, bias)
        return
    source, was_turned = found
    rows = 0 if is_turned == was_turned else 1
    columns = 1 - rows
    num_out, num_in = output.shape[-1], x.shape[-1]
    _join(trace, source, columns, _fixed(num_in) if labels is None else trace.units.along(labels, -1))
    made = _rows(trace, source, rows, num_out)
    _begin(trace, made, bias, output, output.dim() - 1)


def convolution(
    trace: Trace, x: Tensor, weight: Tensor, bias: Any, output: Tensor, *, groups: int, is_transposed: bool
) -> None:
    """Label the convolution of x (B, I, ...) with a weight (O, I / groups, ...); transposed: (I, O / groups, ...)."""
    found, labels = trace.matrix(weight), trace.label(x)
    if found is None:
        _freeze(trace, COMPUTED, x, weight, bias)
        return
    source, num_out, num_in = found[0], output.shape[-weight.dim() + 1], x.shape[-weight.dim() + 1]
    channel = output.dim() - weight.dim() + 1
    entering = _fixed(num_in) if labels is None else trace.units.along(labels, channel)
    rows, columns = (1, 0) if is_transposed else (0, 1)
    if groups == 1:
        _join(trace, source, columns, entering)
        made = _rows(trace, source, rows, num_out)
    else:
        made = _grouped(trace, source, entering, num_out, groups, is_transposed=is_transposed)
        trace.notes[trace.path, "groups"] = made
    _begin(trace, made, bias, output, channel)


def _grouped(
    trace: Trace, source: Source, entering: Tensor, num_out: int, groups: int, *, is_transposed: bool
) -> Tensor:
    """Return the labels of a grouped convolution's outputs; the inputs and outputs of a group become one unit."""
    units, blocks = trace.units, entering.reshape(groups, -1)
    if bool((entering == FIXED).any()):
        units.freeze(entering, "a grouped convolution takes a fixed channel")
        made = source.vectors.setdefault(0, _fixed(num_out)) if not is_transposed else _fixed(num_out)
        return made
    units.unite(blocks, blocks.amax(1, keepdim=True).expand_as(blocks))
    leaving = blocks.amax(1, keepdim=True).expand(groups, num_out // groups).flatten()
    _join(trace, source, 0, entering if is_transposed else leaving)
    return leaving


def embedding(trace: Trace, weight: Tensor, output: Tensor) -> None:
    """Label the rows that are looked up in a table (N, D)."""
    found = trace.matrix(weight)
    if found is None:
        _freeze(trace, COMPUTED, weight)
        return
    made = _rows(trace, found[0], 1, output.shape[-1])
    _join(trace, found[0], 0, _fixed(weight.shape[0]))
    trace.set(output, spread(made, output.shape, output.dim() - 1))


def product(trace: Trace, first: Tensor, second: Tensor, output: Tensor) -> None:
    """Label (B, N, K) times (B, K, M), both computed; B counts attention heads if its entries differ in their units."""
    one, other, units = trace.label(first), trace.label(second), trace.units
    if one is None and other is None:
        return
    if first.dim() < 2 or second.dim() < 2:
        _freeze(trace, "it is multiplied by a computed vector", first, second)
        return
    one = torch.zeros(1, dtype=torch.int64).expand(first.shape) if one is None else one
    other = torch.zeros(1, dtype=torch.int64).expand(second.shape) if other is None else other
    if first.dim() == 3:
        heads = _heads(trace, one, other)
        if heads is not None:
            trace.set(output, heads[:, None, None].expand(output.shape))
            return
    if units.varies(one, -1) or units.varies(other, -2):
        inside = units.along(one, -1), units.along(other, -2)
        units.unite(*inside)
        for mine, beside in (inside, inside[::-1]):
            if bool(((mine == FIXED) != (beside == FIXED)).any()):
                units.freeze(mine, "it is multiplied with a tensor of fixed size")
    left, right = units.varies(one, -2), units.varies(other, -1)
    if left and right:
        _freeze(trace, "its channels are multiplied with each other", first, second)
    elif right:
        trace.set(output, spread(units.along(other, -1), output.shape, output.dim() - 1))
    elif left:
        trace.set(output, spread(units.along(one, -2), output.shape, output.dim() - 2))


def attention(trace: Trace, args: Sequence[Any], kwargs: Mapping[str, Any], output: Any) -> None:
    """Label the attention of queries (..., H, N, D), keys and values; each head becomes one unit."""
    queries, keys, values = args[:3]
    result = output[0] if isinstance(output, tuple | list) else output
    found = [trace.label(tensor) for tensor in (queries, keys, values)]
    if all(labels is None for labels in found):
        return
    if any(labels is None for labels in found) or queries.dim() < 3:
        _freeze(trace, "attention takes a tensor of fixed size", queries, keys, values)
        return
    query, key, value = (labels for labels in found if labels is not None)
    if key.shape[-3] != query.shape[-3]:
        times = query.shape[-3] // key.shape[-3]
        key, value = key.repeat_interleave(times, -3), value.repeat_interleave(times, -3)
    flat = [labels.reshape(-1, *labels.shape[-2:]) for labels in (query, key, value)]
    heads = _heads(trace, *flat)
    if heads is None:
        trace.units.unite(trace.units.along(query, -1), trace.units.along(key, -1))
        trace.set(result, spread(trace.units.along(value, -1), result.shape, result.dim() - 1))
        return
    shape = query.shape[:-2]
    trace.set(result, heads.reshape(*shape, 1, 1).expand(result.shape))
    mask = args[3] if len(args) > 3 else kwargs.get("attn_mask")
    if isinstance(mask, Tensor) and (bias := trace.label(mask)) is not None:
        scores = heads.reshape(*shape, 1, 1).expand(*shape, mask.shape[-2], mask.shape[-1])
        unite_joined(trace.units, (scores, scores.shape), (bias.expand(scores.shape), mask.shape))


def _heads(trace: Trace, *tensors: Tensor) -> Tensor | None:
    """Unite all labels of each head, and return one label for each, (B,); None if the entries of B are no heads."""
    units = trace.units
    rows = [labels.expand(labels.shape).reshape(labels.shape[0], -1) for labels in tensors]
    highest = torch.stack([units.roots(row).amax(1) for row in rows]).amax(0)
    if len(highest) < 2 or bool((highest == highest[0]).all()):
        return None
    for row in rows:
        units.unite(row, highest[:, None].expand_as(row))
    heads = units.roots(highest)
    units.heads.update(set(heads.tolist()))
    return heads


def _begin(trace: Trace, made: Tensor, bias: Any, output: Tensor, dim: int) -> None:
    """Label a layer's output along `dim`, and unite the labels of its bias with it."""
    own = trace.label(bias)
    if own is not None:
        trace.units.unite(own, made)
    trace.set(output, spread(made, output.shape, dim))


def _rows(trace: Trace, source: Source, dim: int, num: int) -> Tensor:
    """Return the labels of a weight's outputs along `dim`: new ones at its first use, fixed for a single output."""
    if dim not in source.vectors:
        source.vectors[dim] = _fixed(num) if num == 1 else trace.units.new(num)
        source.made = dim
    return source.vectors[dim]


def _join(trace: Trace, source: Source, dim: int, labels: Tensor) -> None:
    """Give a dimension of a weight these labels, and unite them with those of an earlier use."""
    known = source.vectors.setdefault(dim, labels)
    if known is labels:
        return
    trace.units.unite(known, labels)
    for mine, other in ((known, labels), (labels, known)):
        trace.units.freeze(mine[(mine != FIXED) & (other == FIXED)], "its weight is shared with a fixed size")


def _fixed(num: int) -> Tensor:
    return torch.zeros(num, dtype=torch.int64)


def _freeze(trace: Trace, reason: str, *tensors: Any) -> None:
    for tensor in tensors:
        labels = trace.label(tensor)
        if labels is not None:
            trace.units.freeze(labels, reason)
