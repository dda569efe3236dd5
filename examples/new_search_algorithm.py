"""A search algorithm of your own: climb to a better neighbour, or start again at random if no neighbour is better.

Run it with `python examples/new_search_algorithm.py`; it takes some seconds.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from mini_nas import Net, bars

import onepath as op
from onepath.search import Draw, Evaluated, SearchAlgorithm


# --- the algorithm -----------------------------------------------------------------------------------------------
class HillClimbing(SearchAlgorithm):
    """Propose neighbours of the present architecture, or a random one if no neighbour was better."""

    name = "hill climbing"
    place: op.Architecture | None = None
    score: Any = None

    def propose(self, rng: np.random.Generator) -> Iterator[Draw]:
        if self.num_proposed >= 40:
            return
        if self.place is None:
            yield Draw("random", 1)
            return
        here = self.space.matrix([self.place])
        yield Draw("mutation", 4, lambda num: self.space.mutate_one(np.repeat(here, num, axis=0), rng))

    def observe(self, evaluated: Evaluated) -> None:
        best, score = max(evaluated, key=lambda pair: pair[1])
        is_better = self.place is None or score > self.score
        self.place, self.score = (best, score) if is_better else (None, None)


# -----------------------------------------------------------------------------------------------------------------


def main() -> None:
    """Run the algorithm on a small supernet under a limit."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=5)
    options = parser.parse_args()

    data = op.load_data(bars(1200, seed=0), test=bars(300, seed=1), flip=False)
    torch.manual_seed(0)
    supernet = op.Supernet(Net(data.num_classes))
    op.train_supernet(
        supernet, data, sampler=op.UniformSampler(supernet.space), epochs=options.epochs, seed=0
    )
    climbing = HillClimbing(supernet.space, seed=0)
    found = op.search_supernet(supernet, data, climbing, constraints=[op.MaxMacs("700k")])
    trial = found.best_trial
    print(
        f"best of {len(found.trials)}: {trial.architecture.options}, accuracy {trial.estimate.accuracy:.3f}"
    )


if __name__ == "__main__":
    main()
