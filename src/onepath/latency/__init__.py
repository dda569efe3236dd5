"""Latency in milliseconds on a named runtime: devices and their measurement."""

from onepath.latency.catalogue import DeviceEntry, device, devices
from onepath.latency.device import Device, Network, Prepared, Schedule
from onepath.latency.measure import MAX_RELATIVE_IQR, Latency, measure

__all__ = [
    "MAX_RELATIVE_IQR",
    "Device",
    "DeviceEntry",
    "Latency",
    "Network",
    "Prepared",
    "Schedule",
    "device",
    "devices",
    "measure",
]
