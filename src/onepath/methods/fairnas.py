"""FairNAS.

Source: Chu et al., "FairNAS: Rethinking Evaluation Fairness of Weight Sharing Neural Architecture Search" (arXiv
1907.01845). A supernet is trained with strict fairness, then NSGA-II searches its fixed weights for the front of
accuracy, multiply-accumulates and parameters. Differs from it: limits are hard; scores come from a split of the
training data; ties in accuracy go to less loss; the training is scaled to the size of the data, and short ones start
from one path.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from onepath.cost import Constraint, counter
from onepath.data import Task
from onepath.methods.supernet_search import Found, search_supernet
from onepath.nn import Supernet
from onepath.search import NSGA2
from onepath.train import Recipe, Reduction, StrictFairnessSampler, train_supernet
from onepath.train.checks import warn_unless_fresh


def fairnas(
    supernet: Supernet,
    data: Task,
    *,
    constraints: Sequence[Constraint] = (),
    epochs: int | None = None,
    population: int = 50,
    generations: int = 20,
    reduction: Reduction = "sum",
    seed: int = 0,
) -> Found:
    """Train all candidates of every block at the same time and search for a front; see `front_of` for the front.

    Args:
        supernet: trained in place; all its choices are always active.
        data: the training split trains, the validation split scores; the test split is not read.
        constraints: hard limits on the architectures found.
        epochs: of the supernet's training, each of as many passes over the data as a block has candidates; None
            takes as many passes in all as `spos` would.
        population: architectures evaluated per generation.
        generations: after the first, random one.
        reduction: of the gradients of what all paths share; see `train_supernet`.
        seed: of all that is drawn.

    Raises:
        ConfigurationError: some choices depend on others.
    """
    warn_unless_fresh(supernet)
    sampler = StrictFairnessSampler(supernet.space)
    recipe = Recipe.for_task(data, epochs=epochs)
    recipe = fair_recipe(recipe, sampler.num_paths) if epochs is None else recipe
    train_supernet(supernet, data, sampler=sampler, recipe=recipe, reduction=reduction, seed=seed)
    costs = [counter(supernet, data.input_shape, kind)[0] for kind in ("macs", "params")]
    algorithm = NSGA2(supernet.space, seed=seed, population=population, generations=generations, costs=costs)
    return search_supernet(supernet, data, algorithm, constraints=constraints)


def fair_recipe(recipe: Recipe, num_paths: int) -> Recipe:
    """A recipe for `num_paths` paths per update that costs about as many passes as `recipe` with one."""
    epochs = math.ceil(recipe.epochs / num_paths)
    return dataclasses.replace(
        recipe, epochs=epochs, warmup_epochs=recipe.warmup_epochs * epochs / recipe.epochs
    )
