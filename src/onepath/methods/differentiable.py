"""What the differentiable methods share: train weights and logits together, then take the best legal architecture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from onepath.cost import Constraint
from onepath.data import Task
from onepath.errors import InfeasibleError
from onepath.methods.supernet_search import feasible_set
from onepath.nn import Supernet
from onepath.nn.relaxations import Relaxation, Rule, derive
from onepath.randomness import generator
from onepath.search.feasible import Constraint as Limit
from onepath.space import Architecture
from onepath.train import (
    ArchitecturePoint,
    ArchitectureTraining,
    Recipe,
    TrainingPoint,
    train_relaxed,
)

NUM_SAMPLES = 4096


@dataclass(frozen=True)
class Derived:
    """The result of a differentiable search.

    Attributes:
        best: the most probable architecture within the limits.
        unlimited: the most probable one of all; equal to `best` without limits.
        points: signals, one per epoch.
        curve: of the weights' training.
        stopped: why the guard fired, None where it did not.
    """

    best: Architecture
    unlimited: Architecture
    points: tuple[ArchitecturePoint, ...]
    curve: tuple[TrainingPoint, ...]
    stopped: str | None


def search_relaxed(
    supernet: Supernet,
    data: Task,
    training: ArchitectureTraining,
    *,
    recipe: Recipe,
    constraints: Sequence[Constraint] = (),
    seed: int = 0,
    rule: Rule = "weights",
) -> Derived:
    """Train, then derive within the limits; see `train_relaxed` and `derive_within`."""
    limits = feasible_set(supernet, data.input_shape, constraints).limits
    curve = train_relaxed(supernet, data, training, recipe=recipe, seed=seed)
    relaxation = training.relaxation
    return Derived(
        best=derive_within(relaxation, limits, seed=seed, rule=rule),
        unlimited=derive(relaxation, rule=rule),
        points=tuple(training.points),
        curve=tuple(curve),
        stopped=training.stopped,
    )


def derive_within(
    relaxation: Relaxation, limits: Sequence[Limit], *, seed: int = 0, rule: Rule = "weights"
) -> Architecture:
    """The most probable architecture that meets every limit.

    Without a limit, or with one whose cost is additive, that is exact. Otherwise: of the exact answers to each additive
    limit alone and of 4,096 architectures, half drawn uniformly (under the first additive limit) and half around the
    most probable one, the most probable that meets all. Its output depends on its input.

    Args:
        relaxation: after the search.
        limits: bound to the relaxation's space.
        seed: of the sampled architectures.
        rule: see `derive`.

    Raises:
        InfeasibleError: none is found; for one additive limit none exists.
    """
    tables = [(limit.table, limit.maximum) for limit in limits if limit.table is not None]
    answers = [derive(relaxation, rule=rule)]
    answers += [derive(relaxation, rule=rule, table=table, maximum=most) for table, most in tables]
    if len(tables) == len(limits) <= 1:
        return answers[-1]
    space, rng = relaxation.space, generator(seed, "legal architectures")
    first = tables[0] if tables else None
    half = NUM_SAMPLES // 2
    drawn = (
        space.sample(half, rng) if first is None else space.sample_within(first[0], None, first[1], half, rng)
    )
    near = space.mutate(np.repeat(space.matrix(answers[-1:]), half, axis=0), 0.2, rng)
    rows = np.concatenate([space.matrix(answers), drawn, near])
    legal = np.all(
        [np.asarray(limit.costs(rows), dtype=np.float64) <= limit.maximum for limit in limits], axis=0
    )
    legal[legal] = [space.is_connected(architecture) for architecture in space.architectures(rows[legal])]
    if not legal.any():
        raise InfeasibleError(
            f"an architecture must meet all of {', '.join(limit.name for limit in limits)}, but none of {len(rows)} "
            "does. Raise a limit."
        )
    rows = rows[legal]
    best = max(range(len(rows)), key=_scorer(relaxation, rows))
    return space.architectures(rows[best : best + 1])[0]


def _scorer(relaxation: Relaxation, rows: np.ndarray) -> Callable[[int], float]:
    """Row -> logarithm of its probability."""
    space, active = relaxation.space, relaxation.space.active(rows)
    total = np.zeros(len(rows))
    for name, p in relaxation.probabilities().items():
        column = space.column(name)
        logs = p.detach().double().log().cpu().numpy()
        total += np.where(active[:, column], logs[rows[:, column]], 0.0)
    return total.__getitem__
