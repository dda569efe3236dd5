"""The definition of a run: its data, supernet and recipes, made from a configuration at first use; nothing writes."""

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
"""Names of the ready-made spaces for tables."""
READING = ("input_size", "fit", "channels", "kind", "target", "seed")
"""Names of the options that say how the data are read."""


@dataclass(frozen=True)
class Given:
    """Objects that were given in Python instead of names.

    Attributes:
        data: a task, arrays, a dataset or a table; None if the configuration names the data.
        space: a supernet, a module with choices or a function that returns one; None if the configuration names the
            space.
    """

    data: object = None
    space: object = None


class RunDefinition:
    """The data, the supernet and the recipes of a run; a worker process makes its own from the same arguments.

    Args:
        path: path of the run directory.
        config: options of the run.
        facts: facts about the data, see `describe`; empty before the data have been read.
        given: objects that were given in Python instead of names.
        digests: name of a training -> digest of the file of its weights; copied.
        reads_only: whether the user's own code must not be run.

    Attributes:
        reads_only: as given.
        objects: as `given`; without objects, both of its fields are None.
        digests: name of a training -> digest of the file of its weights, for the trainings whose digest is known.
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
        """The data, loaded at first use and compared with the data that the run began with.

        Raises:
            ConfigurationError: the run began with data given in Python, and they were not given again.
            RunDirectoryError: the data are not those that the run began with.
        """
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
        """Build a supernet with its initial weights, which are the same at every call.

        A converted model, or a space given in Python, has the initial weights that are kept in the run directory, or
        before they are kept the weights that it came with.

        Args:
            seed: seed of the initial weights of a space that is built by name; None takes the run's seed.

        Raises:
            ConfigurationError: the run began with a space given in Python, and it was not given again; or the run is
                only read and has code of the user's own.
            RunDirectoryError: the initial weights that are kept do not fit the space.
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

    def supernet_to_train(self, seed: int | None = None) -> Supernet:
        """Build a supernet with its initial weights, as the method trains it; see `Method.weights`.

        Args:
            seed: seed of the initial weights, see `build_supernet`; None takes the run's seed.
        """
        from onepath.methods.method import give_weights

        own = self.config.seed if seed is None else seed
        return give_weights(self.config.options, self.build_supernet(seed), self.input_shape, own)

    def at_width(self, factor: float) -> Supernet:
        """Return a fresh supernet of the same choices, with the width of the networks multiplied by a factor.

        Raises:
            ConfigurationError: the space is not built by a function that takes a width, or has other choices then.
        """
        config = self.config.model_copy(update={"width": factor * (self.config.width or 1.0)})
        if config.model is not None or not (self.objects.space is None or callable(self.objects.space)):
            raise ConfigurationError(
                "another width needs a space that is built by its name or a function, but "
                f"{config.model or 'a module'} came with the width {factor:g}; leave the width out"
            )
        facts = self.facts or describe(self.task)
        if self.objects.space is None:
            supernet = build_named(config, facts)
        else:
            supernet = build_given(self.objects.space, config, facts)
        own, other = (each.space.num_options.tolist() for each in (self.blank, supernet))
        if own != other:
            raise ConfigurationError(
                f"a space must have the same choices at every width, but at {factor:g} times the width {config.space} "
                f"has {len(other)} choices of {sum(other)} options instead of {len(own)} of {sum(own)}; leave it out"
            )
        return supernet

    def _with_initial(self, supernet: Supernet) -> Supernet:
        """Load the weights that the run began with into a supernet that was not made from a seed, and return it."""
        if INITIAL in self.digests:
            try:
                supernet.load_state_dict(self.weights(INITIAL))
            except RuntimeError as error:
                raise self.changed_space() from error
        return supernet

    @cached_property
    def blank(self) -> Supernet:
        """A supernet that is used for its space and its costs; its weights are the initial ones and never trained.

        Raises:
            RunDirectoryError: the space is not the one that the run began with.
        """
        supernet = self.build_supernet()
        fingerprint = supernet.space.fingerprint
        if self.facts.get("space_fingerprint", fingerprint) != fingerprint:
            raise self.changed_space()
        return supernet

    @cached_property
    def trained(self) -> Supernet:
        """The supernet with its trained weights, read from the disk so that every process has the same weights."""
        return self.supernet_of(SUPERNET)

    def supernet_of(self, name: str) -> Supernet:
        """Return a supernet with the weights of a finished training, in eval mode.

        Args:
            name: name of the training, such as "supernet".

        Raises:
            RunDirectoryError: the file of the weights is absent or has changed, or it does not fit the space.
        """
        supernet = self.supernet_to_train()
        try:
            supernet.load_state_dict(self.weights(name))
        except RuntimeError as error:
            raise self.changed_space() from error
        return supernet.eval()

    def changed_space(self) -> RunDirectoryError:
        """Return the error for a space that is not the one that the run began with."""
        return RunDirectoryError(
            f"a run continues with the space it began with, but {self.config.space} has changed since; "
            "give another --out, or start over with --fresh"
        )

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one example, without the batch; a tuple of shapes if an example has several inputs."""
        return plain_shape((self.facts or describe(self.task))["input_shape"])

    @property
    def usual_epochs(self) -> float:
        """Epochs of a stand-alone training by the size of the data, whatever was asked for."""
        from onepath.methods.job import scaled_recipe

        return scaled_recipe(self.config, self.task, None, retrain=True).epochs

    def finishing_recipe(self, start: str) -> Recipe | None:
        """Return the recipe of a stand-alone training from a start; None if the start "as-is" needs no training.

        Args:
            start: start of the training: "scratch", "inherited", "fine-tuned" or "as-is".
        """
        from onepath.methods.finishing import finishing_recipe
        from onepath.methods.job import scaled_recipe

        recipe = scaled_recipe(self.config, self.task, self.config.retrain_epochs, retrain=True)
        return finishing_recipe(recipe, start)

    def weights(self, name: str) -> dict[str, Tensor]:
        """Return the weights of a finished training, name of a tensor -> tensor.

        Args:
            name: name of the training, such as "supernet" or "winner-scratch".

        Raises:
            RunDirectoryError: the file of the weights is absent, or not as it was written.
        """
        return load_tensors(weights_path(self.path, name), self.digests.get(name))

    def network(self, architecture: Architecture, start: str, name: str | None = None) -> nn.Module:
        """Return the stand-alone network of an architecture, in eval mode.

        Args:
            architecture: an architecture of the run's space.
            start: start of its training, such as "scratch"; it decides how the network is extracted.
            name: name of the finished training whose weights are loaded; None loads none.

        Raises:
            RunDirectoryError: the file of the weights is absent or has changed, or it does not fit the network.
        """
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
    """Return a shape, or a tuple of shapes, that was read from JSON as nested tuples instead of lists."""
    return tuple(part if isinstance(part, int) else plain_shape(part) for part in shape)


def describe(task: Task) -> dict[str, Any]:
    """Return the facts about the data that the results state, and the fingerprint that recognises the data."""
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
    """Build the supernet of the space that a configuration names; its initial weights depend only on the seed.

    Args:
        config: the options of the run.
        facts: facts about the data, see `describe`.
        seed: seed of the initial weights; None takes the configuration's.

    Raises:
        ConfigurationError: the space reads another kind of data.
    """
    from onepath import spaces

    check_takes(facts["input_shape"], facts.get("is_text", False), config.space)
    supernet = spaces.build(config.space, **_arguments(config, facts, seed))
    check_reads(supernet, facts.get("is_text", False), config.space)
    return supernet


def build_converted(config: RunConfig, facts: Mapping[str, Any], task: Task | None) -> Supernet:
    """Build the supernet that the model of a configuration is converted to.

    Args:
        config: the options of the run, with the name of the model.
        facts: facts about the data, see `describe`.
        task: data on whose training examples the importance of channels is measured. None skips that and the model's
            weights, which is much faster, if weights in the right order are loaded afterwards.

    Raises:
        ConfigurationError: a space argument is no option of the conversion, or the model reads another kind of data.
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
    """Return the options of `convert` from the space arguments of a run; refuse arguments that are none."""
    import inspect

    from onepath.conversion import convert

    known = list(inspect.signature(convert).parameters)[2:]
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
    """Build the supernet of a space given in Python: from a copy of a module, or from what a function returns.

    Args:
        space: a supernet, a module with choices, or a function that returns one.
        config: the options of the run.
        facts: facts about the data, see `describe`.
        seed: seed for the function; None takes the configuration's.

    Raises:
        ConfigurationError: `space` is neither a module nor a function, it reads another kind of data, or a source makes
            its weights.
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
    if supernet.weights is not None:
        raise ConfigurationError(
            "a run begins with a supernet that holds its weights, but those of this one are made by a hypernetwork; "
            "give a supernet without one, and method smash or ghn"
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
    """Raise if a ready-made space cannot read sequences or tables; text is checked by `check_reads`.

    Args:
        input_shape: shape of one example, without the batch.
        is_text: whether the data are text.
        space: name of the space; a space of the user's own is not checked.

    Raises:
        ConfigurationError: the space is a ready-made one for another kind of data.
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
    """Raise if a space of language models is given numbers, or a space of other networks is given text.

    Args:
        supernet: supernet of the space.
        is_text: whether the data are text.
        space: name of the space, for the message.

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
