"""A method of your own, as a function and in a run: every update trains several random paths.

Run it with `python examples/new_method.py`, or as `onepath run --method examples/new_method.py:SeveralPaths`; it takes
some seconds.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

import onepath as op
from onepath.methods import Job, SampledMethod, function_of
from onepath.option_types import option
from onepath.train import Phase, path_phases


# --- the method --------------------------------------------------------------------------------------------------
@dataclass
class SeveralSampler:
    """Several independent paths per update; everything drawn comes from `rng`."""

    space: op.SearchSpace
    num_paths: int

    def paths(self, update: int, rng: np.random.Generator) -> Sequence[op.Architecture]:
        return self.space.architectures(self.space.sample(self.num_paths, rng))


class SeveralPaths(SampledMethod):
    """Train several random paths in every update, then search by evolution."""

    name = "several-paths"
    default_algorithm = "evolution"

    num_paths: int = option(2, "Paths that every update trains.")

    def phases(self, job: Job) -> Sequence[Phase]:
        """Train on several paths an update, after the start from one path that short trainings have."""
        sampler = SeveralSampler(job.space, self.num_paths)
        return path_phases(job.supernet, job.task, job.recipe(self.epochs), sampler, reduction="mean")


several_paths = function_of(SeveralPaths, "Every evaluated architecture, with the best.")
# -----------------------------------------------------------------------------------------------------------------


def main() -> None:
    """Run the method in memory, then in a run directory."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--out", default="runs/several-paths")
    options = parser.parse_args()

    data = op.load_data("digits")
    supernet = op.spaces.build("nasbench-macro", data.num_classes, 8, in_channels=1, width=0.2)
    found = several_paths(supernet, data, epochs=options.epochs, num_paths=3, population=6, generations=1)
    print(f"in memory: {found.best_trial.estimate.accuracy:.3f} inherited, of {len(found.trials)}")
    result = op.run(
        "digits",
        space="nasbench-macro",
        width=0.2,
        method=SeveralPaths,
        num_paths=3,
        epochs=options.epochs,
        retrain_epochs=1,
        num_baselines=0,
        population=6,
        generations=1,
        out=options.out,
    )
    print(f"in a run: {result.result['accuracy']['inherited_validation']:.3f} inherited")


if __name__ == "__main__":
    main()
