"""What a device raises, which may be the user's own code, becomes one line that names the device."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np

from onepath.errors import ConfigurationError, UserError, shown

LEAST_MS, MOST_MS = 1e-9, 1e9
"""A picosecond and eleven days: what is outside is no time of an inference."""


class Named(Protocol):
    """What a message asks of a device."""

    @property
    def name(self) -> str:
        """As it is written behind `--device`."""


def one_line(text: object, most: int = 200) -> str:
    """What a device or a file said, on one line: control characters escaped, white space joined, cut."""
    line = " ".join(str(text)[: 4 * most].split())[:most]
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in line)


def is_time_ms(value: Any) -> bool:
    """Whether a value is a number of milliseconds that an inference can take."""
    is_number = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    return is_number and bool(LEAST_MS <= value <= MOST_MS)


def check_count(what: str, value: object, least: int, most: int) -> None:
    """Raise ConfigurationError unless a value is a whole number from `least` to `most`."""
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
    """Turn what a device raises into one line that names it; errors of the caller's pass as they are.

    Args:
        device: it, or its name.
        must: what it does inside the `with`: "run an inference".
        kind: of the error.

    Raises:
        UserError: whatever else was raised, `SystemExit` included.
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
    """The name of a device, or of its class where it has none."""
    name: object = device.name
    return name if isinstance(name, str) and name else type(device).__name__
