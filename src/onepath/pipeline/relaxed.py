"""The differentiable methods in a run: logits trained in the stage `train`, an architecture derived in `search`."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from onepath.errors import ConfigurationError
from onepath.randomness import generator
from onepath.search.algorithm import Proposal, check_told, first_new

if TYPE_CHECKING:
    from onepath.nn import Supernet
    from onepath.nn.relaxations import Relaxation
    from onepath.pipeline.context import Run
    from onepath.search import FeasibleSet
    from onepath.search.algorithm import Score
    from onepath.space import Architecture
    from onepath.train import ArchitectureTraining

_PAPER_UPDATES = 19_500  # 50 epochs of 25,000 images in batches of 64
_LARGEST_RATE = 0.05
_DIGITS = 5


def relaxation_of(method: str, supernet: Supernet, seed: int) -> Relaxation:
    """The relaxation of a method; ConfigurationError for a space with sizes or depths."""
    from onepath.nn.relaxations import BinaryRelaxation, GumbelRelaxation, SoftmaxRelaxation

    kinds: dict[str, type[Relaxation]] = {
        "darts": SoftmaxRelaxation,
        "gdas": GumbelRelaxation,
        "proxyless": BinaryRelaxation,
    }
    return kinds[method](supernet, seed=seed)


def architecture_training(run: Run, supernet: Supernet) -> ArchitectureTraining:
    """How the method trains the logits.

    The papers' rates are for some 20,000 updates; a shorter run takes a rate that goes as far, up to 0.05. A third of
    the epochs of `proxyless` train weights alone. No cost joins the loss: a limit is not a cost to fall below as far as
    possible, and it is kept when the architecture is derived.
    """
    from onepath.train import ArchitectureRecipe, ArchitectureTraining

    config = run.config
    seed = int(generator(config.seed, "architecture").integers(2**31))
    relaxation = relaxation_of(config.method, supernet, seed)
    scale = max(1.0, _PAPER_UPDATES / run.num_supernet_updates)
    recipe = ArchitectureRecipe(learning_rate=min(_LARGEST_RATE, 3e-4 * scale))
    if config.method == "proxyless":
        recipe = dataclasses.replace(
            recipe,
            learning_rate=min(_LARGEST_RATE, 1e-3 * scale),
            betas=(0.0, 0.999),
            weight_decay=0.0,
            warmup_epochs=run.recipe(retrain=False).epochs // 3,
        )
    return ArchitectureTraining(supernet, relaxation, recipe, seed=seed)


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
        "guard": None if training.guard is None else dataclasses.asdict(training.guard),
        "stopped": training.stopped,
        "stopped_epoch": training.stopped_epoch,
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
        import torch

        from onepath.methods import derive_within

        record = self._run.directory.store.stage("train").record["architecture"]
        relaxation = relaxation_of(self._run.config.method, self._run.blank, 0)
        for index, name in enumerate(relaxation.names):
            relaxation.logits[index] = torch.nn.Parameter(torch.tensor(record["logits"][name]))
        return derive_within(relaxation, feasible.limits, seed=self._seed)


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
