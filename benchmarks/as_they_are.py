"""Winners used as they are, beside the same networks trained alone: `python benchmarks/as_they_are.py --data FILE`.

Three supernets of one space are trained on uniform paths (`spos`), by the sandwich rule, and by progressive shrinking
(`ofa`), for an equal number of passes over the data; with `--of networks`, of passes of a network over the data, of
which a sandwich makes four an epoch. An accuracy predictor learns from each, and its
best under five limits of MACs are evaluated; the winner of each limit is tested as it is, recalibrated, and so is the
largest network of the space. Those of the smallest, the middle and the largest limit are then trained alone, each for
a fifth of the passes. Everything is kept in `--out`, and the same command continues there.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import onepath as op
from onepath import runs
from onepath.conversion import reachable
from onepath.cost import MaxMacs
from onepath.data import Task
from onepath.estimate import AccuracyPredictor, SupernetEstimator, spread
from onepath.evidence import wilson
from onepath.methods import feasible_set
from onepath.methods.ofa import SCHEDULE, shared_out
from onepath.randomness import generator
from onepath.search import Evolution, Predicted
from onepath.space import Architecture
from onepath.space.ends import end_of
from onepath.train import evaluate

METHODS = {"uniform": "spos", "sandwich": "sandwich", "shrinking": "ofa"}
NUM_PATHS = 4  # of a sandwich
SHARES = (0.05, 0.2, 0.4, 0.65, 1.0)
"""Limits, between the smallest network (0) and the largest (1)."""
ALONE = (0, 2, 4)
NUM_VERIFIED = 5


class Comparison:
    """What is compared, each part kept once it is known.

    Args:
        task: data.
        given: options of the command line.
    """

    def __init__(self, task: Task, given: argparse.Namespace) -> None:
        self.task, self.given, self.out = task, given, given.out

    def kept(self, name: str, make: Callable[[], Any]) -> Any:
        """A value, made once."""
        file = self.out / f"{name}.json"
        if not file.is_file():
            file.write_text(json.dumps(make()))
        return json.loads(file.read_text())

    def supernet(self, name: str) -> op.Supernet:
        """The trained supernet of a method; its training is continued."""
        config = runs.make_config(
            {
                "data": self.given.data,
                "test_data": self.given.test_data,
                "space": "ofa-mobilenetv3",
                "width": self.given.width,
                "method": METHODS[name],
                "epochs": self._epochs(name),
                "finish": "as-is",
                "num_baselines": 0,
                "population": 10,
                "generations": 2,
                "out": str(self.out / name),
            }
        )
        with runs.Run(config) as run:
            runs.run_stage(run, "train")
        return op.load_run(self.out / name).supernet()

    def _epochs(self, name: str) -> int:
        """The method's option; that of progressive shrinking counts passes of a network."""
        passes = self.given.passes
        if name == "shrinking" and self.given.of == "data":
            return next(n for n in count(1) if sum(num for _, num in shared_out(SCHEDULE, n)) >= passes)
        return max(1, passes // NUM_PATHS) if name == "sandwich" and self.given.of == "networks" else passes

    def searched(self, name: str, supernet: op.Supernet) -> dict[str, Any]:
        """The winners under the limits and the predictor's error, from inherited accuracies alone."""
        space, shape = supernet.space, self.task.input_shape
        estimator = SupernetEstimator(supernet, self.task)
        architectures = space.architectures(spread(space, self.given.pairs, generator(0, "pairs")))
        known = [
            self.kept(f"pairs-{name}-{place}", lambda one=one: estimator.estimate(one).accuracy)
            for place, one in enumerate(architectures)
        ]
        predictor = AccuracyPredictor.fit(architectures, known)
        low, high = reachable(supernet, shape)["macs"]
        winners = {}
        for share in SHARES:
            limit = int(low + share * (high - low))
            feasible = feasible_set(supernet, shape, [MaxMacs(limit)])
            search = Predicted(Evolution(space, 0, population=100, generations=100), predictor, NUM_VERIFIED)
            found = [proposal.architecture for proposal in search.ask(feasible)]
            winners[str(limit)] = str(max(found, key=lambda one: estimator.estimate(one).accuracy))
        return {"winners": winners, "error": predictor.error, "tau": predictor.tau}

    def as_it_is(self, name: str, supernet: op.Supernet, architecture: Architecture) -> float:
        """Test accuracy with inherited weights, recalibrated."""
        model = SupernetEstimator(supernet, self.task).model(architecture)
        return float(
            self.kept(
                f"as-it-is-{name}-{_short(architecture)}", lambda: evaluate(model, self.task, "test").metric
            )
        )

    def alone(self, supernet: op.Supernet, architecture: Architecture) -> float:
        """Test accuracy of a network that is trained by itself for a fifth of the passes."""
        epochs = max(1, self.given.passes // 5)

        def trained() -> float:
            model = supernet.extract(architecture, inherit=False, seed=0)
            recipe = op.Recipe.for_task(self.task, retrain=True, epochs=epochs)
            op.train_model(model, self.task, recipe=dataclasses.replace(recipe, one_path=0.0), seed=0)
            return evaluate(model, self.task, "test").metric

        return float(self.kept(f"alone-{epochs}-{_short(architecture)}", trained))

    def rows(self, name: str) -> None:
        """Print a row for each limit, and one for the largest network."""
        supernet = self.supernet(name)
        found = self.kept(f"searched-{name}", lambda: self.searched(name, supernet))
        largest = end_of(supernet.space, max)
        limits = [*found["winners"].items(), ("largest", str(largest))]
        for place, (limit, text) in enumerate(limits):
            architecture = supernet.space.parse(text)
            macs = op.cost.macs(supernet, architecture, self.task.input_shape)
            tested = self._shown(self.as_it_is(name, supernet, architecture))
            by_itself = self._shown(self.alone(supernet, architecture)) if place in ALONE else "-"
            shown = limit if limit == "largest" else f"{int(limit) / 1e6:.2f} M"
            print(f"| {name} | {shown} | {macs / 1e6:.2f} M | {tested} | {by_itself} |", flush=True)
        print(f"predictor of {name}: error {found['error']:.4f}, tau {found['tau']:.2f}", flush=True)

    def _shown(self, share: float) -> str:
        low, high = wilson(share, self.task.num_examples("test"))
        return f"{share:.3f} [{low:.3f}, {high:.3f}]"


def _short(architecture: Architecture) -> str:
    return str(architecture).replace(",", "")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True)
    parser.add_argument("--test-data")
    parser.add_argument("--out", type=Path, default=Path("runs/as-they-are"))
    parser.add_argument("--passes", type=int, default=10)
    parser.add_argument("--of", default="data", choices=("data", "networks"), help="what a pass is over")
    parser.add_argument("--width", type=float, default=0.5)
    parser.add_argument("--pairs", type=int, default=100, help="that the accuracy predictor learns from")
    parser.add_argument("--methods", nargs="*", default=list(METHODS), choices=list(METHODS))
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    comparison = Comparison(op.load_data(given.data, test=given.test_data), given)
    print("| method | limit | MACs | test accuracy as it is | trained alone |\n|---|---|---|---|---|")
    for name in given.methods:
        comparison.rows(name)


if __name__ == "__main__":
    main()
