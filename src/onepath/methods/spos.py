"""Single Path One-Shot.

Source: Guo et al., "Single Path One-Shot Neural Architecture Search with Uniform Sampling", ECCV 2020 (arXiv
1904.00420). Follows section 3: a supernet in which every update trains one uniformly sampled path (equation 8), then
an evolutionary search over the fixed weights (equation 7, Algorithm 1) under hard limits (equation 5). Differs from
it: ties in validation accuracy go to less validation loss; scores come from a split of the training data; and the
defaults of the training are scaled to the size of the data.
"""

from __future__ import annotations

from collections.abc import Sequence

from onepath.cost import Constraint
from onepath.data import Task
from onepath.methods.supernet_search import Found, search_supernet
from onepath.nn import Supernet
from onepath.search import Evolution
from onepath.train import UniformSampler, train_supernet
from onepath.train.checks import warn_unless_fresh


def spos(
    supernet: Supernet,
    data: Task,
    *,
    constraints: Sequence[Constraint] = (),
    epochs: int | None = None,
    population: int = 50,
    generations: int = 20,
    seed: int = 0,
) -> Found:
    """Train a supernet path by path and search it.

    Args:
        supernet: trained in place.
        data: the training split trains, the validation split scores; the test split is not read.
        constraints: hard limits on the architectures found.
        epochs: of the supernet's training; None scales the paper's length to the data.
        population: architectures evaluated per generation.
        generations: after the first, random one.
        seed: of all that is drawn.
    """
    warn_unless_fresh(supernet)
    train_supernet(supernet, data, sampler=UniformSampler(supernet.space), epochs=epochs, seed=seed)
    algorithm = Evolution(supernet.space, seed=seed, population=population, generations=generations)
    return search_supernet(supernet, data, algorithm, constraints=constraints)
