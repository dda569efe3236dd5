"""One stand-alone network: what is to be trained, and its training, in this process or in a worker."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from onepath.record import save_tensors
from onepath.record.directory import training_checkpoint, weights_path
from onepath.runs.definition import RunDefinition

if TYPE_CHECKING:
    from onepath.data import Split
    from onepath.estimate import StandaloneEstimator
    from onepath.estimate.proxy import Proxy
    from onepath.train import TrainingPoint


@dataclass(frozen=True)
class PlannedNetwork:
    """A stand-alone network that is to be trained; see `NetworkRow` for the other fields.

    Attributes:
        share: share of its training after which it pauses.
        seconds: how long its whole training takes, see `train_model`; None follows the recipe.
    """

    role: str
    start: str
    architecture: str
    seed: int
    inherited_validation: float | None
    share: float = 1.0
    seconds: float | None = None

    @property
    def name(self) -> str:
        """Name of the network's curve and files, such as "winner-scratch"."""
        return f"{self.role}-{self.start}"


@dataclass(frozen=True)
class TrainedNetwork:
    """The result of a stand-alone training, without the weights.

    Attributes:
        validation: the task's score on the validation split with the weights on the disk, higher is better.
        curve: every point of the training curve, those of earlier processes included.
        weights: digest of the file of the weights; None if it is not known.
    """

    validation: float
    curve: list[TrainingPoint]
    weights: str | None = None

    @property
    def seconds(self) -> float:
        """Seconds of the training, over all processes; 0 if nothing was trained."""
        return self.curve[-1].seconds if self.curve else 0.0


def train_network(
    definition: RunDefinition,
    network: PlannedNetwork,
    *,
    checkpoint_seconds: float,
    on_point: Callable[[TrainingPoint], None],
    on_update: Callable[[int, int], None],
) -> TrainedNetwork:
    """Train a network and write its weights; after a kill, a second call continues from the checkpoint.

    The checkpoint is not deleted, because it is needed until the caller has stored the result. Every network has its
    own files, so that several may be trained at the same time.

    Args:
        definition: definition of the run; the digest of the weights is added to its `digests`.
        network: the network to train.
        checkpoint_seconds: seconds between two saves of the training.
        on_point: called with each point of the training curve.
        on_update: called after each update with its number, from 1, and the number of updates in all.
    """
    from onepath.methods.finishing import finish_network, finishing_objective, given_model, initial_network
    from onepath.nn.layout import lay_channels_last

    config = definition.config
    architecture = definition.blank.space.parse(network.architecture)
    supernet = definition.blank if network.start == "scratch" else definition.trained
    model = initial_network(supernet, architecture, network.start, network.seed)
    if len(definition.input_shape) == 3:
        lay_channels_last(model)
    recipe = definition.finishing_recipe(network.start)

    def told(update: int, num_updates: int) -> None:
        on_update(update, math.ceil(network.share * num_updates))

    curve = finish_network(
        model,
        definition.task,
        recipe,
        seed=network.seed,
        device=config.train_on,
        calibration_images=config.calibration_images,
        objective=finishing_objective(given_model(config.finish_teacher, definition.blank), recipe),
        checkpoint=training_checkpoint(definition.path, network.name, checkpoint_seconds),
        on_point=on_point,
        on_update=told,
        until=network.share,
        seconds=network.seconds,
    )
    weights = save_tensors(weights_path(definition.path, network.name), model.state_dict())
    definition.digests[network.name] = weights
    return TrainedNetwork(network_score(definition, network, "validation"), curve, weights)


def standalone_of(run: RunDefinition, proxy: Proxy) -> StandaloneEstimator:
    """Return an estimator that trains a run's networks by themselves in this process; see `Job.trained_alone`.

    Raises:
        ConfigurationError: the space cannot be built at another width, or the data cannot be cut down.
    """
    from onepath.methods.job import standalone_estimator

    supernet = run.blank if proxy.width == 1 else run.at_width(proxy.width)
    return standalone_estimator(supernet, run.task, proxy, run.config, run.config.train_on)


def network_score(definition: RunDefinition, network: PlannedNetwork, split: Split) -> float:
    """Return the task's score of a network with its weights on the disk, higher is better.

    The weights are read from the disk, so that a kill before the evaluation changes nothing.
    """
    from onepath.train import evaluate

    config = definition.config
    architecture = definition.blank.space.parse(network.architecture)
    model = definition.network(architecture, network.start, network.name)
    found = evaluate(model, definition.task, split, device=config.train_on, precision=config.precision)
    return definition.task.score(found.metric)
