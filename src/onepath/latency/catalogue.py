"""The devices by name, and how to load the user's own."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import NamedTuple

from onepath.errors import ConfigurationError
from onepath.latency.device import Device
from onepath.latency.onnx_device import OnnxRuntimeCpu, OnnxRuntimeCuda
from onepath.latency.torch_device import TorchCpu, TorchCuda

DEVICES: Mapping[str, type[Device]] = {
    kind.name: kind for kind in (TorchCpu, OnnxRuntimeCpu, TorchCuda, OnnxRuntimeCuda)
}


class DeviceEntry(NamedTuple):
    """One line of the list of devices."""

    name: str
    missing: str | None
    """Why it cannot be used here; None where it can."""


def devices() -> list[DeviceEntry]:
    """The devices that come with onepath, each with the reason why it cannot be used here."""
    return [DeviceEntry(name, kind().missing()) for name, kind in DEVICES.items()]


def device(name: str, *, threads: int | None = None, batch: int = 1, precision: str = "float32") -> Device:
    """The device of a name.

    Args:
        name: one of `devices()`.
        threads: that one inference may use; None: torch's own number at this moment.
        batch: examples in one inference.
        precision: of weights and activations.

    Raises:
        ConfigurationError: no such device, it cannot be used here, or a setting does not fit.
    """
    if name not in DEVICES:
        near = difflib.get_close_matches(name, DEVICES, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise ConfigurationError(f"a device must be one of {', '.join(DEVICES)}, but got {name!r}.{hint}")
    found = DEVICES[name](threads=threads, batch=batch, precision=precision)
    found.check_usable()
    return found
