"""Latency in milliseconds on a named runtime: devices, measurements on them, and tables that predict latencies."""

from onepath.latency.catalogue import DeviceEntry, device, devices
from onepath.latency.command_device import CommandDevice
from onepath.latency.confirm import Reference, confirm
from onepath.latency.device import Device, Network, Prepared, Schedule
from onepath.latency.limit import LatencyPredictor, MaxLatency, load_predictor
from onepath.latency.measure import MAX_RELATIVE_IQR, Latency, measure
from onepath.latency.onnx_device import OnnxDevice
from onepath.latency.profiling import profile
from onepath.latency.table import LatencyTable
from onepath.latency.yaml_table import PublishedTable

__all__ = [
    "MAX_RELATIVE_IQR",
    "CommandDevice",
    "Device",
    "DeviceEntry",
    "Latency",
    "LatencyPredictor",
    "LatencyTable",
    "MaxLatency",
    "Network",
    "OnnxDevice",
    "Prepared",
    "PublishedTable",
    "Reference",
    "Schedule",
    "confirm",
    "device",
    "devices",
    "load_predictor",
    "measure",
    "profile",
]
