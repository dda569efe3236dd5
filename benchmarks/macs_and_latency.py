"""Latencies of networks with exactly equal multiply-accumulates: deep against wide, depthwise against dense.

The networks of a group are timed in the same rounds, and the machine's changes of speed are removed. Prints a table for
each device and one line of JSON.
Run: `python benchmarks/macs_and_latency.py [--devices onnxruntime-cpu,torch-cpu] [--threads 1] [--seconds 30]`
"""

from __future__ import annotations

import argparse
import contextlib
import json
from collections.abc import Mapping
from typing import Any

from torch import nn

from onepath.cost import module_cost
from onepath.latency import Device, device
from onepath.latency.rounds import Rounds, run_rounds

Network = tuple[nn.Module, tuple[int, int, int]]


def dense_stack(depth: int, channels: int, size: int) -> Network:
    """Return `depth` dense 3x3 convolutions of `channels` at `size` x `size` pixels."""
    layers: list[nn.Module] = []
    for _ in range(depth):
        layers += [nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU()]
    return nn.Sequential(*layers), (channels, size, size)


def pointwise_stack(depth: int, channels: int, size: int) -> Network:
    """Return `depth` dense 1x1 convolutions of `channels` at `size` x `size` pixels."""
    layers: list[nn.Module] = []
    for _ in range(depth):
        layers += [nn.Conv2d(channels, channels, 1), nn.ReLU()]
    return nn.Sequential(*layers), (channels, size, size)


def depthwise_stack(depth: int, channels: int, kernel_size: int, size: int) -> Network:
    """Return `depth` depthwise convolutions of `channels` at `size` x `size` pixels."""
    layers: list[nn.Module] = []
    for _ in range(depth):
        layers += [
            nn.Conv2d(channels, channels, kernel_size, padding=kernel_size // 2, groups=channels),
            nn.ReLU(),
        ]
    return nn.Sequential(*layers), (channels, size, size)


GROUPS: Mapping[str, Mapping[str, Network]] = {
    "depth and width": {
        "16 layers of 32 channels": dense_stack(16, 32, 16),
        "4 layers of 64 channels": dense_stack(4, 64, 16),
        "1 layer of 128 channels": dense_stack(1, 128, 16),
    },
    "resolution and width": {
        "4 layers of 32 channels at 32x32": dense_stack(4, 32, 32),
        "4 layers of 64 channels at 16x16": dense_stack(4, 64, 16),
        "4 layers of 128 channels at 8x8": dense_stack(4, 128, 8),
    },
    "depthwise 7x7 and dense 1x1": {
        "8 depthwise 7x7, 64 channels": depthwise_stack(8, 64, 7, 28),
        "8 dense 1x1, 56 channels": pointwise_stack(8, 56, 28),
    },
    "depthwise 3x3 and dense 1x1": {
        "8 depthwise 3x3, 64 channels": depthwise_stack(8, 64, 3, 56),
        "8 dense 1x1, 24 channels": pointwise_stack(8, 24, 56),
    },
}


def measured(group: Mapping[str, Network], where: Device, seconds: float) -> list[dict[str, Any]]:
    """Return MACs, parameters, latency and its spread for each network of a group."""
    with contextlib.ExitStack() as stack:
        networks = []
        for model, shape in group.values():
            networks.append(where.prepare(model.eval(), shape))
            stack.callback(networks[-1].close)
        levels = run_rounds(where, networks, Rounds(len(networks)), precision=0.003, max_seconds=seconds)
    rows = []
    for index, (name, (model, shape)) in enumerate(group.items()):
        counted = module_cost(model, shape)
        rows.append(
            {
                "network": name,
                "macs": counted.macs,
                "params": counted.params,
                "ms": float(levels.ms[index]),
                "iqr_ms": float(levels.iqr_ms[index]),
                "is_noisy": bool(levels.is_noisy[index]),
            }
        )
    assert len({row["macs"] for row in rows}) == 1, "the networks of a group must have equal MACs"
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--devices", default="onnxruntime-cpu,torch-cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--seconds", type=float, default=30.0, help="seconds of timing for each group and device"
    )
    arguments = parser.parse_args()
    found: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for name in arguments.devices.split(","):
        where = device(name, threads=arguments.threads)
        found[name] = {title: measured(group, where, arguments.seconds) for title, group in GROUPS.items()}
        print(f"{name}, {where.version()}, {where.processor()}, {where.threads} threads")
        for title, rows in found[name].items():
            print(f"  {title}: {rows[0]['macs']:,} MACs each")
            least = min(row["ms"] for row in rows)
            for row in rows:
                flag = "  noisy" if row["is_noisy"] else ""
                print(
                    f"    {row['network']:<42}{row['params']:>9,} params{row['ms']:9.3f} ms"
                    f"  IQR {row['iqr_ms']:.3f}  x {row['ms'] / least:.2f}{flag}"
                )
    print(json.dumps(found))


if __name__ == "__main__":
    main()
