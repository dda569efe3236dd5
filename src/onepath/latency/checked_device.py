"""Calls of a device, with everything it returns checked, because it may be the user's own code."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from onepath.errors import UserError, shown
from onepath.latency.device import Device, Network, Prepared
from onepath.latency.device_errors import is_time_ms, name_of, naming


def prepare(device: Device, model: Network, input_shape: Sequence[int]) -> Prepared:
    """Call `device.prepare`, and return its result with every call of it checked.

    Raises:
        UserError: the device raises, or returns something without `run` and `close`; the message names the device.
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
    """Return a prepared network whose calls are checked.

    Its `run` raises a UserError that names the device if the device raises or does not give a plausible time.
    """
    return prepared if isinstance(prepared, _Checked) else _Checked(device, prepared)


class _Checked:
    """A prepared network whose calls are checked."""

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
