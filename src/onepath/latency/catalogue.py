"""The devices by name, and how to load the user's own."""

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
"""How a device of the user's own is written."""


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
        name: one of `devices()`; `exec:` and a command that is given an ONNX file and prints milliseconds; or
            `path/to/file.py:Class` for a subclass of `Device` of the user's own.
        threads: that one inference may use; None: torch's own number at this moment.
        batch: examples in one inference.
        precision: of weights and activations.

    Raises:
        ConfigurationError: no such device, it cannot be used here, or a setting does not fit.
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
    """The name of the device that a file is of, to be used where nobody has named another; one of onepath's own.

    A file chooses no code: a command or a class of your own is named with `--device` or in Python, and then the file
    is compared with it.

    Args:
        name: as the file has it.
        path: of the file, for the message.

    Raises:
        ConfigurationError: it is not one of `devices()`.
    """
    if name not in DEVICES:
        raise ConfigurationError(
            f"a file can name a device of onepath's own alone ({', '.join(DEVICES)}), but {path} is of {shown(name)}; "
            "name the device with --device, if you trust it"
        )
    return name


def _own_class(name: str) -> type[Device]:
    """The class behind `path/to/file.py:Class`."""
    path, wanted, kind = load_own(name, what="device", known=DEVICES, forms=FORMS)
    if not (isinstance(kind, type) and issubclass(kind, Device)):
        raise ConfigurationError(
            f"{path} must define the class of the device, a subclass of onepath.latency.Device, "
            f"but its {wanted!r} is not one; check the name"
        )
    return kind
