"""A device may be code of the user's own: what it raises, or returns amiss, is one line that names the device."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from onepath.errors import ConfigurationError, UserError, shown

if TYPE_CHECKING:
    from onepath.latency.device import Device, Network, Prepared

LEAST_MS, MOST_MS = 1e-9, 1e9
"""A picosecond and eleven days: what is outside is no time of an inference."""


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
def naming(device: Device | str, must: str, kind: type[UserError] = UserError) -> Iterator[None]:
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


def name_of(device: Device) -> str:
    """The name of a device, or of its class where it has none."""
    name: object = device.name
    return name if isinstance(name, str) and name else type(device).__name__


def prepare(device: Device, model: Network, input_shape: Sequence[int]) -> Prepared:
    """`device.prepare`, with every call of what it returns checked.

    Raises:
        UserError: the device raises, or returns something without `run` and `close`; names the device.
    """
    with naming(device, "make a network ready"):
        prepared = device.prepare(model, input_shape)
    if not (callable(getattr(prepared, "run", None)) and callable(getattr(prepared, "close", None))):
        raise UserError(
            f"`prepare` of the device {name_of(device)} must return an object with `run` and `close`, but it returned "
            f"{shown(type(prepared).__name__)}; fix its class"
        )
    return checked(device, prepared)


def checked(device: Device, prepared: Prepared) -> Prepared:
    """A prepared network whose `run` raises UserError, which names the device, unless it gives a time."""
    return prepared if isinstance(prepared, _Checked) else _Checked(device, prepared)


class _Checked:
    """A prepared network whose times are times."""

    def __init__(self, device: Device, prepared: Prepared) -> None:
        self._device = device
        self._prepared = prepared

    def run(self) -> float:
        with naming(self._device, "run an inference"):
            time_ms: Any = self._prepared.run()
        if not is_time_ms(time_ms):
            raise UserError(
                f"a time must be finite and over 0 ms, but the device {name_of(self._device)} gave {shown(time_ms)}; "
                "fix its `run`"
            )
        return float(time_ms)

    def close(self) -> None:
        with naming(self._device, "give back what a network holds"):
            self._prepared.close()
