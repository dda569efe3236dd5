"""One network trained on its own: what to train, and the training, in whichever process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from onepath.runs.definition import RunDefinition
from onepath.record import save_tensors
from onepath.record.directory import training_checkpoint, weights_path

if TYPE_CHECKING:
    from torch import nn

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
        validation: accuracy on the validation split, of the weights on the disk.
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
    materials: RunDefinition,
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
    from onepath.estimate import recalibrate_on_task
    from onepath.train import train_model

    config = materials.config
    model = _initial(materials, network)
    curve = train_model(
        model,
        materials.task,
        recipe=materials.recipe(retrain=True),
        seed=network.seed,
        device=config.train_on,
        checkpoint=training_checkpoint(materials.path, network.name, checkpoint_seconds),
        on_point=on_point,
        on_update=on_update,
    )
    recalibrate_on_task(
        model,
        materials.task,
        config.calibration_images,
        device=config.train_on,
        precision=config.precision,
        seed=network.seed,
    )
    weights = save_tensors(weights_path(materials.path, network.name), model.state_dict())
    materials.digests[network.name] = weights
    return TrainedNetwork(accuracy(materials, network, "validation"), curve, weights)


def accuracy(materials: RunDefinition, network: PlannedNetwork, split: Split) -> float:
    """The task's score of the weights on the disk, so that a kill before the evaluation changes nothing."""
    from onepath.train import evaluate

    config = materials.config
    architecture = materials.blank.space.parse(network.architecture)
    model = materials.network(architecture, network.start, network.name)
    found = evaluate(model, materials.task, split, device=config.train_on, precision=config.precision)
    return materials.task.score(found.metric)


def _initial(materials: RunDefinition, network: PlannedNetwork) -> nn.Module:
    architecture = materials.blank.space.parse(network.architecture)
    if network.start == "inherited":
        return materials.trained.extract(architecture, inherit=True)
    return materials.blank.extract(architecture, inherit=False, seed=network.seed)
