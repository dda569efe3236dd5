"""What `darts_on_table.py` trains: the task, the supernet, and each method's differentiable search and recipes."""

from __future__ import annotations

import argparse
import copy
import dataclasses

from resumable import load_cifar

from onepath import spaces
from onepath.data import Task
from onepath.estimate import SupernetEstimator
from onepath.methods.darts import darts_recipe
from onepath.nn import Supernet
from onepath.nn.relaxations import GumbelRelaxation, Relaxation, SoftmaxRelaxation, TwoPathRelaxation
from onepath.train import ArchitectureRecipe, ArchitectureTraining, Recipe

PAPER_UPDATES = 19_500
LARGEST_RATE = 0.05


def in_rounds(task: Task, num_updates: int) -> Task:
    """Return a copy of the task in which an epoch of a training has `num_updates` updates; the batches are the same."""
    rounds = copy.copy(task)
    rounds.updates_per_epoch = lambda _: num_updates  # type: ignore[method-assign]
    return rounds


def relaxed(
    options: argparse.Namespace, method: str, seed: int, per_round: int, num_rounds: int
) -> tuple[Supernet, ArchitectureTraining]:
    """Return a new supernet and the training of its logits."""
    supernet = build(options, seed)
    kinds: dict[str, type[Relaxation]] = {"gdas": GumbelRelaxation, "proxyless": TwoPathRelaxation}
    relaxation = kinds.get(method, SoftmaxRelaxation)(supernet, seed=seed)
    scale = max(1.0, PAPER_UPDATES / (per_round * num_rounds))
    recipe = ArchitectureRecipe(
        order="second" if method == "darts-second" else "first",
        learning_rate=min(LARGEST_RATE, 3e-4 * scale),
        watch_eigenvalue=options.eigenvalue and method.startswith("darts"),
    )
    if method == "proxyless":
        recipe = ArchitectureRecipe(
            learning_rate=min(LARGEST_RATE, 1e-3 * scale),
            betas=(0.0, 0.999),
            weight_decay=0.0,
            warmup_epochs=num_warmup(num_rounds),
        )
    return supernet, ArchitectureTraining(supernet, relaxation, recipe, seed=seed)


def num_warmup(num_rounds: int) -> int:
    """Return the number of rounds in which ProxylessNAS trains weights alone."""
    return num_rounds // 3


def estimator_of(options: argparse.Namespace, supernet: Supernet, task: Task, seed: int) -> SupernetEstimator:
    return SupernetEstimator(
        supernet,
        task,
        calibration_images=options.calibration_images,
        validation_images=options.validation_images,
        device=options.device,
        seed=seed,
    )


def build(options: argparse.Namespace, seed: int) -> Supernet:
    return spaces.build(
        "nasbench201",
        10,
        input_size=options.input_size,
        in_channels=3,
        width=options.width,
        num_cells=options.num_cells,
        seed=seed,
    )


def weights_recipe(options: argparse.Namespace, num_rounds: int) -> Recipe:
    recipe = darts_recipe(num_rounds, options.batch_size)
    rate = options.learning_rate
    return dataclasses.replace(recipe, learning_rate=rate, final_rate=rate / 25)


def load(options: argparse.Namespace) -> Task:
    return load_cifar(options, None if options.input_size == 32 else options.input_size)
