"""What a run is: its data, its supernet and its recipes, made at first use from a configuration; nothing writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onepath.errors import ConfigurationError, RunDirectoryError, shown
from onepath.methods.catalogue import GIVEN_IN_PYTHON
from onepath.record import load_tensors
from onepath.record.directory import weights_path
from onepath.record.stage_records import Recorded
from onepath.runs.code import confirmed
from onepath.runs.config import RunConfig

if TYPE_CHECKING:
    from torch import Tensor, nn

    from onepath.data import Task
    from onepath.nn import Supernet
    from onepath.space import Architecture
    from onepath.train import Recipe

SUPERNET, INITIAL = "supernet", "initial"
TABULAR = ("mlp",)
"""The ready-made spaces for tables."""
READING = ("input_size", "fit", "channels", "kind", "target", "seed")
"""Options that say how data are read."""


@dataclass(frozen=True)
class Given:
    """Objects that were given in Python in place of names.

    Attributes:
        data: a task, arrays, a dataset or a table; None where the configuration names the data.
        space: a supernet, a module with choices or a function that returns one; None likewise.
    """

    data: object = None
    space: object = None


class RunDefinition:
    """The data, the supernet and the recipes of a run; a worker process makes its own from the same arguments.

    Args:
        path: the run directory.
        config: its options.
        facts: see `describe`; empty before the data have been seen.
        given: objects in place of names.
        digests: of the weights on the disk.
        reads_only: whether none of the user's own code may be run.

    Attributes:
        reads_only: as given.
        digests: name of a training -> digest of the file of its weights, as far as it is known.
    """

    def __init__(
        self,
        path: Path,
        config: RunConfig,
        facts: Mapping[str, Any],
        given: Given | None = None,
        digests: Mapping[str, str] | None = None,
        *,
        reads_only: bool = False,
    ) -> None:
        self.path = path
        self.config = config
        self.facts: dict[str, Any] = facts.copy() if isinstance(facts, Recorded) else dict(facts)
        self.digests = dict(digests or {})
        self.reads_only = reads_only
        self.objects = Given() if given is None else given

    @property
    def is_loadable(self) -> bool:
        """Whether another process can load the data, the space and the method by their names in the configuration."""
        has_objects = self.objects.data is not None or self.objects.space is not None
        return not has_objects and not self.config.method.startswith(GIVEN_IN_PYTHON)

    @cached_property
    def task(self) -> Task:
        """The data, loaded; compared with what the run began with."""
        from onepath.data import Task, load_data

        config, data = self.config, self.objects.data
        if isinstance(data, Task):
            task: Task = data
        else:
            if data is None and config.data.startswith(GIVEN_IN_PYTHON):
                raise ConfigurationError(
                    f"data given in Python must be given again to continue, but only {self.path} came; "
                    "call onepath.run with the same data"
                )
            task = load_data(
                config.data if data is None else data,
                test=config.test_data,
                root=config.data_root,
                **{name: getattr(config, name) for name in READING},
            )
        if self.facts and self.facts["fingerprint"] != task.fingerprint:
            raise RunDirectoryError(
                f"a run continues with the data it began with, but {config.data} has changed "
                f"({self.facts['fingerprint']} -> {task.fingerprint}); give another --out, or start over with --fresh"
            )
        return task

    def build_supernet(self, seed: int | None = None) -> Supernet:
        """A supernet with its initial weights, the same at every call.

        Args:
            seed: of the initial weights of a space that is built by name; None takes the run's. What was given in
                Python begins with the weights that it came with, which are kept in the run directory.
        """
        if self.reads_only:
            self.config = confirmed(self.config, self.path)
        facts = self.facts or describe(self.task)
        if self.config.model is not None:
            task = None if INITIAL in self.digests else self.task
            return self._with_initial(build_converted(self.config, facts, task))
        if self.objects.space is None:
            if self.config.space.startswith(GIVEN_IN_PYTHON):
                raise ConfigurationError(
                    f"a space given in Python must be given again to continue, but only {self.path} came; "
                    "call onepath.run with the same space"
                )
            return build_named(self.config, facts, seed)
        return self._with_initial(build_given(self.objects.space, self.config, facts, seed))

    def _with_initial(self, supernet: Supernet) -> Supernet:
        """A supernet that was not made from a seed, with the weights that the run began with."""
        if INITIAL in self.digests:
            try:
                supernet.load_state_dict(self.weights(INITIAL))
            except RuntimeError as error:
                raise self.changed_space() from error
        return supernet

    @cached_property
    def blank(self) -> Supernet:
        """A supernet for its space and its costs; its weights are never trained."""
        supernet = self.build_supernet()
        fingerprint = supernet.space.fingerprint
        if self.facts.get("space_fingerprint", fingerprint) != fingerprint:
            raise self.changed_space()
        return supernet

    @cached_property
    def trained(self) -> Supernet:
        """The supernet with the trained weights, read from the disk so that every process sees the same one."""
        return self.supernet_of(SUPERNET)

    def supernet_of(self, name: str) -> Supernet:
        """The supernet with the weights of the training of this name, in eval mode."""
        supernet = self.build_supernet()
        try:
            supernet.load_state_dict(self.weights(name))
        except RuntimeError as error:
            raise self.changed_space() from error
        return supernet.eval()

    def changed_space(self) -> RunDirectoryError:
        """The one line for a space that is not the one the run began with."""
        return RunDirectoryError(
            f"a run continues with the space it began with, but {self.config.space} has changed since; "
            "give another --out, or start over with --fresh"
        )

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Of one example."""
        return plain_shape((self.facts or describe(self.task))["input_shape"])

    def finishing_recipe(self, start: str) -> Recipe | None:
        """The recipe of a stand-alone training from a start; None where nothing is trained."""
        from onepath.methods.job import finishing_recipe, scaled_recipe

        recipe = scaled_recipe(self.config, self.task, self.config.retrain_epochs, retrain=True)
        return finishing_recipe(recipe, start)

    def weights(self, name: str) -> dict[str, Tensor]:
        """The weights of a finished training; RunDirectoryError where they are not as they were written."""
        return load_tensors(weights_path(self.path, name), self.digests.get(name))

    def network(self, architecture: Architecture, start: str, name: str | None = None) -> nn.Module:
        """The stand-alone network in eval mode, with the weights of the training of this name if one is given."""
        from onepath.nn.layout import lay_channels_last

        model = self.blank.extract(architecture, inherit=start != "scratch")
        if name is not None:
            try:
                model.load_state_dict(self.weights(name))
            except RuntimeError as error:
                raise self.changed_space() from error
        if len(self.input_shape) == 3:
            lay_channels_last(model)
        return model.eval()


