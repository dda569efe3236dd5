"""What `onepath spaces`, `onepath cost` and `onepath devices` print, asked of the rooms that know."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

PAPER_SHAPE = (3, 224, 224)
PAPER_CLASSES = 1000


def describe_spaces() -> list[dict[str, Any]]:
    """Name, size, number of choices, and min / median / max of MACs and params of every ready-made space."""
    from onepath import cost, spaces

    found = []
    for name in spaces.names():
        channels, size, _ = PAPER_SHAPE
        supernet = spaces.build(name, PAPER_CLASSES, input_size=size, in_channels=channels)
        space = supernet.space
        described: dict[str, Any] = {"name": name, "size": space.size, "num_choices": space.num_choices}
        for kind in ("macs", "params"):
            sampler = space.window_sampler(cost.table(supernet, PAPER_SHAPE, kind))
            lowest, highest = sampler.extremes()
            described[kind] = {"min": lowest, "median": sampler.quantile(0.5), "max": highest}
        found.append(described)
    return found


def describe_architecture(
    space: str,
    architecture: str,
    *,
    num_classes: int,
    input_shape: tuple[int, int, int],
    width: float | None,
    arguments: Mapping[str, Any],
) -> dict[str, Any]:
    """The cost of one architecture of a space, built for this shape and number of classes."""
    from onepath import cost, spaces

    channels, size, _ = input_shape
    supernet = spaces.build(
        space, num_classes, input_size=size, in_channels=channels, width=width, **arguments
    )
    parsed = supernet.space.parse(architecture)
    return {
        "space": space,
        "architecture": str(parsed),
        "options": parsed.options,
        "macs": cost.macs(supernet, parsed, input_shape),
        "params": cost.params(supernet, parsed),
        "num_classes": num_classes,
        "input_shape": list(input_shape),
    }


def describe_devices() -> list[dict[str, Any]]:
    """Name of every device that comes with onepath, whether it is usable here, and its settings or why it is not."""
    from onepath import latency

    found = []
    for name, missing in latency.devices():
        described = {"name": name, "usable": missing is None, "missing": missing, "settings": None}
        if missing is None:
            described["settings"] = latency.device(name).settings()
        found.append(described)
    return found
