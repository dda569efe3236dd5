"""The differentiable methods in a run: logits trained in the stage `train`, an architecture derived in `search`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from onepath.errors import ConfigurationError
from onepath.runs.relaxed_options import cost_unit
from onepath.randomness import generator
from onepath.search.algorithm import Proposal, check_told, first_new

if TYPE_CHECKING:
    from onepath.nn import Supernet
    from onepath.nn.relaxations import Relaxation, Rule
    from onepath.runs.config import RunConfig
    from onepath.runs.opened import Run
    from onepath.search import FeasibleSet
    from onepath.search.algorithm import Score
    from onepath.space import Architecture, CostTable
    from onepath.train import ArchitectureTraining, CostLoss, Guard
    from onepath.train.cost_loss import Form

_PAPER_UPDATES = 19_500  # 50 epochs of 25,000 images in batches of 64
_LARGEST_RATE = 0.05
_DIGITS = 5
_EIGENVALUE_RATIO = 0.75
_FORMS: dict[str, Form] = {"add-linear": "add-linear", "multiply-log": "multiply-log"}


def relaxation_of(config: RunConfig, supernet: Supernet, seed: int) -> Relaxation:
    """The relaxation of a configuration; ConfigurationError for a space with sizes or depths."""
    from onepath.nn.relaxations import (
        BinaryRelaxation,
        GumbelRelaxation,
        SoftmaxRelaxation,
        TwoPathRelaxation,
    )

    if config.method == "darts":
        return SoftmaxRelaxation(supernet, seed=seed, skip_dropout=config.skip_dropout or 0.0)
    if config.method == "gdas":
        return GumbelRelaxation(supernet, seed=seed)
    return (TwoPathRelaxation if config.gates == "two-path" else BinaryRelaxation)(supernet, seed=seed)


def rule_of(config: RunConfig) -> Rule:
    """What the derivation compares between edges."""
    return config.rule or "weights"


def trained_relaxation(
    config: RunConfig, supernet: Supernet, logits: Mapping[str, Sequence[float]]
) -> Relaxation:
    """The relaxation of a configuration, with stored logits."""
    import torch

    relaxation = relaxation_of(config, supernet, 0)
    for index, name in enumerate(relaxation.names):
        relaxation.logits[index] = torch.nn.Parameter(torch.tensor(logits[name]))
    return relaxation


def architecture_training(run: Run, supernet: Supernet, seed: int) -> ArchitectureTraining:
    """How the method trains the logits of a search of this seed.

    The papers' rates are for some 20,000 updates; a shorter run takes a rate that goes as far, up to 0.05. Where the
    weights' gradients are clipped, those of a look ahead are, too.
    """
    from onepath.methods import architecture_recipe, order_of
    from onepath.train import ArchitectureRecipe, ArchitectureTraining, Reinforce

    config = run.config
    seed = int(generator(seed, "architecture").integers(2**31))
    relaxation = relaxation_of(config, supernet, seed)
    recipe = ArchitectureRecipe(
        order=order_of(config.order or "first"),
        warmup_epochs=config.warmup_epochs or 0,
        watch_eigenvalue=config.guard == "watch",
    )
    if config.method == "proxyless":
        recipe = dataclasses.replace(recipe, learning_rate=1e-3, betas=(0.0, 0.999), weight_decay=0.0)
    recipe = architecture_recipe(recipe, run.task, run.recipe(retrain=False))
    scale = max(1.0, _PAPER_UPDATES / run.num_supernet_updates)
    recipe = dataclasses.replace(recipe, learning_rate=min(_LARGEST_RATE, scale * recipe.learning_rate))
    reinforce = None
    if config.gates == "reinforce":
        reinforce = Reinforce(*_aimed_cost(run)) if config.cost_loss == "reward" else Reinforce()
    return ArchitectureTraining(
        supernet,
        relaxation,
        recipe,
        seed=seed,
        cost=_cost_loss(run, relaxation),
        guard=_guard(config, relaxation),
        reinforce=reinforce,
        rule=rule_of(config),
    )


def _cost_loss(run: Run, relaxation: Relaxation) -> CostLoss | None:
    """The expected cost as the configuration joins it with the loss; None where it does not."""
    from onepath.nn.relaxations import ExpectedCost
    from onepath.train import CostLoss

    form = _FORMS.get(run.config.cost_loss or "none")
    if form is None:
        return None
    table, reference = _aimed_cost(run)
    return CostLoss(ExpectedCost(relaxation, table), reference, form)


def _aimed_cost(run: Run) -> tuple[CostTable, float]:
    """The additive cost, and the limit that it aims at.

    Raises:
        ConfigurationError: the costs do not add up over the choices of the space.
    """
    config = run.config
    if cost_unit(config) == "ms":
        table, reference = run.latencies.predictor.table, config.limit_ms
    else:
        table = next(limit.table for limit in run.counted.limits if limit.name == "max_macs")
        reference = config.max_macs
    if table is None or reference is None:
        raise ConfigurationError(
            f"cost_loss {config.cost_loss!r} needs costs that add up over the choices, but those of {config.space} do "
            "not; use cost_loss none"
        )
    return table, float(reference)


def _guard(config: RunConfig, relaxation: Relaxation) -> Guard | None:
    """The guard of the configuration.

    Where gates are sampled, the gradient of the logits is an estimate and its Hessian means nothing: skip connections
    alone are judged.
    """
    from onepath.nn.relaxations import derive
    from onepath.train import Guard

    if config.guard != "stop":
        return None
    max_skips = config.max_skips
    if max_skips is None:
        options = derive(relaxation, rule=rule_of(config)).options
        max_skips = sum(name in options for name in relaxation.names) // 2
    return Guard(max_skips, _EIGENVALUE_RATIO if config.method == "darts" else None)


def architecture_record(training: ArchitectureTraining) -> dict[str, Any]:
    """What the search stage and the report need: logits, signals epoch by epoch, and why the guard fired.

    Probabilities are rounded to five digits.
    """
    relaxation = training.relaxation
    points = [dataclasses.asdict(point) for point in training.points]
    for point in points:
        point["weights"] = {
            name: [round(p, _DIGITS) for p in values] for name, values in point["weights"].items()
        }
    return {
        "logits": {
            name: p.detach().tolist() for name, p in zip(relaxation.names, relaxation.logits, strict=True)
        },
        "candidates": dict(zip(relaxation.names, relaxation.candidates, strict=True)),
        "points": points,
        "warmup_epochs": training.recipe.warmup_epochs,
        "order": training.recipe.order,
        "guard": None if training.guard is None else dataclasses.asdict(training.guard),
        "stopped": training.stopped,
        "stopped_epoch": training.stopped_epoch,
        "kept_epoch": training.kept_epoch,
    }


class Derivation:
    """First the most probable architecture within the limits, then as many random ones as asked, for comparison.

    Args:
        run: its stage `train` has stored the logits.
        seed: of the random architectures.
        num_random: how many.
    """

    def __init__(self, run: Run, seed: int, num_random: int) -> None:
        self._run, self._seed, self._num_random = run, seed, num_random
        self.generation = -1
        self._asked: list[Architecture] = []
        self._visited: set[Architecture] = set()

    def ask(self, feasible: FeasibleSet) -> list[Proposal]:
        """The derived one, then the random ones, then none."""
        self.generation += 1
        if self.generation == 0:
            self._asked = [self._derived(feasible)]
            self._visited.update(self._asked)
            return [Proposal(self._asked[0], "derived")]
        if self.generation > 1 or not self._num_random:
            self._asked = []
            return []
        rng = generator(self._seed, "random search")
        self._asked = first_new(
            feasible, lambda num: feasible.sample(num, rng), self._num_random, self._visited
        )
        return [Proposal(architecture, "random") for architecture in self._asked]

    def tell(self, architectures: Sequence[Architecture], scores: Sequence[Score]) -> None:
        """Check the scores; they decide nothing."""
        check_told(self._asked, architectures, scores)

    def _derived(self, feasible: FeasibleSet) -> Architecture:
        from onepath.methods import derive_within

        record = self._run.directory.store.stage("train").record["architecture"]
        relaxation = trained_relaxation(self._run.config, self._run.blank, record["logits"])
        rule = rule_of(self._run.config)
        return derive_within(relaxation, feasible.limits, seed=self._seed, rule=rule)


def check_relaxed(method: str) -> Any:
    """A check of a space before a run: every choice is one of words, as those of blocks and of edges are."""

    def check(space: Any) -> None:
        for choice in space.choices:
            if not isinstance(choice.options[0], str):
                raise ConfigurationError(
                    f"method {method} needs choices between candidates, but {choice.name!r} is a size or a depth; "
                    "use method spos, or another space"
                )

    return check
