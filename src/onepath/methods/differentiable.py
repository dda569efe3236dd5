"""Base class of differentiable methods: train weights and logits together, then derive the best legal architecture."""

from __future__ import annotations

import dataclasses
import math
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import model_validator
from torch import nn

from onepath import option_types as types
from onepath.errors import ConfigurationError, InfeasibleError
from onepath.methods.method import Method
from onepath.methods.supernet_search import Found, Search
from onepath.nn import Supernet
from onepath.nn.relaxations import ExpectedCost, Relaxation, Rule, derive, option_scores
from onepath.option_types import option
from onepath.randomness import generator
from onepath.search import Draw, Evaluated, SearchAlgorithm
from onepath.search.feasible import Constraint as Limit
from onepath.space import Architecture, SearchSpace
from onepath.train import (
    ArchitecturePoint,
    ArchitectureRecipe,
    ArchitectureTraining,
    CostLoss,
    Guard,
    Phase,
    Recipe,
    Reinforce,
    TrainingPoint,
    differentiable_phases,
)

if TYPE_CHECKING:
    from onepath.methods.job import Job, Trained

NUM_SAMPLES = 4096
_PAPER_UPDATES = 19_500  # 50 epochs of 25,000 images in batches of 64
_LARGEST_RATE = 0.05
_EIGENVALUE_RATIO = 0.75

CostLossName = Literal["none", "add-linear", "multiply-log", "reward"]


@dataclass(frozen=True)
class Derived:
    """The result of a differentiable search.

    Attributes:
        found: the evaluated architectures: the derived one, and random ones for comparison.
        unlimited: the most probable architecture if limits are ignored; without limits it equals `best`.
        points: signals of the search, one point per epoch.
        curve: curve of the weights' training.
        stopped: why and after which epoch the guard fired; None if it did not.
    """

    found: Found
    unlimited: Architecture
    points: tuple[ArchitecturePoint, ...]
    curve: tuple[TrainingPoint, ...]
    stopped: str | None

    @property
    def best(self) -> Architecture:
        """The most probable architecture within the limits."""
        return self.found.best

    def model(self, architecture: Architecture | None = None) -> nn.Module:
        """Return a network with the weights of the search and recalibrated normalisation; see `Found.model`.

        Args:
            architecture: an architecture of the space searched; None takes `best`.
        """
        return self.found.model(architecture)


