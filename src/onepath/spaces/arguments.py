"""What the further arguments of the ready-made spaces take, so that a wrong one is told before anything is built."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from numbers import Integral, Real
from typing import NamedTuple

from onepath.errors import ConfigurationError, shown
from onepath.most import CHANNELS, PIXELS

_MOST_CELLS = 100  # and nodes of a cell, and options of one choice
_MOST_HIDDEN = 8192  # features; the weights of a cell of 8 nodes take 4 GB
_MOST_WEIGHT = 1000.0  # of a loss


class _Takes(NamedTuple):
    """`rule` completes "must be", `holds` says whether a value does."""

    rule: str
    holds: Callable[[object], bool]


def _whole(least: int, most: int, step: int = 1) -> _Takes:
    def holds(value: object) -> bool:
        is_whole = isinstance(value, Integral) and not isinstance(value, bool)
        return is_whole and least <= int(value) <= most and int(value) % step == 0  # type: ignore[call-overload]

    return _Takes(f"{'an even' if step == 2 else 'a'} whole number from {least:,} to {most:,}", holds)


def _number(rule: str, least: float, most: float) -> _Takes:
    def holds(value: object) -> bool:
        return not isinstance(value, bool) and isinstance(value, Real) and least <= float(value) <= most

    return _Takes(rule, holds)


def _numbers(rule: str, each: _Takes) -> _Takes:
    def holds(value: object) -> bool:
        return (
            isinstance(value, list | tuple)
            and 1 <= len(value) <= _MOST_CELLS
            and all(each.holds(item) for item in value)
            and len(set(value)) == len(value)
        )

    return _Takes(rule, holds)


_ABOVE_0, _BELOW_1 = math.nextafter(0, 1), math.nextafter(1, 0)
_RATE = _number("a number from 0 to 1, without 1", 0, _BELOW_1)
_TAKEN: Mapping[str, _Takes] = {
    "num_cells": _whole(1, _MOST_CELLS),
    "cells": _whole(3, _MOST_CELLS),
    "channels": _whole(2, CHANNELS, 2),
    "auxiliary_weight": _number(f"a number from 0 to {_MOST_WEIGHT:,.0f}", 0, _MOST_WEIGHT),
    "drop_path": _RATE,
    "squeeze_ratio": _number("a number above 0, at most 6", _ABOVE_0, 6),
    "scales": _numbers(
        f"a list of 1 to {_MOST_CELLS} different numbers above 0, at most 8", _number("", _ABOVE_0, 8)
    ),
    "hidden": _whole(1, _MOST_HIDDEN),
    "num_nodes": _whole(1, _MOST_CELLS),
    "resolutions": _Takes(
        f"a list of at most {_MOST_CELLS} different whole numbers from 4 to {PIXELS:,}",
        lambda value: value in ((), []) or _numbers("", _whole(4, PIXELS)).holds(value),
    ),
    **dict.fromkeys(
        (
            "dropout_words",
            "dropout_inputs",
            "dropout_cell_inputs",
            "dropout_states",
            "dropout_outputs",
        ),
        _RATE,
    ),
}


def check_arguments(space: str, arguments: Mapping[str, object]) -> None:
    """That a ready-made space's further arguments, which it has, are of their types and ranges.

    Raises:
        ConfigurationError: one is not; names the space, the argument and what it takes.
    """
    for name, value in arguments.items():
        takes = _TAKEN.get(name)
        if takes is not None and not takes.holds(value):
            raise ConfigurationError(
                f"argument {name} of space {space} must be {takes.rule}, but got {shown(value)}; change it"
            )