def plain_shape(shape: Sequence[Any]) -> tuple[Any, ...]:
    """A shape, or a tuple of shapes, as it was before it was written as JSON."""
    return tuple(part if isinstance(part, int) else plain_shape(part) for part in shape)


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
        "is_text": task.reads_words,
        "fingerprint": task.fingerprint,
        "notes": list(task.notes),
        "metric": {
            "name": task.metric_name,
            "higher_is_better": task.higher_is_better,
            "is_share": task.metric_is_share,
        },
    }


def build_named(config: RunConfig, facts: Mapping[str, Any], seed: int | None = None) -> Supernet:
    """The supernet of a configuration for the data, with its initial weights: the same at every call."""
    from onepath import spaces

    check_takes(facts["input_shape"], facts.get("is_text", False), config.space)
    supernet = spaces.build(config.space, **_arguments(config, facts, seed))
    check_reads(supernet, facts.get("is_text", False), config.space)
    return supernet


def build_converted(config: RunConfig, facts: Mapping[str, Any], task: Task | None) -> Supernet:
    """The elastic form of the model that came in.

    Args:
        config: names the model.
        facts: of the data.
        task: on whose training data the importance of channels is measured; None where weights in another order will
            follow, which is much faster.
    """
    from onepath.conversion import convert
    from onepath.conversion.models import load_model
    from onepath.nn.inputs import blank_inputs

    arguments = _arguments(config, facts, None)
    sizes = {name: arguments[name] for name in ("num_classes", "in_channels", "input_size")}
    model = load_model(str(config.model), None if task is None else config.weights, **sizes)
    inputs = blank_inputs(model, plain_shape(facts["input_shape"]))
    options = _conversion_options(config.space_arguments)
    supernet = convert(model, inputs, data=task, **options)
    check_reads(supernet, facts.get("is_text", False), str(config.model))
    return supernet


