"""Checks of the ready-made spaces' own arguments, so that a wrong one is reported before anything is built."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from numbers import Integral, Real
from typing import NamedTuple

from onepath.errors import ConfigurationError, shown
from onepath.most import CHANNELS, PIXELS

_MOST_CELLS = 100  # also the most nodes of a cell, and the most options of one choice
_MOST_HIDDEN = 8192  # features; the weights of a cell of 8 nodes take 4 GB
_MOST_WEIGHT = 1000.0  # largest weight of a loss


class _Takes(NamedTuple):
    """The values that an argument takes: `rule` completes "must be ...", `holds` tells whether a value obeys it."""

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
    "num_layers": _whole(3, _MOST_CELLS),
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
    """Raise unless a ready-made space's own arguments have the right types and lie in their ranges.

    Args:
        space: name of the space, for messages.
        arguments: name -> value of arguments that the space has; arguments without a rule are not checked.

    Raises:
        ConfigurationError: a value breaks its rule; the message names the space, the argument and the rule.
    """
    for name, value in arguments.items():
        takes = _TAKEN.get(name)
        if takes is not None and not takes.holds(value):
            raise ConfigurationError(
                f"argument {name} of space {space} must be {takes.rule}, but got {shown(value)}; change it"
            )
