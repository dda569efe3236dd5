"""The keys of a latency table's entries, and the keys that are nearest to a missing one.

A key is made of fields joined by "-": `type-input:HxWxC-output:HxWxC-name:value-...`, as in the tables of ProxylessNAS
and Once-for-All. For the candidates of any space, a last field `layers:` is a digest of the layers that the candidate
is made of.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

from torch import nn

from onepath.errors import ConfigurationError

Entry = TypeVar("Entry")

_NUM_NEAREST = 3
_DIGITS = 8
# Where a module stands, and whether it trains, say nothing about how long it takes.
_NOT_STRUCTURE = ("path", "training")


def shape_text(shape: Sequence[int]) -> str:
    """Return (C, H, W) as "HxWxC", the papers' order; other shapes keep their order: (3, 32, 64) is "32x64x3"."""
    sizes = (*shape[1:], shape[0]) if len(shape) == 3 else tuple(shape)
    return "x".join(str(size) for size in sizes)


def candidate_key(
    name: str, input_shape: Sequence[int], output_shape: Sequence[int], module: nn.Module
) -> str:
    """Return the key of a plain module at its input shape.

    Args:
        name: name of the candidate, for the reader.
        input_shape: shape of one example, without the batch.
        output_shape: shape of one output, without the batch.
        module: a stand-alone module, on any device; equal structures have equal keys, whatever their weights.
    """
    shapes = f"input:{shape_text(input_shape)}-output:{shape_text(output_shape)}"
    return f"{name}-{shapes}-layers:{structure_digest(module)}"


def structure_digest(module: nn.Module) -> str:
    """Return eight hexadecimal digits of a module's classes, plain attributes and sizes; weights do not matter."""
    return hashlib.sha256(repr(_structure(module)).encode()).hexdigest()[:_DIGITS]


def _structure(module: nn.Module) -> tuple[object, ...]:
    plain = sorted(
        (name, repr(value))
        for name, value in vars(module).items()
        if not name.startswith("_") and name not in _NOT_STRUCTURE and _is_plain(value)
    )
    tensors = (*module.named_parameters(recurse=False), *module.named_buffers(recurse=False))
    sizes = [(name, tuple(tensor.shape)) for name, tensor in tensors]
    children = [(name, _structure(child)) for name, child in module.named_children()]
    return type(module).__qualname__, plain, sizes, children


def _is_plain(value: object) -> bool:
    if isinstance(value, tuple | list):
        return all(_is_plain(part) for part in value)
    return value is None or isinstance(value, bool | int | float | str)


def find_entry(entries: Mapping[str, Entry], key: str) -> Entry:
    """Return the entry of a key.

    Raises:
        ConfigurationError: there is no such entry; the message names the nearest keys.
    """
    if key not in entries:
        near = " and ".join(nearest_keys(key, entries)) or "none"
        raise ConfigurationError(
            f"every candidate must have an entry in the latency table, but {key} has none; the nearest are {near}; "
            "add it, or profile this space on the device"
        )
    return entries[key]


def nearest_keys(key: str, keys: Iterable[str], num: int = _NUM_NEAREST) -> list[str]:
    """Return the `num` keys that differ from `key` in the fewest fields, and among those in the closest numbers."""
    fields = _fields(key)
    return sorted(keys, key=lambda other: (_distance(fields, _fields(other)), other))[:num]


def _fields(key: str) -> dict[str, str]:
    """Return the fields of a key as name -> value; the type has an empty name."""
    parts = [part.partition(":") for part in key.split("-")]
    return {name if colon else "": value if colon else name for name, colon, value in parts}


def _distance(first: Mapping[str, str], second: Mapping[str, str]) -> tuple[int, float]:
    different = [name for name in {*first, *second} if first.get(name) != second.get(name)]
    return len(different), sum(_gap(first.get(name, ""), second.get(name, "")) for name in different)


def _gap(first: str, second: str) -> float:
    """Return how far apart two values of a field are: the sum of the logarithms of the ratios of their numbers."""
    numbers = [[int(number) for number in re.findall(r"\d+", text)] for text in (first, second)]
    if len(numbers[0]) != len(numbers[1]) or not numbers[0]:
        return 10.0
    return sum(abs(math.log((1 + one) / (1 + other))) for one, other in zip(*numbers, strict=True))
