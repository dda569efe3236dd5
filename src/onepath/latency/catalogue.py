"""The devices by name, and how to load the user's own."""

from __future__ import annotations

import difflib
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from onepath.errors import ConfigurationError
from onepath.latency.command_device import PREFIX, CommandDevice
from onepath.latency.device import Device
from onepath.latency.onnx_device import OnnxRuntimeCpu, OnnxRuntimeCuda
from onepath.latency.openvino_device import OpenVinoCpu
from onepath.latency.torch_device import TorchCpu, TorchCuda

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
        try:
            found = kind(threads=threads, batch=batch, precision=precision)
        except TypeError as error:
            raise ConfigurationError(
                f"a device must be made by {kind.__name__}(threads=, batch=, precision=) and have `prepare`, "
                f"but {error}. Mend the class."
            ) from error
        found.name = found.name or name
    found.check_usable()
    return found


def _own_class(name: str) -> type[Device]:
    """The class behind `path/to/file.py:Class`. The file is run as Python code: it is the user's own program."""
    path, separator, wanted = name.rpartition(":")
    if not separator or not path.endswith(".py"):
        near = difflib.get_close_matches(name, DEVICES, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise ConfigurationError(
            f"a device must be one of {', '.join(DEVICES)}, {FORMS}, but got {name!r}.{hint}"
        )
    if not Path(path).is_file():
        raise ConfigurationError(f"the file of a device must exist, but {path!r} does not. Check the path.")
    specification = importlib.util.spec_from_file_location(f"onepath_user_device_{Path(path).stem}", path)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    try:
        specification.loader.exec_module(module)
    except Exception as error:
        raise ConfigurationError(
            f"the file of a device must run, but {path} raised {type(error).__name__}: {error}. Mend the file."
        ) from error
    kind = getattr(module, wanted, None)
    if not (isinstance(kind, type) and issubclass(kind, Device)):
        raise ConfigurationError(
            f"{path} must define the class of the device, a subclass of onepath.latency.Device, "
            f"but its {wanted!r} is not one. Check the name."
        )
    return kind