class Differentiable(Method):
    """Train architecture parameters together with the weights; the most probable legal architecture wins.

    Attributes:
        judges_eigenvalue: whether the gradient of the logits is exact, so that the eigenvalue of the Hessian is
            meaningful and the guard may judge it.
        costs_join: whether the expected cost enters the loss by default if there is a limit.
    """

    adds_candidates: ClassVar[bool] = True
    judges_eigenvalue: ClassVar[bool] = False
    costs_join: ClassVar[bool] = False
    other_names: ClassVar[Mapping[str, str]] = {"form": "cost_loss"}

    epochs: types.Epochs | None = option(
        None, "Epochs of the search; default: by the size of the data.", group="Differentiable"
    )
    warmup_epochs: types.WarmupEpochs = option(
        0, "Epochs at the start of the search in which only the weights are trained.", group="Differentiable"
    )
    guard: Literal["off", "watch", "stop"] | Guard = option(
        "off",
        "Guard against a collapse to skip connections: off; watch (darts only: records the dominant eigenvalue); or "
        "stop (stops training the architecture and takes it back to an earlier epoch).",
        group="Differentiable",
    )
    max_skips: types.Choices | None = option(
        None,
        "Largest number of skip connections that guard stop allows; default: half of the choices.",
        group="Differentiable",
        metavar="N",
    )
    num_seeds: types.Searches = option(
        1,
        "Number of searches, with consecutive seeds from the seed on; the derived network with the highest inherited "
        "validation accuracy wins.",
        group="Differentiable",
        metavar="N",
    )
    rule: Rule = option(
        "weights",
        "What is compared between edges when the network is derived: weights of the softmax, or logits.",
        group="Differentiable",
    )
    cost_loss: CostLossName | None = option(
        None,
        "How the expected latency or MACs enter the loss: add-linear (default for proxyless under a limit), "
        "multiply-log, reward (for gates reinforce) or none.",
        group="Differentiable",
    )
    architecture_rate: types.Rate | None = option(
        None,
        "Learning rate of the architecture parameters; default: the paper's, scaled to the length of the training.",
        group="Differentiable",
    )
    recipe: Literal["scaled", "paper"] | Recipe = option(
        "scaled",
        "Optimizer and schedule of the weights: scaled (to the size of the data, as for every method) or paper (the "
        "paper's own).",
        group="Differentiable",
    )

    @model_validator(mode="after")
    def _check_options(self) -> Self:
        if self.max_skips is not None and self.guard != "stop":
            raise ValueError(
                f"max_skips is what the guard lets pass, but guard is {self.guard}; give guard stop, or leave "
                "max_skips out"
            )
        if self.guard == "watch" and not self.judges_eigenvalue:
            raise ValueError(
                f"guard 'watch' records the eigenvalue that only method darts computes, but the method is {self.name}; "
                "leave guard out (the other signals are reported without it)"
            )
        by_reward = self.by_reward
        if self.cost_loss not in (None, "none") and by_reward != (self.cost_loss == "reward"):
            raise ValueError(
                "cost_loss 'reward' and gates 'reinforce' must be used together, but got cost_loss "
                f"{self.cost_loss} with gates {getattr(self, 'gates', 'full')}; change one of them"
            )
        return self

    @property
    def num_trainings(self) -> int:
        """See `Method.num_trainings`; one search per seed."""
        return self.num_seeds

    @property
    def by_reward(self) -> bool:
        """Whether the logits learn from rewards of sampled paths, without differentiating."""
        return False

    @property
    def total_epochs(self) -> int:
        """Epochs of the warm-up and of the search together."""
        assert self.epochs is not None, "the method is resolved"
        return self.epochs

    def of_length(self, total: int, given: Set[str]) -> dict[str, Any]:
        """See `Method.of_length`; a warm-up that was not given keeps its share of the training."""
        num_warmup = self.warmup_epochs
        if "warmup_epochs" not in given:
            num_warmup = int(num_warmup * total / self.total_epochs)
        return {"epochs": total, "warmup_epochs": num_warmup}

    def check(self, space: SearchSpace) -> None:
        """See `Method.check`; every choice must be between candidates, as in choice blocks and on edges.

        Raises:
            ConfigurationError: a choice is of another kind, such as a size.
        """
        for choice in space.choices:
            if choice.role != "operation":
                raise ConfigurationError(
                    f"method {self.name} needs choices between candidates, but {choice.name!r} is a {choice.role}; use "
                    "method spos, or another space"
                )

    def resolved(self, job: Job) -> Self:
        """See `Method.resolved`; also fills in the epochs, the warm-up and the cost in the loss.

        Raises:
            ConfigurationError: the warm-up leaves no epoch for the architecture, or `cost_loss` has no limit to aim at.
        """
        filled = super().resolved(job)._with_length(job)
        if filled.warmup_epochs >= filled.total_epochs:
            raise ConfigurationError(
                f"warmup_epochs < epochs must hold, but got warmup_epochs={filled.warmup_epochs}, "
                f"epochs={filled.epochs}; lower warmup_epochs"
            )
        aims = job.aims()
        self.check_aims(aims)
        joined: CostLossName = "reward" if self.by_reward else "add-linear"
        return filled.filled(cost_loss=joined if self.costs_join and aims else "none")

    def check_aims(self, aims: Mapping[str, float]) -> None:
        """See `Method.check_aims`; a cost in the loss needs a limit, above 1 ms if its logarithm is taken."""
        if self.cost_loss in (None, "none"):
            return
        if not aims:
            raise ConfigurationError(
                f"cost_loss {self.cost_loss!r} needs a cost to aim at, but no limit came whose costs add up; give "
                "max_macs, or max_latency_ms with a latency table"
            )
        reference = aims.get("ms", math.inf)
        if self.cost_loss == "multiply-log" and reference <= 1:
            raise ConfigurationError(
                f"cost_loss 'multiply-log' takes logarithms and needs a limit above 1 ms, but got {reference:g}; use "
                "cost_loss add-linear"
            )

    def _with_length(self, job: Job) -> Self:
        return self.filled(epochs=self.weights_recipe(job, self.epochs).epochs)

    def weights_recipe(self, job: Job, epochs: int | None) -> Recipe:
        """Return the recipe of the weights.

        Args:
            job: gives the data and the settings.
            epochs: replaces the epochs of the recipe; None keeps them.
        """
        if self.recipe == "scaled":
            return dataclasses.replace(job.recipe(epochs), one_path=0.0)
        given = self.recipe if isinstance(self.recipe, Recipe) else None
        paper = dataclasses.replace(self.paper_recipe(), **job.task.recipe_settings)
        return job.recipe(epochs, given=paper if given is None else given)

    @staticmethod
    @abstractmethod
    def paper_recipe() -> Recipe:
        """Return the paper's recipe of the weights, for images; see `Task.recipe_settings` for other data."""

    @abstractmethod
    def relaxation(self, supernet: Supernet, seed: int) -> Relaxation:
        """Return a new relaxation, which makes the choices of a supernet differentiable.

        Args:
            supernet: the supernet to search; not changed.
            seed: seed of the initial logits.
        """

    def architecture_recipe(self) -> ArchitectureRecipe:
        """Return the paper's recipe of the logits."""
        return ArchitectureRecipe()

    def phases(self, job: Job) -> Sequence[Phase]:
        """Return a warm-up of the weights alone, if there is one, then a phase of weights and logits in turn."""
        recipe = self.weights_recipe(job, self.total_epochs)
        relaxation = self.relaxation(job.supernet, job.seed)
        # The look ahead clips its gradients at the same norm as the weights' training.
        logits = dataclasses.replace(
            self.architecture_recipe(),
            warmup_epochs=self.warmup_epochs,
            watch_eigenvalue=self.guard == "watch",
            clip_norm=recipe.clip_norm,
            **job.task.architecture_settings,
        )
        logits = dataclasses.replace(
            logits, learning_rate=self._rate(logits.learning_rate, job.num_updates(recipe))
        )
        unit, reference = next(iter(job.aims().items()), ("", 0.0))
        joins = self.cost_loss not in (None, "none")
        table = job.aimed(unit) if joins else None
        cost, rewards = None, Reinforce() if self.by_reward else None
        if table is not None and self.by_reward:
            rewards = Reinforce(table, reference)
        elif table is not None:
            assert self.cost_loss in ("add-linear", "multiply-log"), "checked with the gates"
            cost = CostLoss(ExpectedCost(relaxation, table), reference, self.cost_loss)
        training = ArchitectureTraining(
            job.supernet,
            relaxation,
            logits,
            seed=job.seed,
            cost=cost,
            guard=self._guard(relaxation),
            reinforce=rewards,
            rule=self.rule,
        )
        return differentiable_phases(training, recipe)

    def timed_phases(self, job: Job) -> Sequence[Phase]:
        """See `Method.timed_phases`; a search that is begun at its first update steps its logits from there on."""
        *warmup, search = self.phases(job)
        (alone,) = self.model_copy(update={"warmup_epochs": 0}).phases(job)
        return [*warmup, dataclasses.replace(search, sampler=alone.sampler, before=alone.before)]

    def _rate(self, paper: float, num_updates: int) -> float:
        """Return the learning rate of the logits.

        The paper's rate is for some 20,000 updates. A shorter search scales it up, to at most 0.05, so that the logits
        move as far.
        """
        if self.architecture_rate is not None:
            return self.architecture_rate
        if self.recipe != "scaled":
            return paper
        return min(_LARGEST_RATE, max(1.0, _PAPER_UPDATES / num_updates) * paper)

    def _guard(self, relaxation: Relaxation) -> Guard | None:
        if isinstance(self.guard, Guard):
            return self.guard
        if self.guard != "stop":
            return None
        max_skips = self.max_skips
        if max_skips is None:
            options = derive(relaxation, rule=self.rule).options
            max_skips = sum(name in options for name in relaxation.names) // 2
        return Guard(max_skips, _EIGENVALUE_RATIO if self.judges_eigenvalue else None)

    def search(self, job: Job, trained: Trained) -> Search:
        """Return a search that evaluates the derived architecture, and random ones for comparison."""
        assert self.population is not None, "the method is resolved"
        training = trained.before
        assert isinstance(training, ArchitectureTraining), "the last phase trains logits"
        algorithm = Derivation(training.relaxation, job.search_seed, self.population - 1, self.rule)
        return Search(algorithm, job.inherited(trained), min(self.population, job.space.size))

    def outcome(self, job: Job, trained: Trained, found: Found) -> Derived:  # noqa: ARG002
        """Return the result of the search with its signals."""
        training = trained.before
        assert isinstance(training, ArchitectureTraining), "the last phase trains logits"
        return Derived(
            found,
            derive(training.relaxation, rule=self.rule),
            tuple(training.points),
            trained.curve,
            training.stopped,
        )


