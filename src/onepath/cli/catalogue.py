"""The content of what `onepath spaces`, `onepath cost` and `onepath devices` print."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

PAPER_CHANNELS = 3
FIGURES = "spaces/figures.json"


def describe_spaces() -> list[dict[str, Any]]:
    """Return name, size, choices, and min / median / max of MACs and params of every space in its paper's setting.

    They are read from a file of the package, without torch. `measure_space` computes an entry, which takes seconds;
    `python scripts/space_figures.py` writes the file.
    """
    found: list[dict[str, Any]] = json.loads((files("onepath") / FIGURES).read_text())
    return found


def measure_space(name: str) -> dict[str, Any]:
    """Compute the entry of one space in `describe_spaces`."""
    from onepath import cost, spaces

    num_classes, size = spaces.paper_setting(name)
    supernet = spaces.build(name, num_classes, input_size=size, in_channels=PAPER_CHANNELS)
    shape = spaces.example_shape(supernet, size, PAPER_CHANNELS)
    space = supernet.space
    described: dict[str, Any] = {
        "name": name,
        "size": space.size,
        "num_choices": space.num_choices,
        "num_classes": num_classes,
        "input_shape": list(shape),
    }
    kinds = ("macs", "params")
    for kind in kinds:
        sampler = space.window_sampler(cost.table(supernet, shape, kind))
        lowest, highest = sampler.extremes()
        described[kind] = {"min": lowest, "median": sampler.quantile(0.5), "max": highest}
    return described


def network_sizes(
    space: str, num_classes: int | None, input_size: int | None, in_channels: int, width: float | None
) -> dict[str, Any]:
    """Return the sizes to build a space with: those given, else those of its paper; a width of None stays None."""
    from onepath import spaces

    paper_classes, paper_size = spaces.paper_setting(space)
    return {
        "num_classes": num_classes or paper_classes,
        "input_size": input_size or paper_size,
        "in_channels": in_channels,
        "width": width,
    }


def describe_architecture(
    space: str, architecture: str, *, sizes: Mapping[str, Any], arguments: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the options and every cost of `COSTS` of one architecture, by name.

    The key "uncounted" is present only if operations without a counter run, see `ModuleCost`.

    Args:
        space: name of the space.
        architecture: the architecture as text.
        sizes: what `network_sizes` returns.
        arguments: further arguments of the space: name -> value.
    """
    from onepath import cost, spaces
    from onepath.cost.architecture import shape_twin

    supernet = spaces.build(space, **sizes, **arguments)
    input_shape = spaces.example_shape(supernet, sizes["input_size"], sizes["in_channels"])
    parsed = supernet.space.parse(architecture)
    model = shape_twin(supernet).extract(parsed, inherit=False)
    counted = {name: each.count(model, input_shape) for name, each in cost.COSTS.items()}
    described: dict[str, Any] = {
        "space": space,
        "architecture": str(parsed),
        "options": parsed.options,
        **{name: found.total for name, found in counted.items()},
        "num_classes": sizes["num_classes"],
        "input_shape": list(input_shape),
    }
    if uncounted := {name: path for found in counted.values() for name, path in found.uncounted.items()}:
        described["uncounted"] = uncounted
    return described


def describe_devices() -> list[dict[str, Any]]:
    """Return, for every device of onepath, its name, whether it is usable here, and its settings or why it is not."""
    from onepath import latency

    found = []
    for name, missing in latency.devices():
        described = {"name": name, "usable": missing is None, "missing": missing, "settings": None}
        if missing is None:
            described["settings"] = latency.device(name).settings()
        found.append(described)
    return found
