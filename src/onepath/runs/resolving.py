"""From the options asked for to those of this data and this space."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onepath.errors import ConfigurationError, RunDirectoryError, shown
from onepath.own_code import is_own, is_same, source_digest, unnamed_code
from onepath.runs.config import RunConfig, absolute
from onepath.runs.methods import METHODS
from onepath.runs.relaxed_options import relaxed_defaults
from onepath.runs.scored import parse_prefilter
from onepath.randomness import generator

if TYPE_CHECKING:
    from onepath.cost.table import Kind
    from onepath.data import Task
    from onepath.nn import Supernet
    from onepath.train import Recipe

GIVEN_IN_PYTHON = "python:"
_MOST_SCORING = 8  # processes of 0.4 GB each


def describe(task: Task) -> dict[str, Any]:
    """What the results say about the data, and how to recognise them."""
    return {
        "name": task.name,
        "train": task.num_examples("train"),
        "validation": task.num_examples("validation"),
        "test": task.num_examples("test"),
        "classes": task.num_classes,
        "input_shape": list(task.input_shape),
        "class_names": list(task.class_names),
        "fingerprint": task.fingerprint,
        "notes": list(task.notes),
        "metric": task.metric_name,
        "recipe": dict(task.recipe_settings),
    }


def make_recipe(facts: Mapping[str, Any], epochs: int | None, *, retrain: bool) -> Recipe:
    """What `Recipe.for_task` makes, of the facts about a task; see `describe`."""
    from onepath.train import Recipe

    make = Recipe.retrain if retrain else Recipe.supernet
    return replace(make(facts["train"], epochs), **facts.get("recipe", {}))


# On small data the training is short, and the search is to take no longer.
_SMALL_DATA, _SMALL_POPULATION, _SMALL_GENERATIONS = 10_000, 16, 5


def resolve(config: RunConfig, facts: Mapping[str, Any]) -> tuple[RunConfig, dict[str, Any]]:
    """Fill in the defaults that depend on the data, the space and the limits.

    Args:
        config: the options asked for.
        facts: see `describe`; also the width fitted and the paths counted before, so that continuing a run does
            neither again.

    Returns:
        The resolved options, and the facts with what was found out.

    Raises:
        ConfigurationError: the method cannot serve the space.
    """
    from onepath import spaces
    from onepath.methods import fair_recipe

    recipe = make_recipe(facts, config.epochs, retrain=False)
    retrain = make_recipe(facts, config.retrain_epochs, retrain=True)
    batch_size = config.batch_size or recipe.batch_size
    is_small = facts["train"] < _SMALL_DATA
    width = config.width
    if width is None and config.space in spaces.names():
        width = facts.get("fitted_width") or _fitted_width(config, facts)
        facts = {**facts, "fitted_width": width}
    method = METHODS[config.method]
    small_or_large = (_SMALL_POPULATION, _SMALL_GENERATIONS) if is_small else (50, 20)
    population, generations = method.budget or small_or_large
    if config.epochs is None and method.num_paths is not None:
        if "num_paths" not in facts:
            space = build_supernet(config.model_copy(update={"width": width}), facts).space
            facts = {**facts, "num_paths": method.num_paths(space)}
        recipe = fair_recipe(recipe, facts["num_paths"])
    filled = {
        **{name: _own(config, name, default) for name, default in method.options.items()},
        **relaxed_defaults(config, recipe.epochs),
        "width": width,
        "epochs": None if method.sampler is None else recipe.epochs,
        "population": config.population or population,
        "generations": generations if config.generations is None else config.generations,
        "retrain_epochs": retrain.epochs,
        "workers": _num_workers(config),
        "batch_size": batch_size,
        # With the square root of a batch size that was asked for, between no scaling and the linear rule.
        "learning_rate": config.learning_rate
        or recipe.learning_rate * math.sqrt(batch_size / recipe.batch_size),
        "validation_images": min(config.validation_images or facts["validation"], facts["validation"]),
        "calibration_images": min(config.calibration_images, facts["train"]),
        **_device(config),
    }
    return config.model_copy(update=filled), dict(facts)


def _own(config: RunConfig, name: str, default: object) -> object:
    given = getattr(config, name)
    return default if given is None else given


def _num_workers(config: RunConfig) -> int:
    """The workers asked for, or one per core for a training that uses one, but not more than there is work for."""
    from onepath.train.threads import usable_cores

    if config.workers is not None:
        return config.workers
    if config.train_on != "cpu":
        return 1
    if METHODS[config.method].sampler is None:
        return min(usable_cores(), _MOST_SCORING)  # thousands of networks are scored, without the data
    if config.data.startswith(GIVEN_IN_PYTHON):
        return 1
    num_networks = (2 if config.retrain_from == "both" else 1) + config.num_baselines
    return min(num_networks, usable_cores())


def _device(config: RunConfig) -> dict[str, Any]:
    """Where latency is measured: as asked for, else as the table has it, which can name none but onepath's devices."""
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


def build_supernet(config: RunConfig, facts: Mapping[str, Any]) -> Supernet:
    """The supernet of a configuration for the data, with its initial weights: the same at every call."""
    from onepath import spaces

    check_takes_sequences(facts["input_shape"], config.space)
    channels, *size = facts["input_shape"]
    supernet = spaces.build(
        config.space,
        facts["classes"],
        input_size=min(size, default=None),
        in_channels=channels,
        width=config.width,
        seed=int(generator(config.seed, "weights").integers(2**31)),
        **config.space_arguments,
    )
    check_reads(supernet, facts["input_shape"], config.space)
    return supernet


