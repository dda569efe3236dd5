r"""How well supernets rank NAS-Bench-Macro's networks on CIFAR-10, by the sampler that trained them.

Every supernet is trained with the same setting and the same number of forward-backward passes. A pass of strict
fairness or of the uniform sampler runs one path; a pass of path dropout runs the sum of the candidates that were kept.
Then each supernet estimates the same random rows of the benchmark's table, with its normalisation recalibrated for each
row. Rows are networks: architectures that are one network when trained from scratch count once, in the form that was
trained.

Everything is kept in --out as soon as it is known: the same command continues after a kill. One process trains one
(sampler, seed), so that several may run at the same time with the same --out:

    python benchmarks/supernet_ranking.py train --out DIR --data cifar10_train.parquet \
        --test-data cifar10_test.parquet --sampler fair --seed 1
    python benchmarks/supernet_ranking.py estimate --out DIR --data ... --test-data ... --truth TABLE \
        --sampler fair --seed 1
    python benchmarks/supernet_ranking.py summary --out DIR --truth TABLE

The first `train` in --out fixes the setting of the training; another setting needs another --out. Three things can
still be compared on the same supernets: the number of images, the last weights or their average over the last part of
the training, and accuracy or loss as the score.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from resumable import add_data_options, check_setting, load_cifar, run_command
from supernet_ranking_summary import build, rows, setting_name, summarise

from onepath.errors import ConfigurationError
from onepath.estimate import SupernetEstimator
from onepath.nn import Supernet
from onepath.record import (
    EstimateStore,
    TrainingCheckpoint,
    atomic_write_json,
    load_tensors,
    save_tensors,
)
from onepath.train import (
    AveragedCheckpoint,
    CandidateCounts,
    PathDropoutSampler,
    Recipe,
    Sampler,
    StrictFairnessSampler,
    UniformSampler,
    WeightAverage,
    train_supernet,
)

TRAINING = (
    *("width", "passes", "batch_size", "learning_rate", "weight_decay", "label_smoothing", "schedule"),
    *("warmup", "nesterov", "reduction", "one_path", "average_from", "average_decay", "num_images"),
)


def main() -> None:
    options = parsed()
    run_command({"train": train, "estimate": estimate, "summary": summarise}, options)


# Training.


def train(options: argparse.Namespace) -> None:
    """Train one supernet, or continue where its training stopped."""
    name = f"{options.sampler}-{options.seed}"
    done = options.out / f"{name}.json"
    setting = fixed_setting(options)
    if done.is_file():
        print(f"{name} is trained already")
        return
    task = load_cifar(options)
    supernet = build(options.width, options.seed)
    recipe, sampler = plan(options, task.updates_per_epoch(options.batch_size), supernet)
    num_updates = recipe.epochs * task.updates_per_epoch(recipe.batch_size)
    average = WeightAverage(supernet, begin=options.average_from, decay=options.average_decay)
    counts = CandidateCounts()
    checkpoint = TrainingCheckpoint(options.out / f"{name}.training.pt", options.checkpoint_seconds)
    shown = time.monotonic()

    def on_update(update: int, total: int) -> None:
        nonlocal shown
        average.observe(update, total)
        if options.stop_after is not None and update >= options.stop_after:
            raise KeyboardInterrupt
        if time.monotonic() - shown > 30 or update == total:
            shown = time.monotonic()
            print(f"{name}: update {update} of {total}", flush=True)

    curve = train_supernet(
        supernet,
        task,
        sampler=sampler,
        recipe=recipe,
        seed=options.seed,
        device=options.device,
        checkpoint=AveragedCheckpoint(checkpoint, average),
        reduction=options.reduction,
        counts=counts,
        on_update=on_update,
    )
    save_tensors(options.out / f"{name}.last.safetensors", supernet.state_dict())
    average.apply()
    save_tensors(options.out / f"{name}.average.safetensors", supernet.state_dict())
    content = {
        **setting,
        "sampler": options.sampler,
        "seed": options.seed,
        "recipe": dataclasses.asdict(recipe),
        "num_updates": num_updates,
        "num_passes": num_passes(recipe, num_updates, sampler),
        "by_block": counts.by_block,
        "seconds": curve[-1].seconds,
        "images_per_second": num_passes(recipe, num_updates, sampler)
        * options.batch_size
        / curve[-1].seconds,
        "loss": curve[-1].loss,
        "accuracy": curve[-1].metric,
        "num_train": task.num_examples("train"),
        "data": task.fingerprint,
    }
    atomic_write_json(done, content)
    checkpoint.remove()
    print(
        f"{name}: {content['num_passes']:,} passes in {content['seconds']:.0f} s, "
        f"{1e3 / content['images_per_second']:.3f} ms an image and pass, last loss {content['loss']:.3f}"
    )


def plan(options: argparse.Namespace, updates_per_epoch: int, supernet: Supernet) -> tuple[Recipe, Sampler]:
    """Return the recipe and the sampler: as many passes for every sampler, whatever an update costs.

    With E epochs of U updates of m paths each, of which the share s trains one path alone, the passes are
    E * U * (s + m * (1 - s)). E is a whole number, so for m > 1 it is the share s that makes up the difference.
    """
    space, passes = supernet.space, options.passes
    epochs, one_path, num_paths = passes, options.one_path, 1
    if options.sampler == "fair":
        num_paths = StrictFairnessSampler(space).num_paths
        epochs = max(-(-passes // num_paths), round(passes * (one_path + (1 - one_path) / num_paths)))
        one_path = (num_paths * epochs - passes) / ((num_paths - 1) * epochs)
        if not 0 <= one_path < 1 or (options.one_path == 0 and one_path > 0):
            raise ConfigurationError(
                f"--passes must be a multiple of {num_paths} without --one-path, but got {passes}; change it"
            )
    if options.sampler.startswith("dropout"):
        # Candidates are summed from the first update on: after a start from one path, weights have another scale.
        one_path = 0.0
    recipe = Recipe(
        epochs=epochs,
        batch_size=options.batch_size,
        learning_rate=options.learning_rate,
        weight_decay=options.weight_decay,
        label_smoothing=options.label_smoothing,
        schedule=options.schedule,
        warmup_epochs=options.warmup * epochs,
        nesterov=options.nesterov,
        one_path=one_path,
    )
    if options.sampler == "fair":
        return recipe, StrictFairnessSampler(space)
    if options.sampler == "uniform":
        return recipe, UniformSampler(space)
    rate = float(options.sampler.removeprefix("dropout-"))
    return recipe, PathDropoutSampler(space, epochs * updates_per_epoch, rate=rate)


def num_passes(recipe: Recipe, num_updates: int, sampler: Sampler) -> int:
    """Return the number of forward-backward passes of a batch."""
    num_one_path = round(recipe.one_path * num_updates)
    return num_one_path + (num_updates - num_one_path) * getattr(sampler, "num_paths", 1)


def fixed_setting(options: argparse.Namespace) -> dict[str, Any]:
    """Return the setting of the training, the same for all supernets of a directory; raise if another was given."""
    setting = {name: getattr(options, name) for name in TRAINING}
    path = options.out / "setting.json"
    if not path.is_file():
        atomic_write_json(path, setting)
    check_setting(json.loads(path.read_text()), setting, options.out)
    return setting


# Estimates.


def estimate(options: argparse.Namespace) -> None:
    """Estimate the rows with one trained supernet; each estimate is stored at once."""
    name = f"{options.sampler}-{options.seed}"
    if not (options.out / f"{name}.json").is_file():
        raise ConfigurationError(f"estimate needs a trained supernet, but {name} is not; run `train` first")
    trained = json.loads((options.out / f"{name}.json").read_text())
    options.num_images = trained["num_images"]
    supernet = build(trained["width"], options.seed)
    supernet.load_state_dict(load_tensors(options.out / f"{name}.{options.weights}.safetensors"))
    networks = rows(options, supernet)
    estimator = SupernetEstimator(
        supernet.eval(),
        load_cifar(options),
        calibration_images=options.calibration_images,
        validation_images=options.validation_images,
        device=options.device,
    )
    began, num_done = time.monotonic(), 0
    with EstimateStore(options.out / "estimates.sqlite") as store:
        known = store.read(setting_name(options, name))
        for architecture in networks.architectures:
            if str(architecture) in known:
                continue
            found = estimator.estimate(architecture)
            numbers = {"accuracy": found.accuracy, "loss": found.loss}
            store.put(setting_name(options, name), str(architecture), numbers, found.seconds)
            num_done += 1
            if num_done == options.stop_after:
                break
    seconds = time.monotonic() - began
    print(f"{name}: {num_done} new rows of {len(networks)}, {seconds / max(num_done, 1):.3f} s each")


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", choices=("train", "estimate", "summary"))
    add: Callable[..., Any] = parser.add_argument
    add("--out", type=Path, required=True)
    add_data_options(add)
    add("--truth", type=Path, help="the benchmark's table")
    add(
        "--sampler",
        default="uniform",
        help="sampler of the training: uniform, fair or dropout-RATE, such as dropout-0.1",
    )
    add("--checkpoint-seconds", type=float, default=60.0)
    add("--stop-after", type=int, help="end after this many updates or rows, as a kill would")
    training = parser.add_argument_group("the training, one for all supernets of --out")
    add = training.add_argument
    add("--width", type=float, default=0.25)
    add("--passes", type=int, default=12, help="passes over the training images, the same for every sampler")
    add("--batch-size", type=int, default=128)
    add("--learning-rate", type=float, default=0.2)
    add("--weight-decay", type=float, default=1e-4)
    add("--label-smoothing", type=float, default=0.0)
    add("--schedule", choices=("cosine", "linear"), default="cosine")
    add("--warmup", type=float, default=0.05, help="share of the training in which the learning rate rises")
    add("--no-nesterov", dest="nesterov", action="store_false")
    add(
        "--reduction",
        choices=("sum", "mean"),
        default="sum",
        help="how the gradients of an update's paths are joined where they share weights",
    )
    add(
        "--one-path",
        type=float,
        default=0.0,
        help="share of the passes that train a single path, before all others",
    )
    add(
        "--average-from",
        type=float,
        default=0.75,
        help="share of the updates after which weights are averaged",
    )
    add(
        "--average-decay",
        type=float,
        default=1.0,
        help="decay of the average: 1 is a plain mean, less an exponential mean, every 10 updates",
    )
    add("--num-images", type=int, help="number of images to use, for a quick trial; default: all")
    estimates = parser.add_argument_group("the estimates")
    add = estimates.add_argument
    add("--rows", type=int, default=300)
    add("--calibration-images", type=int, default=1000)
    add("--validation-images", type=int, default=2000)
    add("--weights", choices=("last", "average"), default="last")
    add("--resamples", type=int, default=1000)
    add("--name", help="name of the summary's files")
    return parser.parse_args()


if __name__ == "__main__":
    main()
