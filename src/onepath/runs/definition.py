"""What follows from a configuration and its run directory, made at first use; nothing here writes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onepath.errors import ConfigurationError, RunDirectoryError
from onepath.runs.config import RunConfig
from onepath.runs.methods import METHODS
from onepath.runs.resolving import GIVEN_IN_PYTHON, build_supernet, confirmed, describe, make_recipe
from onepath.record import load_tensors
from onepath.record.directory import weights_path
from onepath.record.stage_records import Recorded

if TYPE_CHECKING:
    from torch import Tensor, nn

    from onepath.data import Task
    from onepath.nn import Supernet
    from onepath.space import Architecture
    from onepath.train import Recipe

SUPERNET = "supernet"
READING = ("input_size", "fit", "channels", "kind", "seed")  # options that say how data are read


class RunDefinition:
    """The data, the supernet and the recipes of a run; a worker process makes its own from the same arguments.

    Args:
        path: the run directory.
        config: its options.
        facts: see `describe`; empty before the data have been seen.
        data: a task or arrays given in Python, in place of `config.data`.
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
        data: object = None,
        digests: Mapping[str, str] | None = None,
        *,
        reads_only: bool = False,
    ) -> None:
        self.path = path
        self.config = config
        self.facts: dict[str, Any] = facts.copy() if isinstance(facts, Recorded) else dict(facts)
        self.digests = dict(digests or {})
        self.reads_only = reads_only
        self._data = data

    @property
    def is_loadable(self) -> bool:
        """Whether another process can load the data by their name in the configuration."""
        return self._data is None

    @cached_property
    def task(self) -> Task:
        """The data, loaded; compared with what the run began with."""
        from onepath.data import Task, load_data

        config = self.config
        if isinstance(self._data, Task):
            task: Task = self._data
        else:
            if self._data is None and config.data.startswith(GIVEN_IN_PYTHON):
                raise ConfigurationError(
                    f"data given in Python must be given again to continue, but only {self.path} came; "
                    "call onepath.run with the same data"
                )
            source = config.data if self._data is None else self._data
            task = load_data(
                source,
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

    def build_supernet(self) -> Supernet:
        """A supernet with its initial weights, the same at every call."""
        if self.reads_only:
            self.config = confirmed(self.config, self.path)
        return build_supernet(self.config, self.facts or describe(self.task))

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
        supernet = self.build_supernet()
        try:
            supernet.load_state_dict(self.weights(SUPERNET))
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
        return tuple((self.facts or describe(self.task))["input_shape"])

    def recipe(self, *, retrain: bool) -> Recipe:
        """The recipe of the supernet's training, or of each stand-alone training."""
        config = self.config
        epochs = config.retrain_epochs if retrain else config.epochs
        recipe = make_recipe(self.facts, epochs, retrain=retrain)
        recipe = recipe if retrain else METHODS[config.method].recipe(recipe)
        assert config.batch_size is not None, "the configuration is resolved"
        assert config.learning_rate is not None, "the configuration is resolved"
        return replace(
            recipe,
            batch_size=config.batch_size,
            learning_rate=config.learning_rate,
            precision=config.precision,
        )

    @property
    def num_supernet_updates(self) -> int:
        """Of the whole training of the supernet."""
        recipe = self.recipe(retrain=False)
        return recipe.epochs * self.task.updates_per_epoch(recipe.batch_size)

    def weights(self, name: str) -> dict[str, Tensor]:
        """The weights of a finished training; RunDirectoryError where they are not as they were written."""
        return load_tensors(weights_path(self.path, name), self.digests.get(name))

    def network(self, architecture: Architecture, start: str, name: str | None = None) -> nn.Module:
        """The stand-alone network in eval mode, with the weights of the training of this name if one is given."""
        from onepath.nn.layout import lay_channels_last

        model = self.blank.extract(architecture, inherit=start == "inherited")
        if name is not None:
            try:
                model.load_state_dict(self.weights(name))
            except RuntimeError as error:
                raise self.changed_space() from error
        if len(self.input_shape) == 3:
            lay_channels_last(model)
        return model.eval()
