"""Latency in milliseconds on a named runtime: devices and their measurement."""

from onepath.latency.catalogue import DeviceEntry, device, devices
from onepath.latency.command_device import CommandDevice
from onepath.latency.device import Device, Network, Prepared, Schedule
from onepath.latency.measure import MAX_RELATIVE_IQR, Latency, measure
from onepath.latency.onnx_device import OnnxDevice

__all__ = [
    "MAX_RELATIVE_IQR",
    "CommandDevice",
    "Device",
    "DeviceEntry",
    "Latency",
    "Network",
    "OnnxDevice",
    "Prepared",
    "Schedule",
    "device",
    "devices",
    "measure",
]
