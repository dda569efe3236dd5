"""Differentiable methods on NAS-Bench-201's space with CIFAR-10, at equal compute: which cells they find.

DARTS (first and second order), GDAS and ProxylessNAS's two-path gates train logits beside the weights of one reduced
network. SPOS trains the same network by uniform single paths and searches it by evolution on validation accuracy. The
cells found are looked up in the benchmark's table of networks trained on all of CIFAR-10, which no search reads. They
stand beside the table's own distribution, which is that of random cells.

Equal compute means equal CPU seconds, because the passes of different methods are different things: one of DARTS runs
30 candidates of a cell, one of GDAS six, and how much that costs depends on the machine and the size. If a run counted
its own seconds, its length would depend on what else the machine does. So `plan` measures the seconds of one update of
every method, in turn and several times, and divides the budget by the medians. The resulting numbers of updates are the
same for all seeds and are kept in --out/setting.json. `--plan FILE` takes another setting.json as it is, and so
reproduces its results. A round has a whole number of updates, so that budgets are met to half an update per round. The
seconds that a search really took are in its record. SPOS spends a share of its budget (--spos-training) on training,
and the rest on evaluating as many cells as its seconds allow. Computing the signals of a search is not in the budget.

The network is small and sees images of 16x16 pixels by default: at 32x32, one update of second order takes 1.4 s on a
busy core, and a search of a few minutes has a hundred of them. All methods have the same network and images.

All methods share the weights' optimizer, which is DARTS's. The papers' learning rates of the logits are for 19,500
updates; a search of fewer updates takes a rate at which the logits go as far, at most 0.05. ProxylessNAS trains weights
alone for a third of its rounds. A search has the same number of rounds (--rounds) for every method. After each round
the derived cell, its skip connections, the entropy of the logits, and for DARTS the dominant eigenvalue of the
validation Hessian are recorded. No search is stopped: `summary` applies the library's guard to the signals and tells
when it would have fired.

Everything is kept in --out as soon as it is known: the same command continues after a kill. One process does one
(method, seed):

    python benchmarks/darts_on_table.py plan --out DIR --data cifar10_train.parquet --test-data cifar10_test.parquet
    python benchmarks/darts_on_table.py train --out DIR --data ... --test-data ... --method gdas --seed 1
    python benchmarks/darts_on_table.py summary --out DIR --truth nasbench201_cifar10.parquet

`plan` may be left out: the first `train` does it. The setting is one for all of --out; another needs another --out.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from darts_on_table_drawing import METHODS, Record
from darts_on_table_networks import build, estimator_of, in_rounds, load, relaxed, weights_recipe
from darts_on_table_plan import fixed_setting, plan
from darts_on_table_summary import summarise
from resumable import add_data_options, run_command

from onepath.data import Task
from onepath.nn import Supernet
from onepath.record import EstimateStore, TrainingCheckpoint, atomic_write_json
from onepath.search import Evolution, FeasibleSet
from onepath.train import (
    UniformSampler,
    train_differentiable,
    train_supernet,
)


def main() -> None:
    options = parsed()
    run_command({"plan": plan, "train": train, "summary": summarise}, options)


def train(options: argparse.Namespace) -> None:
    """Run one search, or continue it where it stopped."""
    name = f"{options.method}-{options.seed}"
    done = options.out / f"{name}.json"
    if done.is_file():
        fixed_setting(options, lambda: load(options))
        print(f"{name} is searched already")
        return
    task = load(options)
    setting = fixed_setting(options, lambda: task)
    per_round = setting["plan"]["updates_per_round"][options.method]
    rounds = in_rounds(task, per_round)
    kept = TrainingCheckpoint(options.out / f"{name}.training.pt", options.checkpoint_seconds)
    meter = Meter(kept, per_round)
    recipe = weights_recipe(options, options.rounds)
    shown = time.monotonic()

    def on_update(update: int, total: int) -> None:
        nonlocal shown
        meter.observe(update)
        if options.stop_after is not None and update >= options.stop_after:
            raise KeyboardInterrupt
        if time.monotonic() - shown > 30 or update == total:
            shown = time.monotonic()
            print(f"{name}: update {update} of {total}", flush=True)

    run: dict[str, Any] = {
        "recipe": recipe,
        "seed": options.seed,
        "device": options.device,
        "checkpoint": meter,
        "on_update": on_update,
    }
    if options.method == "spos":
        supernet = build(options, options.seed)
        curve = train_supernet(supernet, rounds, sampler=UniformSampler(supernet.space), **run)
        found = evolved(options, supernet, task, setting["plan"]["evaluations"], sum(meter.rounds))
    else:
        supernet, training = relaxed(options, options.method, options.seed, per_round, options.rounds)
        curve = train_differentiable(supernet, rounds, training, **run)
        found = {
            "points": [dataclasses.asdict(point) for point in training.points],
            "warmup_rounds": training.recipe.warmup_epochs,
            "logits_rate": training.recipe.learning_rate,
            "path": [
                {"seconds": float(spent), "architecture": point.architecture}
                for spent, point in zip(np.cumsum(meter.rounds), training.points, strict=True)
            ],
        }
    content = {
        "method": options.method,
        "seed": options.seed,
        "updates": per_round * options.rounds,
        "seconds": found["path"][-1]["seconds"],
        "seconds_of_signals": meter.signals,
        "loss": curve[-1].loss,
        "accuracy": curve[-1].metric,
        "data": task.fingerprint,
        "num_train": task.num_examples("train"),
        "num_validation": task.num_examples("validation"),
        **found,
    }
    atomic_write_json(done, content)
    kept.remove()
    print(f"{name}: {found['path'][-1]['architecture']} in {content['seconds']:.0f} CPU s")


class Meter:
    """CPU seconds of the updates, kept in the training's checkpoint.

    The first update of a round also computes the signals of the round before, or starts a process. It counts as much as
    the mean of the round's other updates; the rest of its time is added up separately.

    Attributes:
        rounds: seconds of every finished round.
        signals: sum of the seconds by which first updates took longer than the others.
    """

    def __init__(self, checkpoint: TrainingCheckpoint, per_round: int) -> None:
        self._checkpoint, self._per_round = checkpoint, per_round
        self.rounds: list[float] = []
        self.signals = self._first = self._others = 0.0
        self._num = 0
        self._last, self._is_fresh = time.process_time(), True

    def observe(self, update: int) -> None:
        """Add the time since the last call; call it after each update."""
        now, place = time.process_time(), (update - 1) % self._per_round
        spent, self._last = now - self._last, now
        if place == 0:
            self._first, self._others, self._num = spent, 0.0, 0
        elif not self._is_fresh:
            self._others += spent
            self._num += 1
        self._is_fresh = False
        if place == self._per_round - 1:
            mean = self._others / max(self._num, 1)
            self.rounds.append(mean * self._per_round)
            self.signals += max(0.0, self._first - mean)

    def due(self) -> bool:
        """See `Checkpoint.due`."""
        return self._checkpoint.due()

    def save(self, state: dict[str, Any]) -> None:
        """Save the training's state with the seconds so far; the time that saving takes is not counted."""
        meter = [list(self.rounds), self.signals, self._first, self._others, self._num]
        self._checkpoint.save({**state, "meter": meter})
        self._last = time.process_time()

    def load(self) -> dict[str, Any] | None:
        """Return the training's state, or None, and restore the seconds."""
        state = self._checkpoint.load()
        if state is not None:
            self.rounds, self.signals, self._first, self._others, self._num = state.pop("meter")
        self._last, self._is_fresh = time.process_time(), True
        return state


