"""Differentiable methods on NAS-Bench-201's space with CIFAR-10, at equal compute: which cells they find.

DARTS (first and second order), GDAS and ProxylessNAS's two-path gates train logits beside the weights of one reduced
network; SPOS trains the same network by uniform single paths and searches it by evolution on validation accuracy. The
cells found are looked up in the benchmark's table of networks trained on all of CIFAR-10, which no search reads, and
stand beside the table's own distribution, that is, random cells.

Equal compute means equal CPU seconds, because the passes of different methods are different things: one of DARTS runs
30 candidates of a cell, one of GDAS six, and how much that costs depends on the machine and the size. Seconds of a run
in progress would make its length depend on what else the machine does. So `plan` measures the seconds of one update of
every method, in turn and several times, and divides the budget by the medians: numbers of updates, the same for all
seeds, kept in --out/setting.json. `--plan FILE` takes another setting.json as it is, and gives its results again. A
round has a whole number of updates, so that budgets are met to half an update a round. The seconds that a search
really took are in its record. SPOS spends a share of its budget (--spos-training) on training, and the rest on
evaluating as many cells as its seconds allow. Looking at signals is not in the budget.

The network is small and sees images of 16x16 pixels by default: of 32x32, one update of second order takes 1.4 s on a
busy core, and a search of a few minutes has a hundred of them. All methods have the same network and images.

All methods share the weights' optimizer, which is DARTS's. The logits' rates of the papers are for 19,500 updates; a
search of fewer takes a rate that goes as far, at most 0.05. ProxylessNAS trains weights alone for a third of its
rounds. A search has the same number of rounds (--rounds) for every method; after each, the derived cell, its skip
connections, the entropy of the logits, and for DARTS the dominant eigenvalue of the validation Hessian are noted. No
search is stopped: `summary` applies the library's guard to the signals and tells when it would have fired.

Everything is kept in --out as it comes: the same command continues after a kill. One process does one (method, seed):

    python benchmarks/darts_on_table.py plan --out DIR --data cifar10_train.parquet --test-data cifar10_test.parquet
    python benchmarks/darts_on_table.py train --out DIR --data ... --test-data ... --method gdas --seed 1
    python benchmarks/darts_on_table.py summary --out DIR --truth nasbench201_cifar10.parquet

`plan` may be left out: the first `train` does it. The setting is one for all of --out; another needs another --out.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import dataclasses
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from darts_on_table_drawing import METHODS, Record
from darts_on_table_summary import summarise
from resumable import add_data_options, check_setting, load_cifar, run_command

from onepath import spaces
from onepath.data import Task
from onepath.estimate import SupernetEstimator
from onepath.methods.darts import darts_recipe
from onepath.nn import Supernet
from onepath.nn.relaxations import GumbelRelaxation, Relaxation, SoftmaxRelaxation, TwoPathRelaxation
from onepath.randomness import generator
from onepath.record import EstimateStore, TrainingCheckpoint, atomic_write_json
from onepath.search import Evolution, FeasibleSet
from onepath.train import (
    ArchitectureRecipe,
    ArchitectureTraining,
    Recipe,
    UniformSampler,
    train_relaxed,
    train_supernet,
)

SETTING = (
    *("budget_seconds", "rounds", "width", "num_cells", "input_size", "batch_size", "learning_rate"),
    *("spos_training", "calibration_images", "validation_images", "eigenvalue", "num_images"),
)
PAPER_UPDATES = 19_500
LARGEST_RATE = 0.05


def main() -> None:
    options = parsed()
    run_command({"plan": plan, "train": train, "summary": summarise}, options)


# The setting: what is given, and how long everything may last.


def plan(options: argparse.Namespace) -> None:
    """Measure, and fix the setting."""
    show_plan(fixed_setting(options, lambda: load(options)))


def fixed_setting(options: argparse.Namespace, task: Callable[[], Task]) -> Record:
    """The setting of the directory, made if there is none; an error if another was given."""
    given = {name: getattr(options, name) for name in SETTING}
    path = options.out / "setting.json"
    if not path.is_file():
        # One that is copied brings what it was measured for, which is compared below.
        made = (
            {"given": given, "plan": measured_plan(options, task())}
            if options.plan is None
            else json.loads(options.plan.read_text())
        )
        temporary = options.out / f"setting.{os.getpid()}.json"
        atomic_write_json(temporary, made)
        with contextlib.suppress(FileExistsError):  # another process was quicker: its plan counts
            os.link(temporary, path)
        temporary.unlink()
    stored: Record = json.loads(path.read_text())
    check_setting(stored["given"], given, options.out)
    return stored


def measured_plan(options: argparse.Namespace, task: Task) -> Record:
    """Numbers of updates and of evaluations that last as long as the budget."""
    seconds: dict[str, list[float]] = {method: [] for method in METHODS}
    estimate_seconds: list[float] = []
    for repeat in range(options.repeats):
        for method in METHODS:
            seconds[method] += update_seconds(options, task, method, repeat)
        estimate_seconds += evaluation_seconds(options, task, repeat)
    each = {method: statistics.median(values) for method, values in seconds.items()}
    budget, rounds, share = options.budget_seconds, options.rounds, options.spos_training
    # The warm-up of proxyless has updates like those of spos.
    warmup = num_warmup(rounds) / rounds
    each["proxyless"] = warmup * each["spos"] + (1 - warmup) * each["proxyless"]
    cell = statistics.mean(estimate_seconds)
    return {
        "seconds_per_update": each,
        "seconds_per_evaluation": cell,
        "updates_per_round": {
            method: max(2, round(budget * (share if method == "spos" else 1) / each[method] / rounds))
            for method in METHODS
        },
        "evaluations": max(20, round(budget * (1 - share) / cell)),
    }


class _EnoughError(Exception):
    """Ends a training that is only timed."""


def update_seconds(options: argparse.Namespace, task: Task, method: str, seed: int) -> list[float]:
    """CPU seconds of a few updates of a new training, without the first."""
    times = [time.process_time()]
    rounds = in_rounds(task, options.timed_updates + 2)

    def on_update(update: int, _: int) -> None:
        times.append(time.process_time())
        if update > options.timed_updates:
            raise _EnoughError

    with contextlib.suppress(_EnoughError):
        if method == "spos":
            supernet = build(options, seed)
            sampler = UniformSampler(supernet.space)
            train_supernet(
                supernet,
                rounds,
                sampler=sampler,
                recipe=weights_recipe(options, 1),
                seed=seed,
                on_update=on_update,
            )
        else:
            supernet, training = relaxed(options, method, seed, PAPER_UPDATES, 1)  # one round: no warm-up
            train_relaxed(
                supernet, rounds, training, recipe=weights_recipe(options, 1), seed=seed, on_update=on_update
            )
    found = np.diff(times)[1:]
    return [float(value) for value in found]


def evaluation_seconds(options: argparse.Namespace, task: Task, seed: int) -> list[float]:
    supernet = build(options, seed)
    estimator = estimator_of(options, supernet, task, seed)
    times, rng = [], generator(seed, "timed cells")
    for architecture in supernet.space.architectures(supernet.space.sample(5, rng)):
        began = time.process_time()
        estimator.estimate(architecture)
        times.append(time.process_time() - began)
    return times[1:]


def show_plan(setting: Record) -> None:
    found = setting["plan"]
    print(f"budget {setting['given']['budget_seconds']:g} CPU seconds for each method and seed")
    for method in METHODS:
        per_round, each = found["updates_per_round"][method], found["seconds_per_update"][method]
        updates = per_round * setting["given"]["rounds"]
        print(
            f"  {method:<14}{1e3 * each:8.1f} ms an update, {updates:6,} updates, {updates * each:7.1f} s"
            + (
                f", then {found['evaluations']:,} cells of {1e3 * found['seconds_per_evaluation']:.0f} ms"
                if method == "spos"
                else ""
            )
        )


# A search.


def train(options: argparse.Namespace) -> None:
    """One search, or what is left of it."""
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
        curve = train_relaxed(supernet, rounds, training, **run)
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


def in_rounds(task: Task, num_updates: int) -> Task:
    """The same task to a training whose epochs are rounds of so many updates; the batches know nothing of it."""
    rounds = copy.copy(task)
    rounds.updates_per_epoch = lambda _: num_updates  # type: ignore[method-assign]
    return rounds


class Meter:
    """CPU seconds of the updates, kept in the training's checkpoint.

    The first update of a round also computes the signals of the round before, or starts a process; it counts as a mean
    one, and what it took more is summed apart.

    Attributes:
        rounds: seconds of every round that is over.
        signals: seconds beyond them.
    """

    def __init__(self, checkpoint: TrainingCheckpoint, per_round: int) -> None:
        self._checkpoint, self._per_round = checkpoint, per_round
        self.rounds: list[float] = []
        self.signals = self._first = self._others = 0.0
        self._num = 0
        self._last, self._is_fresh = time.process_time(), True

    def observe(self, update: int) -> None:
        """After an update."""
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
        """With the seconds so far; what saving takes is not counted."""
        meter = [list(self.rounds), self.signals, self._first, self._others, self._num]
        self._checkpoint.save({**state, "meter": meter})
        self._last = time.process_time()

    def load(self) -> dict[str, Any] | None:
        """The training's state; the seconds are restored."""
        state = self._checkpoint.load()
        if state is not None:
            self.rounds, self.signals, self._first, self._others, self._num = state.pop("meter")
        self._last, self._is_fresh = time.process_time(), True
        return state


