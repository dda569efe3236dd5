"""The setting of `darts_on_table.py`: the options that were given, and the length of every search."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import time
from collections.abc import Callable

import numpy as np
from darts_on_table_drawing import METHODS, Record
from darts_on_table_networks import (
    PAPER_UPDATES,
    build,
    estimator_of,
    in_rounds,
    load,
    num_warmup,
    relaxed,
    weights_recipe,
)
from resumable import check_setting

from onepath.data import Task
from onepath.randomness import generator
from onepath.record import atomic_write_json
from onepath.train import UniformSampler, train_differentiable, train_supernet

SETTING = (
    *("budget_seconds", "rounds", "width", "num_cells", "input_size", "batch_size", "learning_rate"),
    *("spos_training", "calibration_images", "validation_images", "eigenvalue", "num_images"),
)


def plan(options: argparse.Namespace) -> None:
    """Measure the methods, then fix and print the setting."""
    show_plan(fixed_setting(options, lambda: load(options)))


def fixed_setting(options: argparse.Namespace, task: Callable[[], Task]) -> Record:
    """Return the setting of the directory, made if there is none; raise if its options are not the ones given."""
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
    """Return the numbers of updates and of evaluations that take as long as the budget."""
    seconds: dict[str, list[float]] = {method: [] for method in METHODS}
    estimate_seconds: list[float] = []
    for repeat in range(options.repeats):
        for method in METHODS:
            seconds[method] += update_seconds(options, task, method, repeat)
        estimate_seconds += evaluation_seconds(options, task, repeat)
    each = {method: statistics.median(values) for method, values in seconds.items()}
    budget, rounds, share = options.budget_seconds, options.rounds, options.spos_training
    # In its warm-up, proxyless trains single paths as spos does.
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
    """Return the CPU seconds of each of a few updates of a new training, without the first."""
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
            train_differentiable(
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
