"""Checks of what a device does, which may be the user's own code: its errors become one line that names the device."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np

from onepath.errors import ConfigurationError, UserError, shown

LEAST_MS, MOST_MS = 1e-9, 1e9
"""Shortest and longest plausible time of one inference, in ms: a picosecond and eleven days."""


class Named(Protocol):
    """The part of a device that an error message needs."""

    @property
    def name(self) -> str:
        """Name of the device, as it is written after `--device`."""


def one_line(text: object, most: int = 200) -> str:
    """Return what a device or a file said as one line.

    White space is joined, the text is cut to `most` characters, and control characters are escaped.
    """
    line = " ".join(str(text)[: 4 * most].split())[:most]
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in line)


def is_time_ms(value: Any) -> bool:
    """Whether a value is a number from LEAST_MS to MOST_MS, the plausible times of one inference in ms."""
    is_number = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    return is_number and bool(LEAST_MS <= value <= MOST_MS)


def check_count(what: str, value: object, least: int, most: int) -> None:
    """Raise ConfigurationError unless a value is a whole number from `least` to `most`.

    Args:
        what: name of the value, with which the message begins.
        value: the value, of any type.
        least: smallest number allowed.
        most: largest number allowed.
    """
    if not isinstance(value, int | np.integer) or isinstance(value, bool):
        raise ConfigurationError(f"{what} must be a whole number, but got {shown(value)}; change it")
    if value < least:
        raise ConfigurationError(
            f"{what} must be {least} or more, but got {shown(value)}; give at least {least}"
        )
    if value > most:
        raise ConfigurationError(f"{what} must be {most:,} or less, but got {shown(value)}; give less")


@contextlib.contextmanager
def naming(device: Named | str, must: str, kind: type[UserError] = UserError) -> Iterator[None]:
    """Turn an exception of a device into a one-line error that names the device.

    Args:
        device: the device, or its name.
        must: what the device does inside the `with`, as it follows "must" in the message: "run an inference".
        kind: class of the error that is raised.

    Raises:
        UserError: an error of class `kind` if anything else was raised inside, `SystemExit` included. A UserError that
            was raised inside passes unchanged.
    """
    try:
        yield
    except UserError:
        raise
    except (Exception, SystemExit) as error:
        name = device if isinstance(device, str) else name_of(device)
        said = one_line(error)
        raise kind(
            f"the device {one_line(name)} must {must}, but it raised {one_line(type(error).__name__)}"
            f"{f': {said}' if said else ''}; fix its code, or use another device"
        ) from error


def name_of(device: Named) -> str:
    """Return the name of a device, or the name of its class if it has none."""
    name: object = device.name
    return name if isinstance(name, str) and name else type(device).__name__