def _conversion_options(given: Mapping[str, Any]) -> dict[str, Any]:
    """Options of `convert` as a run's arguments of the space name them."""
    import inspect

    from onepath.conversion import convert

    known = [name for name in inspect.signature(convert).parameters][2:]
    known.remove("data")
    for name in given:
        if name not in known:
            raise ConfigurationError(
                f"a space argument beside --model must be one of {', '.join(known)}, but got {shown(name)}; change it"
            )
    return dict(given)


def build_given(
    space: object, config: RunConfig, facts: Mapping[str, Any], seed: int | None = None
) -> Supernet:
    """The supernet of a space given in Python: a copy of a module, or what a function returns.

    Raises:
        ConfigurationError: it is neither.
    """
    from torch import nn

    from onepath import spaces
    from onepath.nn import Supernet

    if isinstance(space, nn.Module):
        supernet = (space if isinstance(space, Supernet) else Supernet(space)).copied()
    elif callable(space):
        supernet = spaces.build(space, **_arguments(config, facts, seed))
    else:
        raise ConfigurationError(
            "a space must be a name, path/to/file.py:function, a function that returns a module, a module or a "
            f"supernet, but got {type(space).__name__}; give one of these"
        )
    check_reads(supernet, facts.get("is_text", False), config.space)
    return supernet


def _arguments(config: RunConfig, facts: Mapping[str, Any], seed: int | None) -> dict[str, Any]:
    shape = facts["input_shape"]
    first = shape if all(isinstance(each, int) for each in shape) else shape[0]
    channels, *size = first or [1]
    return {
        "num_classes": facts["classes"],
        "input_size": min(size, default=None),
        "in_channels": channels,
        "width": config.width,
        "seed": config.seed if seed is None else seed,
        **config.space_arguments,
    }


def check_takes(input_shape: Sequence[Any], is_text: bool, space: str) -> None:
    """Refuse sequences and tables for the ready-made spaces that read images or text.

    Raises:
        ConfigurationError: the space is a ready-made one of another kind of data.
    """
    from onepath import spaces

    if space not in spaces.names() or is_text:
        return
    is_table = len(input_shape) == 1
    if len(input_shape) == 2:
        channels, length = input_shape
        raise ConfigurationError(
            f"sequences need a space of your own, with layers such as nn.Conv1d, but the data are sequences of "
            f"{channels} channels and {length} steps and the space is {space}; give path/to/file.py:function, or "
            f"kind='images' if they are images"
        )
    if is_table != (space in TABULAR):
        came = "a table" if is_table else "images"
        raise ConfigurationError(
            f"a space must read the kind of data that came, but the data are {came} and the space is {space}; "
            f"give space {TABULAR[0] if is_table else 'shufflenet'}, or one of your own"
        )


def check_reads(supernet: Supernet, is_text: bool, space: str) -> None:
    """Refuse numbers for a space of language models, and text for one of networks that read numbers.

    Raises:
        ConfigurationError: the space reads the other kind of data.
    """
    from onepath.nn.inputs import input_dtype

    kinds = ("text", "images")
    wanted, came = kinds[input_dtype(supernet).is_floating_point], kinds[not is_text]
    if wanted != came:
        raise ConfigurationError(
            f"a space must read the kind of data that came, but {space} reads {wanted} and the data are {came}; give "
            f"{wanted}, or another space"
        )