def relaxed(
    options: argparse.Namespace, method: str, seed: int, per_round: int, num_rounds: int
) -> tuple[Supernet, ArchitectureTraining]:
    """A new supernet and the training of its logits."""
    supernet = build(options, seed)
    kinds: dict[str, type[Relaxation]] = {"gdas": GumbelRelaxation, "proxyless": TwoPathRelaxation}
    relaxation = kinds.get(method, SoftmaxRelaxation)(supernet, seed=seed)
    scale = max(1.0, PAPER_UPDATES / (per_round * num_rounds))
    recipe = ArchitectureRecipe(
        order="second" if method == "darts-second" else "first",
        learning_rate=min(LARGEST_RATE, 3e-4 * scale),
        watch_eigenvalue=options.eigenvalue and method.startswith("darts"),
    )
    if method == "proxyless":
        recipe = ArchitectureRecipe(
            learning_rate=min(LARGEST_RATE, 1e-3 * scale),
            betas=(0.0, 0.999),
            weight_decay=0.0,
            warmup_epochs=num_warmup(num_rounds),
        )
    return supernet, ArchitectureTraining(supernet, relaxation, recipe, seed=seed)


def num_warmup(num_rounds: int) -> int:
    """Rounds in which proxyless trains weights alone."""
    return num_rounds // 3


