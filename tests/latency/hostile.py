"""Every node of a file, and what may wrongly stand in its place."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

Place = tuple[str | int, ...]

WRONG: dict[str, Any] = {
    "null": None,
    "true": True,
    "text": "x",
    "escape": "\x1b[31mred",
    "number as text": "1e999",
    "negative": -1,
    "nan": float("nan"),
    "infinity": float("inf"),
    "huge": 1e308,
    "many digits": 10**400,
    "list": [1, [2]],
    "dict": {"x": {"y": 1}},
    "empty list": [],
    "empty dict": {},
}
"""Values of every kind of JSON, and numbers that are none."""


def places(data: Any, at: Place = ()) -> Iterator[Place]:
    """Where each node is; of a long list or dict the first two parts."""
    yield at
    if isinstance(data, dict):
        for key in list(data)[:20]:
            yield from places(data[key], (*at, key))
    elif isinstance(data, list):
        for index in range(min(2, len(data))):
            yield from places(data[index], (*at, index))


def found_at(data: Any, at: Place) -> Any:
    for key in at:
        data = data[key]
    return data


def replaced(data: Any, at: Place, value: Any) -> Any:
    """A copy with another value at a place."""
    if not at:
        return value
    data = copy.deepcopy(data)
    found_at(data, at[:-1])[at[-1]] = value
    return data


def without(data: Any, at: Place) -> Any:
    """A copy that lacks the node."""
    data = copy.deepcopy(data)
    del found_at(data, at[:-1])[at[-1]]
    return data


def plain(data: Any) -> Any:
    return json.loads(json.dumps(data))


def kind_of(value: Any) -> str:
    """As JSON tells values apart."""
    if isinstance(value, bool) or value is None:
        return str(type(value))
    return "number" if isinstance(value, int | float) else type(value).__name__
