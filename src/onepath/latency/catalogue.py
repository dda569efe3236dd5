"""Find devices by name, and load devices that are the user's own code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from onepath.errors import ConfigurationError, shown
from onepath.latency.command_device import PREFIX, CommandDevice
from onepath.latency.device import Device
from onepath.latency.device_errors import naming
from onepath.latency.onnx_device import OnnxRuntimeCpu, OnnxRuntimeCuda
from onepath.latency.openvino_device import OpenVinoCpu
from onepath.latency.torch_device import TorchCpu, TorchCuda
from onepath.own_code import load_own

DEVICES: Mapping[str, type[Device]] = {
    kind.name: kind for kind in (TorchCpu, OnnxRuntimeCpu, OpenVinoCpu, TorchCuda, OnnxRuntimeCuda)
}
FORMS = f"{PREFIX}./measure.sh or path/to/file.py:Class"
"""How the name of a user's own device is written."""


class DeviceEntry(NamedTuple):
    """One line of the list of devices."""

    name: str
    missing: str | None
    """Why the device cannot be used here; None if it can."""


def devices() -> list[DeviceEntry]:
    """Return the devices that come with onepath, each with the reason why it cannot be used here, or None."""
    return [DeviceEntry(name, kind().missing()) for name, kind in DEVICES.items()]


def device(name: str, *, threads: int | None = None, batch: int = 1, precision: str = "float32") -> Device:
    """Return the device of this name, with these settings.

    Args:
        name: one of `devices()`; `exec:` and a command that is given an ONNX file and prints milliseconds; or
            `path/to/file.py:Class` for a subclass of `Device` of the user's own.
        threads: number of threads that one inference may use; None: torch's own number at this moment.
        batch: number of examples in one inference.
        precision: precision of weights and activations, one of the `precisions` of the device.

    Raises:
        ConfigurationError: there is no such device, it cannot be used here, or a setting is not allowed.
    """
    if name.startswith(PREFIX):
        found: Device = CommandDevice(
            name.removeprefix(PREFIX).strip(), threads=threads, batch=batch, precision=precision
        )
    else:
        kind = DEVICES[name] if name in DEVICES else _own_class(name)
        must = f"be made by {kind.__name__}(threads=, batch=, precision=) and have `prepare`"
        with naming(name, must, ConfigurationError):
            found = kind(threads=threads, batch=batch, precision=precision)
            found.name = found.name or name
    found.check_usable()
    return found


def device_of_file(name: str, path: object) -> str:
    """Return the device name that a file holds, if it is the name of one of onepath's own devices.

    This name is for use if the user names no device. A file must not choose code to run: the user names a command or a
    class of their own with `--device` or in Python, and the file is then compared with it.

    Args:
        name: name of the device in the file.
        path: path of the file, for the message.

    Raises:
        ConfigurationError: the name is not one of `devices()`.
    """
    if name not in DEVICES:
        raise ConfigurationError(
            f"a file can name a device of onepath's own alone ({', '.join(DEVICES)}), but {path} is of {shown(name)}; "
            "name the device with --device, if you trust it"
        )
    return name


def _own_class(name: str) -> type[Device]:
    """Return the class behind `path/to/file.py:Class`."""
    path, wanted, kind = load_own(name, what="device", known=DEVICES, forms=FORMS)
    if not (isinstance(kind, type) and issubclass(kind, Device)):
        raise ConfigurationError(
            f"{path} must define the class of the device, a subclass of onepath.latency.Device, "
            f"but its {wanted!r} is not one; check the name"
        )
    return kind
