"""How a network is finished: its first weights, its recipe, its teacher, and its training."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Literal

import torch

from onepath.errors import ConfigurationError
from onepath.estimate import recalibrate_on_task
from onepath.nn.alignment import widest_path
from onepath.randomness import generator
from onepath.search.halving import HALVING
from onepath.train import Distillation, train_model
from onepath.tree import call

if TYPE_CHECKING:
    from torch import nn

    from onepath.data import Task
    from onepath.nn import Supernet
    from onepath.space import Architecture
    from onepath.train import Recipe, TrainingPoint

Teacher = Literal["labels", "model"]
"""What networks learn from while they are finished: the labels alone, or also the outputs of the given model."""

_FINE_TUNED_EPOCHS, _FINE_TUNED_RATE = 0.25, 0.1


def network_seed(seed: int, number: int) -> int:
    """Return the seed of a stand-alone network's training; the winner has number 0."""
    return int(generator(seed, "retrain", number).integers(2**31))


def starts_of(finish: str | None) -> tuple[str, ...]:
    """Return the starts of the winner's trainings, such as "scratch", for a way to finish it, see `Finish`."""
    assert finish is not None, "the configuration is resolved"
    if finish == "both":
        return "scratch", "inherited"
    return ("scratch",) if finish == HALVING else (finish,)


def initial_network(supernet: Supernet, architecture: Architecture, start: str, seed: int) -> nn.Module:
    """Return a stand-alone network before it is finished.

    Args:
        supernet: the supernet that the architecture belongs to; not changed.
        architecture: the architecture of the network.
        start: "scratch" gives fresh weights; every other value gives those of the supernet.
        seed: seed of fresh weights.
    """
    if start == "scratch":
        return supernet.extract(architecture, inherit=False, seed=seed)
    return supernet.extract(architecture, inherit=True)


def finishing_recipe(recipe: Recipe, start: str) -> Recipe | None:
    """Return the recipe by which a network is finished; None for "as-is", which trains nothing.

    Args:
        recipe: recipe of a stand-alone training from scratch.
        start: how the network is finished; "fine-tuned" has a quarter of the epochs at a tenth of the rate.
    """
    if start == "as-is":
        return None
    if start != "fine-tuned":
        return recipe
    epochs = max(1, round(_FINE_TUNED_EPOCHS * recipe.epochs))
    return dataclasses.replace(
        recipe,
        epochs=epochs,
        learning_rate=_FINE_TUNED_RATE * recipe.learning_rate,
        final_rate=_FINE_TUNED_RATE * recipe.final_rate,
        warmup_epochs=recipe.warmup_epochs * epochs / recipe.epochs,
    )


def check_teacher(supernet: Supernet, task: Task) -> None:
    """Raise unless a given model can teach networks that are finished.

    Raises:
        ConfigurationError: the supernet was not converted from a model, or the model does not return one tensor.
    """
    if supernet.conversion is None:
        raise ConfigurationError(
            "finish_teacher='model' means the model that was given, but none was; give a model, or "
            "finish_teacher='labels'"
        )
    with torch.no_grad():
        outputs = call(supernet.extract(widest_path(supernet)).eval(), task.example_inputs("train", 2))
    if not isinstance(outputs, torch.Tensor):
        raise ConfigurationError(
            f"finish_teacher='model' needs a model that returns one tensor, but it returns {type(outputs).__name__}; "
            "give finish_teacher='labels'"
        )


def finishing_objective(teacher: nn.Module | None, recipe: Recipe | None) -> Distillation | None:
    """Return the loss of a network that is finished; None for the loss of the task alone.

    Args:
        teacher: the network from whose outputs it learns too; None for the labels alone.
        recipe: gives the label smoothing; None for a network that is not trained.
    """
    if recipe is None or teacher is None:
        return None
    return Distillation(recipe.label_smoothing, teacher=teacher)


def given_model(teacher: Teacher | None, supernet: Supernet) -> nn.Module | None:
    """Return the model that teaches networks while they are finished; None without a teacher.

    Args:
        teacher: what networks learn from; None stands for the labels.
        supernet: the converted model, with its original weights.
    """
    return supernet.extract(widest_path(supernet)) if teacher == "model" else None


def finish_network(
    model: nn.Module,
    task: Task,
    recipe: Recipe | None,
    *,
    seed: int,
    device: str | torch.device,
    calibration_images: int,
    **training: Any,
) -> list[TrainingPoint]:
    """Train a plain network if there is a recipe, recalibrate its normalisation, and return its training curve.

    Args:
        model: the network; trained and recalibrated in place.
        task: the data.
        recipe: optimizer, schedule and length; None trains nothing.
        seed: seed of the training and of the examples for recalibration.
        device: where to train.
        calibration_images: number of training examples on which normalisation is recalibrated.
        training: further arguments of `train_model`: the objective, the checkpoint and hooks.

    Returns:
        The curve of the training; empty without a recipe.
    """
    curve = []
    if recipe is not None:
        curve = train_model(model, task, recipe=recipe, seed=seed, device=device, **training)
    precision = "float32" if recipe is None else recipe.precision
    recalibrate_on_task(model, task, calibration_images, device=device, precision=precision, seed=seed)
    return curve
