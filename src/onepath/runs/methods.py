"""What a method puts into the stages: who samples the paths, for how long, which algorithm searches, and who wins.

A method of its own is an entry of `METHODS`, its name in `RunConfig.method` and its options there. The stages ask the
entry and nothing else; what a new method does otherwise becomes a field here, with what all others do as its default.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from onepath.errors import ConfigurationError
from onepath.runs.relaxed import Derivation, architecture_training, check_relaxed
from onepath.runs.scored import score_estimator

if TYPE_CHECKING:
    from onepath.estimate import Estimator
    from onepath.nn import Supernet
    from onepath.runs.opened import Run
    from onepath.search import Algorithm
    from onepath.space import SearchSpace
    from onepath.train import ArchitectureTraining, Recipe, Sampler, StrictFairnessSampler


CHILDREN = 32
"""Mutations that are scored before the first joins the population: work for several processes."""


@dataclass(frozen=True)
class Method:
    """The parts of a method.

    Attributes:
        sampler: the paths that the supernet's training follows; None trains no supernet.
        algorithm: the search, from its seed; it evaluates `population * (generations + 1)` architectures at most.
        options: options of the configuration that not every method takes, with their defaults; None stands for a
            default that depends on the space.
        recipe: changes the recipe of the supernet's training.
        num_paths: passes per update in this space, by which the default length is divided; None is one.
        check: raises ConfigurationError, before any training, for a space that the method cannot serve.
        relaxed: trains logits beside the weights, in place of sampled paths, from a seed; the search then begins with
            the architecture derived from them, which wins.
        estimator: what the search asks for; None is the accuracy with the supernet's weights.
        space: where to search if none is asked for.
        budget: default population and generations; None depends on the size of the data.
        wins_from_front: whether the winner is the most accurate architecture of the front of accuracy, MACs and
            parameters, so that of equally accurate ones the cheaper wins; else the one of less loss does.
    """

    sampler: Callable[[Run, Supernet], Sampler] | None
    algorithm: Callable[[Run, int], Algorithm]
    options: Mapping[str, Any] = field(default_factory=dict)
    recipe: Callable[[Recipe], Recipe] = lambda recipe: recipe
    num_paths: Callable[[SearchSpace], int] | None = None
    check: Callable[[SearchSpace], object] | None = None
    wins_from_front: bool = False
    relaxed: Callable[[Run, Supernet, int], ArchitectureTraining] | None = None
    estimator: Callable[[Run], Estimator] | None = None
    space: str = "shufflenet"
    budget: tuple[int, int] | None = None


def _spos_sampler(run: Run, supernet: Supernet) -> Sampler:
    """The sampler of the configuration; without one, sizes are opened one by one where the space has some.

    "constrained" draws uniformly among the paths that meet the limit.
    Under two limits the paths meet the first, on MACs; the search keeps both. Of several limits on latency they meet
    the largest.
    """
    from onepath.train import ConstrainedSampler, UniformSampler, WideningSampler
    from onepath.train.widening import is_size

    name, space = run.config.sampler, supernet.space
    if name == "widening" or (name is None and any(map(is_size, space.choices))):
        return WideningSampler(space, run.num_supernet_updates)
    if name in (None, "uniform"):
        return UniformSampler(space)
    largest_ms = max(run.config.max_latency_ms) if run.config.max_latency_ms is not None else None
    limit = run.legal_within(largest_ms).limits[0]
    if limit.table is None:
        raise ConfigurationError(
            f"sampler='constrained' needs a space whose {limit.unit} add up over its choices, but {run.config.space} "
            "is not one; use sampler='uniform'"
        )
    lowest, _ = limit.table.extremes(supernet.space)
    return ConstrainedSampler(supernet.space, limit.table, lowest, limit.maximum)


def _evolution(run: Run, seed: int) -> Algorithm:
    from onepath.search import Evolution

    return Evolution(run.blank.space, seed, *_budget(run))


def _fairness_sampler(space: SearchSpace) -> StrictFairnessSampler:
    from onepath.train import StrictFairnessSampler

    return StrictFairnessSampler(space)


def _nsga2(run: Run, seed: int) -> Algorithm:
    from onepath.search import NSGA2

    costs = [run.counters[kind] for kind in ("macs", "params")]
    return NSGA2(run.blank.space, seed, *_budget(run), costs=costs)


def _dropout_sampler(run: Run, supernet: Supernet) -> Sampler:
    from onepath.train import PathDropoutSampler

    rate, num_ghost_batches = run.config.rate, run.config.num_ghost_batches
    assert rate is not None, "the configuration is resolved"
    assert num_ghost_batches is not None, "the configuration is resolved"
    num_updates = run.num_supernet_updates
    return PathDropoutSampler(supernet.space, num_updates, rate=rate, num_ghost_batches=num_ghost_batches)


def _check_dropout(space: SearchSpace) -> None:
    from onepath.train import PathDropoutSampler

    PathDropoutSampler(space, num_updates=1)


def _random_search(run: Run, seed: int) -> Algorithm:
    from onepath.search import RandomSearch

    population, generations = _budget(run)
    return RandomSearch(run.blank.space, seed, population * (generations + 1), batch=population)


def _budget(run: Run) -> tuple[int, int]:
    """Architectures per generation, and generations after the first."""
    population, generations = run.config.population, run.config.generations
    assert population is not None, "the configuration is resolved"
    assert generations is not None, "the configuration is resolved"
    return population, generations


def _mutation_evolution(run: Run, seed: int) -> Algorithm:
    from onepath.search import MutationEvolution

    population, generations = _budget(run)
    return MutationEvolution(
        run.blank.space,
        seed,
        num=population * (generations + 1),
        population=population,
        num_children=CHILDREN,
    )


def _derivation(run: Run, seed: int) -> Algorithm:
    return Derivation(run, seed, _budget(run)[0] - 1)


def _uniform_sampler(run: Run, supernet: Supernet) -> Sampler:  # noqa: ARG001
    """Not asked in a run: the relaxation draws its own paths."""
    from onepath.train import UniformSampler

    return UniformSampler(supernet.space)


_OF_ALL_RELAXED: Mapping[str, Any] = {
    "guard": "off",
    "max_skips": None,
    "warmup_epochs": None,
    "num_seeds": 1,
    "rule": "weights",
    "cost_loss": None,
}


def _relaxed(name: str, **options: Any) -> Method:
    """A differentiable method: what differs between them is the relaxation."""
    return Method(
        _uniform_sampler,
        _derivation,
        options={**options, **_OF_ALL_RELAXED},
        recipe=lambda recipe: dataclasses.replace(recipe, one_path=0.0),
        check=check_relaxed(name),
        relaxed=architecture_training,
    )


METHODS: Mapping[str, Method] = {
    "spos": Method(_spos_sampler, _evolution, options={"sampler": None, "prefilter": None}),
    "fairnas": Method(
        lambda _, supernet: _fairness_sampler(supernet.space),
        _nsga2,
        options={"reduction": "sum", "prefilter": None},
        num_paths=lambda space: _fairness_sampler(space).num_paths,
        check=_fairness_sampler,
        wins_from_front=True,
    ),
    "one-shot": Method(
        _dropout_sampler,
        _random_search,
        options={"rate": 0.1, "num_ghost_batches": 1, "prefilter": None},
        # Sums of candidates from the first update: a start from one path would train weights of another scale.
        recipe=lambda recipe: dataclasses.replace(recipe, one_path=0.0),
        check=_check_dropout,
    ),
    "darts": _relaxed("darts", order="first", skip_dropout=0.0),
    "gdas": _relaxed("gdas"),
    "proxyless": _relaxed("proxyless", gates="full"),
    "zen": Method(
        None,
        _mutation_evolution,
        options={"proxy": "zen"},
        estimator=score_estimator,
        space="zennas",
        # 4,096 networks: minutes on two cores for networks of 20 million multiply-accumulates.
        budget=(512, 7),
    ),
}