class Derivation(SearchAlgorithm):
    """A search that proposes the most probable legal architecture, then random ones for comparison.

    Args:
        relaxation: the trained relaxation.
        seed: seed of every random draw.
        num_random: number of random architectures besides the derived one.
        rule: how an architecture is derived, see `derive`.
    """

    name = "derivation"

    def __init__(self, relaxation: Relaxation, seed: int, num_random: int, rule: Rule = "weights") -> None:
        super().__init__(relaxation.space, seed)
        self._relaxation, self._num_random, self._rule = relaxation, num_random, rule

    def propose(self, rng: np.random.Generator) -> Iterator[Draw]:  # noqa: ARG002
        """Yield the derived architecture in the first step, the random ones in the second, then none."""
        if self.generation == -1:
            limits = self.feasible.limits
            derived = derive_within(self._relaxation, limits, seed=self.seed, rule=self._rule)
            yield Draw("derived", 1, lambda _: self.space.matrix([derived]))
        elif self.generation == 0:
            yield Draw("random", self._num_random)

    def observe(self, evaluated: Evaluated) -> None:
        """Ignore the scores: they do not change the search."""


def derive_within(
    relaxation: Relaxation, limits: Sequence[Limit], *, seed: int = 0, rule: Rule = "weights"
) -> Architecture:
    """Return the most probable architecture that meets every limit.

    Without a limit, or with one limit whose cost is additive, the answer is exact. Otherwise it is the most probable
    legal one of these candidates: the exact answer without limits, the exact answers to each additive limit alone, and
    4,096 sampled architectures. Half of these are drawn uniformly (under the first additive limit, if there is one),
    half are mutations of the exact answer to the last additive limit, or without limits if there is none. In the
    architecture returned, the output of the network depends on its input.

    Args:
        relaxation: the trained relaxation; not changed.
        limits: limits on the architectures of the relaxation's space.
        seed: seed of the sampled architectures.
        rule: how architectures are compared, see `derive`.

    Raises:
        ConfigurationError: the rule is unknown.
        InfeasibleError: no legal architecture was found; with one additive limit, none exists.
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
            "does; raise a limit"
        )
    rows = rows[legal]
    best = int(np.argmax(_scores(relaxation, rows, rule)))
    return space.architectures(rows[best : best + 1])[0]


def _scores(relaxation: Relaxation, rows: npt.NDArray[np.integer], rule: Rule) -> npt.NDArray[np.float64]:
    """Return the quantity that `derive` maximises, for each row of option indices."""
    space, active = relaxation.space, relaxation.space.active(rows)
    total = np.zeros(len(rows))
    for name, scores in option_scores(relaxation, rule).items():
        column = space.column(name)
        total += np.where(active[:, column], np.asarray(scores)[rows[:, column]], 0.0)
    return total