def check_takes_sequences(input_shape: Sequence[int], space: str) -> None:
    """Refuse sequences for the ready-made spaces, which read images or text.

    Raises:
        ConfigurationError: the data are sequences, (C, T), and the space is a ready-made one.
    """
    from onepath import spaces

    if len(input_shape) == 2 and space in spaces.names():
        channels, length = input_shape
        raise ConfigurationError(
            f"sequences need a space of your own, with layers such as nn.Conv1d, but the data are sequences of "
            f"{channels} channels and {length} steps and the space is {space}; give path/to/file.py:function, or "
            f"kind='images' if they are images"
        )


def check_reads(supernet: Supernet, input_shape: Sequence[int], space: str) -> None:
    """Refuse images for a space of language models, and text for one of networks that read images.

    Raises:
        ConfigurationError: the space reads the other kind of data.
    """
    from onepath.nn.inputs import input_dtype

    kinds = ("text", "images")
    wanted, came = kinds[input_dtype(supernet).is_floating_point], kinds[len(input_shape) > 1]
    if wanted != came:
        raise ConfigurationError(
            f"a space must read the kind of data that came, but {space} reads {wanted} and the data are {came}; give "
            f"{wanted}, or another space"
        )


CODE = ("space", "device")


def confirmed(
    config: RunConfig,
    path: Path,
    space: str | None = None,
    device: str | None = None,
    facts: Mapping[str, Any] | None = None,
) -> RunConfig:
    """The configuration of a run directory, which may confirm the code that its reader names, but choose none.

    Args:
        config: as the directory has it.
        path: the directory, for messages.
        space: that the caller has named; None for none.
        device: likewise.
        facts: of the run; a file that has moved with its source unchanged is the same by them.

    Raises:
        ConfigurationError: the configuration names code of the user's own that the caller has not named, or the caller
            has named another one.
    """
    taken = {}
    for name, given in (("space", space), ("device", device)):
        stored = getattr(config, name)
        if given is None:
            if is_own(stored):
                raise unnamed_code(path, name, str(stored))
        elif stored is None or not same_code(name, stored, absolute(given) or given, facts or {}):
            raise ConfigurationError(
                f"{name} must be the one that the run began with, but got {shown(given)} and {path} has "
                f"{shown(stored)}; give that one"
            )
        elif is_own(given):
            taken[name] = absolute(given) or given
    return config.model_copy(update=taken)


def same_code(name: str, stored: str, given: str, facts: Mapping[str, Any]) -> bool:
    """Whether a space or device of a run is the one given: by its path, or by its source where it has moved."""
    if is_same(stored, given):
        return True
    digest = facts.get("sources", {}).get(name)
    same_name = stored.rpartition(":")[2] == given.rpartition(":")[2]
    return (
        digest is not None
        and same_name
        and is_own(stored)
        and is_own(given)
        and source_digest(given) == digest
    )


def sources(config: RunConfig) -> dict[str, str]:
    """Option -> digest of the user's own code that it names, for those whose files are there."""
    found = {name: source_digest(getattr(config, name)) for name in CODE if is_own(getattr(config, name))}
    return {name: digest for name, digest in found.items() if digest is not None}


def check_sources(config: RunConfig, facts: Mapping[str, Any]) -> None:
    """Raise RunDirectoryError where the user's own code is not the one that the run began with."""
    for name, digest in sources(config).items():
        if facts.get("sources", {}).get(name, digest) != digest:
            raise RunDirectoryError(
                f"a run continues with the {name} it began with, but the code of {getattr(config, name)} has changed "
                "since; undo that, give another --out, or start over with --fresh"
            )


def check_early(config: RunConfig, *, is_new: bool = True) -> None:
    """What can be known before the data are loaded: the space, the devices, what the workers need.

    Args:
        config: the options asked for.
        is_new: whether latencies will be measured for sure; a finished run can be read where its device is not.
    """
    import torch

    from onepath import spaces

    spaces.find(config.space)
    for name in (config.proxy, config.prefilter and parse_prefilter(config.prefilter)[0]):
        if name is not None:
            from onepath.estimate import score_definition

            score_definition(name)
    if is_new and config.device is not None:
        from onepath import latency

        latency.device(config.device, threads=config.device_threads)
    is_in_python = config.data.startswith(GIVEN_IN_PYTHON)
    if (config.workers or 1) > 1 and is_in_python and METHODS[config.method].sampler is not None:
        raise ConfigurationError(
            f"workers > 1 needs data that a process can load by name, but workers={config.workers} came with data "
            "given in Python; leave workers out, or give a file"
        )
    if config.train_on == "cuda" and not torch.cuda.is_available():
        raise ConfigurationError(
            "train_on='cuda' needs a CUDA device, but torch finds none; use train_on='cpu'"
        )


def _fitted_width(config: RunConfig, facts: Mapping[str, Any]) -> float:
    from onepath import spaces
    from onepath.runs.fitting import fitting_width

    limits: dict[Kind, int] = {}
    if config.max_macs is not None:
        limits["macs"] = config.max_macs
    if config.max_params is not None:
        limits["params"] = config.max_params

    if limits and not spaces.has_supernet(config.space):
        # Its choices hold the widths themselves, and nothing that is shared gains from networks of one cost.
        return 1.0

    def build(width: float) -> Supernet:
        return build_supernet(config.model_copy(update={"width": width}), facts)

    return fitting_width(build, tuple(facts["input_shape"]), limits)
