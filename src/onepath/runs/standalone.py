"""One network trained on its own: what to train, and the training, in whichever process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from onepath.record import save_tensors
from onepath.record.directory import training_checkpoint, weights_path
from onepath.runs.definition import RunDefinition

if TYPE_CHECKING:
    from onepath.data import Split
    from onepath.train import TrainingPoint


@dataclass(frozen=True)
class PlannedNetwork:
    """A network to train: see `NetworkRow` for the fields."""

    role: str
    start: str
    architecture: str
    seed: int
    inherited_validation: float | None

    @property
    def name(self) -> str:
        """Of its curve and its files."""
        return f"{self.role}-{self.start}"


@dataclass(frozen=True)
class TrainedNetwork:
    """What a training gives beside the weights.

    Attributes:
        validation: score on the validation split, of the weights on the disk.
        curve: the whole curve, over all processes.
        weights: digest of the file of the weights; None where it is not known.
    """

    validation: float
    curve: list[TrainingPoint]
    weights: str | None = None

    @property
    def seconds(self) -> float:
        """Time of the training, over all processes."""
        return self.curve[-1].seconds if self.curve else 0.0


def train_network(
    definition: RunDefinition,
    network: PlannedNetwork,
    *,
    checkpoint_seconds: float,
    on_point: Callable[[TrainingPoint], None],
    on_update: Callable[[int, int], None],
) -> TrainedNetwork:
    """Train a network and keep its weights; killed and called again, it continues from its checkpoint.

    The checkpoint stays: only when the result is stored is it of no more use. The network's files are its own, so that
    several may be trained at the same time.
    """
    from onepath.methods.job import finish_network, initial_network
    from onepath.nn.layout import lay_channels_last

    config = definition.config
    architecture = definition.blank.space.parse(network.architecture)
    supernet = definition.blank if network.start == "scratch" else definition.trained
    model = initial_network(supernet, architecture, network.start, network.seed)
    if len(definition.input_shape) == 3:
        lay_channels_last(model)
    curve = finish_network(
        model,
        definition.task,
        definition.finishing_recipe(network.start),
        seed=network.seed,
        device=config.train_on,
        calibration_images=config.calibration_images,
        checkpoint=training_checkpoint(definition.path, network.name, checkpoint_seconds),
        on_point=on_point,
        on_update=on_update,
    )
    weights = save_tensors(weights_path(definition.path, network.name), model.state_dict())
    definition.digests[network.name] = weights
    return TrainedNetwork(network_score(definition, network, "validation"), curve, weights)


def network_score(definition: RunDefinition, network: PlannedNetwork, split: Split) -> float:
    """The task's score of the weights on the disk, so that a kill before the evaluation changes nothing."""
    from onepath.train import evaluate

    config = definition.config
    architecture = definition.blank.space.parse(network.architecture)
    model = definition.network(architecture, network.start, network.name)
    found = evaluate(model, definition.task, split, device=config.train_on, precision=config.precision)
    return definition.task.score(found.metric)
