"""One-shot search with path dropout.

Source: Bender et al., "Understanding and Simplifying One-Shot Architecture Search", ICML 2018. All candidates of a
block are trained together, some of them dropped at random and more of them as the training goes on; then random
architectures are scored with the fixed weights. Differs from it: limits are hard; normalisation is recalibrated for
each architecture; a block whose candidates are all dropped keeps one; the training is scaled to the size of the data.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from onepath.cost import Constraint
from onepath.data import Task
from onepath.methods.supernet_search import Found, search_supernet
from onepath.nn import Supernet
from onepath.search import RandomSearch
from onepath.train import PathDropoutSampler, Recipe, train_supernet
from onepath.train.checks import warn_unless_fresh


def one_shot(
    supernet: Supernet,
    data: Task,
    *,
    constraints: Sequence[Constraint] = (),
    epochs: int | None = None,
    rate: float = 0.1,
    num_ghost_batches: int = 1,
    num: int = 1000,
    seed: int = 0,
) -> Found:
    """Train a supernet with path dropout and score random architectures.

    Args:
        supernet: trained in place.
        data: the training split trains, the validation split scores; the test split is not read.
        constraints: hard limits on the architectures found.
        epochs: of the supernet's training; None scales its length to the data.
        rate: see `PathDropoutSampler`, which takes it.
        num_ghost_batches: parts of each batch that have masks of their own.
        num: architectures scored.
        seed: of all that is drawn.

    Raises:
        ConfigurationError: a size depends on a choice block, or `rate` is out of its range.
    """
    warn_unless_fresh(supernet)
    # Sums of candidates from the first update: a start from one path would train weights of another scale.
    recipe = dataclasses.replace(Recipe.for_task(data, epochs=epochs), one_path=0.0)
    num_updates = recipe.epochs * data.updates_per_epoch(recipe.batch_size)
    sampler = PathDropoutSampler(supernet.space, num_updates, rate=rate, num_ghost_batches=num_ghost_batches)
    train_supernet(supernet, data, sampler=sampler, recipe=recipe, seed=seed)
    return search_supernet(
        supernet, data, RandomSearch(supernet.space, seed=seed, num=num), constraints=constraints
    )
