"""Resolve options: fill in the defaults that depend on the data, the space, the limits and the machine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from onepath.errors import ConfigurationError
from onepath.methods.catalogue import GIVEN_IN_PYTHON
from onepath.runs.config import RunConfig
from onepath.runs.definition import RunDefinition, describe

if TYPE_CHECKING:
    from torch import nn

    from onepath.nn import Supernet

_MOST_SCORING = 8  # processes of 0.4 GB each


def check_early(config: RunConfig, *, is_new: bool = True) -> None:
    """Check what can be checked before the data are loaded: the space, the scores, the devices, the workers.

    Args:
        config: the options asked for.
        is_new: whether the run is new and will measure latencies; a finished run can be read on a machine without its
            device.

    Raises:
        ConfigurationError: the space, a score or a device does not exist or cannot be used here, or several workers are
            asked for and cannot load the data or the space by name.
    """
    import torch

    from onepath import spaces
    from onepath.estimate import score_definitions

    is_in_python = GIVEN_IN_PYTHON in (
        config.data[: len(GIVEN_IN_PYTHON)],
        config.space[: len(GIVEN_IN_PYTHON)],
    )
    if config.model is None and not config.space.startswith(GIVEN_IN_PYTHON):
        spaces.find(config.space)
    for name in config.options.scores:
        score_definitions(name)
    if is_new and config.device is not None:
        from onepath import latency

        latency.device(config.device, threads=config.device_threads)
    if (config.workers or 1) > 1 and is_in_python and config.options.trains_supernet:
        raise ConfigurationError(
            f"workers > 1 needs data and a space that a process can load by name, but workers={config.workers} "
            "came with one given in Python; leave workers out, or give a file"
        )
    if config.train_on == "cuda" and not torch.cuda.is_available():
        raise ConfigurationError(
            "train_on='cuda' needs a CUDA device, but torch finds none; use train_on='cpu'"
        )


def resolve_shape(definition: RunDefinition) -> RunConfig:
    """Return the configuration with the width, the device, its threads and the number of workers filled in."""
    config = definition.config
    update: dict[str, Any] = {"workers": _num_workers(config), **_device(config)}
    if config.width is None and not config.space.startswith(GIVEN_IN_PYTHON):
        from onepath import spaces

        if config.space in spaces.names():
            update["width"] = _fitted_width(definition)
    return config.model_copy(update=update)


def resolve_percentages(definition: RunDefinition, config: RunConfig) -> tuple[RunConfig, dict[str, Any]]:
    """Return the configuration with numbers instead of limits in percent of the converted model's costs, and facts.

    The facts are the percentages, and the latency of the model in ms (`model_ms`) if a limit is a share of it.

    Args:
        definition: definition of the run, from which the model is built.
        config: configuration whose percentages are replaced; if it has none, it is returned as it is.

    Raises:
        ConfigurationError: a limit on latency is in percent, and no device was given.
    """
    if not config.percentages:
        return config, {}
    from onepath.cost import COSTS
    from onepath.nn.alignment import widest_path

    supernet, shape = definition.blank, definition.input_shape
    model = supernet.extract(widest_path(supernet)).eval()
    found: dict[str, tuple[float, ...]] = {}
    facts: dict[str, Any] = {
        "percentages": {name: list(shares) for name, shares in config.percentages.items()}
    }
    for option, shares in config.percentages.items():
        if option == "max_latency_ms":
            whole = definition.facts.get("model_ms") or _latency_ms(config, model, shape)
            facts["model_ms"] = whole
            found[option] = tuple(share / 100 * whole for share in shares)
        else:
            total = COSTS[option.removeprefix("max_")].count(model, shape).total
            found[option] = tuple(max(1, int(share / 100 * total)) for share in shares)
    return config.with_limits(found), facts


def _latency_ms(config: RunConfig, model: nn.Module, shape: Sequence[Any]) -> float:
    from onepath import latency

    if config.device is None:
        raise ConfigurationError(
            "max_latency_ms is a limit on a device, but none came; give device, one of `onepath devices`"
        )
    device = latency.device(config.device, threads=config.device_threads)
    return latency.measure(device, [model], shape)[0].median_ms


def _num_workers(config: RunConfig) -> int:
    """Return the number of workers asked for; else one per usable core, but not more than there is work for."""
    from onepath.train.threads import usable_cores

    if config.workers is not None:
        return config.workers
    if config.budget is not None:
        return 1  # how much several processes slow each other is not known before
    if config.train_on != "cpu" or config.space.startswith(GIVEN_IN_PYTHON):
        return 1
    if config.options.score is not None:
        return min(usable_cores(), _MOST_SCORING)  # thousands of networks are scored, without the data
    if config.data.startswith(GIVEN_IN_PYTHON):
        return 1
    num_networks = (2 if config.finish == "both" else config.finalists or 1) + config.num_baselines
    return min(num_networks, usable_cores())


def _device(config: RunConfig) -> dict[str, Any]:
    """Return the device and its threads: as asked for, else those of the latency table.

    A table can only name devices of onepath.
    """
    import torch

    from onepath.latency import load_predictor
    from onepath.latency.catalogue import device_of_file

    if config.device is None and config.latency_table is None:
        return {}
    if config.device is not None and config.device_threads is not None:
        return {}
    given = {} if config.latency_table is None else load_predictor(config.latency_table).device
    return {
        "device": config.device or device_of_file(given["name"], config.latency_table),
        "device_threads": config.device_threads or given.get("threads") or torch.get_num_threads(),
    }


def _fitted_width(definition: RunDefinition) -> float | None:
    """Return the width for the loosest limits, under which the supernet is trained; None if the space has no width."""
    from onepath import spaces
    from onepath.runs.definition import build_named
    from onepath.runs.fitting import fitting_width

    config = definition.config
    facts = describe(definition.task)
    limits: dict[str, int] = {}
    kinds = ("macs", "params")
    for kind in kinds:
        values = config.limits.get(f"max_{kind}")
        if values is not None:
            limits[kind] = int(max(values))
    if limits and not spaces.has_supernet(config.space):
        # The choices of such a space hold the widths, and it has no shared weights that gain from similar costs.
        return 1.0
    if "width" not in _parameters(config.space):
        return None

    def build(width: float) -> Supernet:
        return build_named(config.model_copy(update={"width": width}), facts)

    return fitting_width(build, tuple(facts["input_shape"]), limits, config.options.wanted)


def _parameters(space: str) -> Any:
    import inspect

    from onepath import spaces

    builder: Callable[..., object] = spaces.find(space)
    return inspect.signature(builder).parameters