def evolved(options: argparse.Namespace, supernet: Supernet, task: Task, num: int, trained: float) -> Record:
    """Evolution on the validation accuracy of inherited weights; every estimate is kept as it comes."""
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


def estimator_of(options: argparse.Namespace, supernet: Supernet, task: Task, seed: int) -> SupernetEstimator:
    return SupernetEstimator(
        supernet,
        task,
        calibration_images=options.calibration_images,
        validation_images=options.validation_images,
        device=options.device,
        seed=seed,
    )


def build(options: argparse.Namespace, seed: int) -> Supernet:
    return spaces.build(
        "nasbench201",
        10,
        input_size=options.input_size,
        in_channels=3,
        width=options.width,
        num_cells=options.num_cells,
        seed=seed,
    )


def weights_recipe(options: argparse.Namespace, num_rounds: int) -> Recipe:
    recipe = darts_recipe(num_rounds, options.batch_size)
    rate = options.learning_rate
    return dataclasses.replace(recipe, learning_rate=rate, final_rate=rate / 25)


def load(options: argparse.Namespace) -> Task:
    return load_cifar(options, None if options.input_size == 32 else options.input_size)


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", choices=("plan", "train", "summary"))
    add: Callable[..., Any] = parser.add_argument
    add("--out", type=Path, required=True)
    add_data_options(add)
    add("--truth", type=Path, help="the benchmark's table, for the summary alone")
    add("--method", choices=METHODS, default="darts-first")
    add("--checkpoint-seconds", type=float, default=30.0)
    add("--stop-after", type=int, help="end after so many updates, or evaluated cells, as a kill would")
    setting = parser.add_argument_group("the setting, one for all searches of --out")
    add = setting.add_argument
    add("--budget-seconds", type=float, default=140.0, help="CPU seconds of each method and seed")
    add("--rounds", type=int, default=20, help="in which a search is looked at")
    add("--width", type=float, default=0.25, help="factor on 16, 32 and 64 channels")
    add("--num-cells", type=int, default=1, help="in each of three stages")
    add("--input-size", type=int, default=16, help="pixels a side that images are reduced to")
    add("--batch-size", type=int, default=64)
    add("--learning-rate", type=float, default=0.025, help="of the weights")
    add("--spos-training", type=float, default=0.5, help="share of SPOS's budget that trains")
    add("--calibration-images", type=int, default=500)
    add("--validation-images", type=int, default=1000)
    add("--no-eigenvalue", dest="eigenvalue", action="store_false")
    add("--num-images", type=int, help="fewer images, for a trial")
    timing = parser.add_argument_group("the plan")
    add = timing.add_argument
    add("--plan", type=Path, help="a setting.json that is taken instead of measuring")
    add("--repeats", type=int, default=4, help="times that every method is timed")
    add("--timed-updates", type=int, default=5, help="updates of each time")
    judged = parser.add_argument_group("the summary")
    add = judged.add_argument
    add("--collapsed", type=int, default=5, help="skip connections, of six edges, that are a collapse")
    add("--max-skips", type=int, default=2, help="most that the guard of skips lets pass")
    add("--eigenvalue-ratio", type=float, default=0.75)
    add("--window", type=int, default=5, help="rounds, of the guard of the eigenvalue")
    return parser.parse_args()


if __name__ == "__main__":
    main()