def evolved(options: argparse.Namespace, supernet: Supernet, task: Task, num: int, trained: float) -> Record:
    """Run an evolution on the validation accuracy of inherited weights; every estimate is stored at once."""
    name = f"spos-{options.seed}"
    estimator = estimator_of(options, supernet.eval(), task, options.seed)
    population = max(5, min(50, num // 10))
    algorithm = Evolution(supernet.space, options.seed, population, num // population - 1)
    feasible, spent, path = FeasibleSet(supernet.space), trained, []
    best: tuple[float, float] = (-np.inf, -np.inf)
    cell = ""
    trials: list[tuple[str, float]] = []
    with EstimateStore(options.out / "estimates.sqlite") as store:
        known = store.read(name)
        while proposals := algorithm.ask(feasible):
            scores = []
            for proposal in proposals:
                key = supernet.space.format(proposal.architecture)
                if key not in known:
                    began = time.process_time()
                    found = estimator.estimate(proposal.architecture)
                    cpu = time.process_time() - began
                    known[key] = {"accuracy": found.accuracy, "loss": found.loss, "cpu": cpu}
                    store.put(name, key, known[key], cpu)
                    if options.stop_after is not None and len(known) >= options.stop_after:
                        raise KeyboardInterrupt
                row = {what: -np.inf if value is None else value for what, value in known[key].items()}
                score = (row["accuracy"], -abs(row["loss"]))
                scores.append(score)
                trials.append((key, row["accuracy"]))
                spent += row["cpu"]
                best, cell = max((best, cell), (score, key))
            algorithm.tell([proposal.architecture for proposal in proposals], scores)
            path.append({"seconds": spent, "architecture": cell})
    return {"path": path, "trials": trials, "seconds_of_training": trained}


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", choices=("plan", "train", "summary"))
    add: Callable[..., Any] = parser.add_argument
    add("--out", type=Path, required=True)
    add_data_options(add)
    add("--truth", type=Path, help="the benchmark's table; only the summary reads it")
    add("--method", choices=METHODS, default="darts-first")
    add("--checkpoint-seconds", type=float, default=30.0)
    add("--stop-after", type=int, help="end after this many updates or evaluated cells, as a kill would")
    setting = parser.add_argument_group("the setting, one for all searches of --out")
    add = setting.add_argument
    add("--budget-seconds", type=float, default=140.0, help="budget of each method and seed in CPU seconds")
    add(
        "--rounds",
        type=int,
        default=20,
        help="number of rounds of a search; its signals are recorded after each",
    )
    add("--width", type=float, default=0.25, help="factor on 16, 32 and 64 channels")
    add("--num-cells", type=int, default=1, help="number of cells in each of the three stages")
    add("--input-size", type=int, default=16, help="side in pixels to which images are reduced")
    add("--batch-size", type=int, default=64)
    add("--learning-rate", type=float, default=0.025, help="learning rate of the weights")
    add("--spos-training", type=float, default=0.5, help="share of SPOS's budget that is spent on training")
    add("--calibration-images", type=int, default=500)
    add("--validation-images", type=int, default=1000)
    add("--no-eigenvalue", dest="eigenvalue", action="store_false")
    add("--num-images", type=int, help="number of images to use, for a quick trial; default: all")
    timing = parser.add_argument_group("the plan")
    add = timing.add_argument
    add("--plan", type=Path, help="a setting.json to use instead of measuring")
    add("--repeats", type=int, default=4, help="number of times that every method is timed")
    add("--timed-updates", type=int, default=5, help="number of updates that are timed each time")
    judged = parser.add_argument_group("the summary")
    add = judged.add_argument
    add(
        "--collapsed",
        type=int,
        default=5,
        help="number of skip connections on the six edges that counts as a collapse",
    )
    add("--max-skips", type=int, default=2, help="most skip connections that the guard of skips allows")
    add("--eigenvalue-ratio", type=float, default=0.75)
    add("--window", type=int, default=5, help="window of the guard of the eigenvalue, in rounds")
    return parser.parse_args()


if __name__ == "__main__":
    main()
