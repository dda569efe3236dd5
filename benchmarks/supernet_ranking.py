r"""How well supernets rank NAS-Bench-Macro's networks on CIFAR-10, by the sampler that trained them.

Every supernet is trained with the same setting and the same number of forward-backward passes; a pass of strict
fairness or of the uniform sampler runs one path, one of path dropout runs the sum of the candidates that were kept.
Then each estimates the same random rows of the benchmark's table, with its normalisation recalibrated for each. Rows
are networks: architectures that are one network when trained from scratch count once, in the form that was trained.

Everything is kept in --out as it comes: the same command continues after a kill. One process trains one (sampler,
seed), so that several may run at the same time with the same --out:

    python benchmarks/supernet_ranking.py train --out DIR --data cifar10_train.parquet \
        --test-data cifar10_test.parquet --sampler fair --seed 1
    python benchmarks/supernet_ranking.py estimate --out DIR --data ... --test-data ... --truth TABLE \
        --sampler fair --seed 1
    python benchmarks/supernet_ranking.py summary --out DIR --truth TABLE

The setting of the training is fixed by the first `train` in --out; another one needs another --out. What is free
afterwards, and can be compared on the same supernets: the number of images, the last weights or their average over
the last part of the training, and accuracy or loss as the score.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from onepath import cost, spaces
from onepath.data import load_data
from onepath.errors import ConfigurationError, UserError
from onepath.estimate import Networks, SupernetEstimator, TableEstimator, one_row_per_network, rank_evidence
from onepath.estimate.rank_evidence import CONFIDENCE, SHARES, share_name
from onepath.nn import Supernet
from onepath.randomness import generator
from onepath.rank_correlation import kendall_tau, num_better, ordinal
from onepath.record import (
    EstimateStore,
    TrainingCheckpoint,
    atomic_write_json,
    atomic_write_text,
    load_tensors,
    save_tensors,
)
from onepath.report.ranking import Study, ranking_page
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

SPACE = "nasbench-macro"
SHAPE = (3, 32, 32)
TRAINING = (
    *("width", "passes", "batch_size", "learning_rate", "weight_decay", "label_smoothing", "schedule"),
    *("warmup", "nesterov", "reduction", "one_path", "average_from", "average_decay", "num_images"),
)


def main() -> None:
    options = parsed()
    torch.set_num_threads(options.threads)
    options.out.mkdir(parents=True, exist_ok=True)
    try:
        {"train": train, "estimate": estimate, "summary": summarise}[options.command](options)
    except UserError as error:
        raise SystemExit(f"error: {error}") from error
    except KeyboardInterrupt:
        raise SystemExit("stopped: the same command continues") from None


# Training.


def train(options: argparse.Namespace) -> None:
    """Train one supernet, or what is left of it."""
    name = f"{options.sampler}-{options.seed}"
    done = options.out / f"{name}.json"
    setting = fixed_setting(options)
    if done.is_file():
        print(f"{name} is trained already")
        return
    task = load(options)
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
    """The recipe and the sampler: as many passes for every sampler, whatever an update costs.

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
                f"--passes must be a multiple of {num_paths} without --one-path, but got {passes}. Change it."
            )
    if options.sampler.startswith("dropout"):
        # Sums of candidates from the first update: a start from one path trains weights of another scale.
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
    """Forward-backward passes of a batch."""
    num_one_path = round(recipe.one_path * num_updates)
    return num_one_path + (num_updates - num_one_path) * getattr(sampler, "num_paths", 1)


def build(width: float, seed: int) -> Supernet:
    return spaces.build(SPACE, 10, input_size=SHAPE[1], in_channels=SHAPE[0], width=width, seed=seed)


def load(options: argparse.Namespace) -> Any:
    """CIFAR-10, 45,000 images to train and 5,000 to validate; with --num-images fewer of each."""
    if options.data is None or options.test_data is None:
        raise ConfigurationError(f"{options.command} needs --data and --test-data, but got none. Give both.")
    if options.num_images is None:
        return load_data(str(options.data), test=str(options.test_data), seed=0)
    import io

    import pyarrow.parquet as pq
    from PIL import Image

    table = pq.read_table(options.data, columns=["image", "label"]).slice(0, options.num_images)
    encoded = [image["bytes"] if isinstance(image, dict) else image for image in table["image"].to_pylist()]
    pixels = np.stack([np.asarray(Image.open(io.BytesIO(content))) for content in encoded])
    return load_data((pixels, table["label"].to_numpy()), seed=0)


def fixed_setting(options: argparse.Namespace) -> dict[str, Any]:
    """The setting of the training, the same for all supernets of a directory."""
    setting = {name: getattr(options, name) for name in TRAINING}
    path = options.out / "setting.json"
    if not path.is_file():
        atomic_write_json(path, setting)
    stored = json.loads(path.read_text())
    changed = [
        f"{name}: {stored.get(name)} -> {value}"
        for name, value in setting.items()
        if stored.get(name) != value
    ]
    if changed:
        raise ConfigurationError(
            f"all supernets of a directory have one setting, but {options.out} has another ({'; '.join(changed)}). "
            "Give another --out."
        )
    return setting


# Estimates.


def estimate(options: argparse.Namespace) -> None:
    """Estimate the rows with one trained supernet, each kept as it comes."""
    name = f"{options.sampler}-{options.seed}"
    if not (options.out / f"{name}.json").is_file():
        raise ConfigurationError(f"estimate needs a trained supernet, but {name} is not. Run `train` first.")
    trained = json.loads((options.out / f"{name}.json").read_text())
    options.num_images = trained["num_images"]
    supernet = build(trained["width"], options.seed)
    supernet.load_state_dict(load_tensors(options.out / f"{name}.{options.weights}.safetensors"))
    networks = rows(options, supernet)
    estimator = SupernetEstimator(
        supernet.eval(),
        load(options),
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


def rows(options: argparse.Namespace, supernet: Supernet) -> Networks:
    table = TableEstimator(supernet.space, options.truth)
    networks = one_row_per_network(table.architectures, table.accuracies)
    return networks.draw(options.rows, generator(0, "rows"))


def setting_name(options: argparse.Namespace, name: str) -> str:
    images = f"calibration {options.calibration_images}, validation {options.validation_images}"
    return f"{name}, weights {options.weights}, {images}"


# Summary.


def summarise(options: argparse.Namespace) -> None:
    """The table, the comparison of samplers, and the agreement of seeds; JSON and a page."""
    supernet = build(1.0, 0)
    networks = rows(options, supernet)
    scores = estimated(options, networks)
    matrix = supernet.space.matrix(networks.architectures)
    baselines = {
        kind: cost.counter(supernet, SHAPE, kind)[0](matrix).astype(np.float64) for kind in ("macs", "params")
    }
    rng = generator(0, "bootstrap")
    groups = by_sampler(scores)
    flat = {f"{name} {kind}": values for name, found in scores.items() for kind, values in found.items()}
    flat |= {
        f"{name} {kind}": values for name, found in together(groups).items() for kind, values in found.items()
    }
    evidence = rank_evidence(
        networks.truth,
        {**flat, **baselines},
        rng,
        baselines=("macs", "params"),
        num_resamples=options.resamples,
    )
    result = {
        "setting": json.loads((options.out / "setting.json").read_text()),
        "estimates": setting_name(options, "").removeprefix(", "),
        "rows": len(networks),
        "trainings": {name: training_facts(options.out / f"{name}.json") for name in scores},
        "evidence": evidence,
        "samplers": {
            kind: compare_samplers(networks.truth, groups, kind, options.resamples)
            for kind in ("accuracy", "loss")
        },
        "agreement": {kind: agreement(groups, kind) for kind in ("accuracy", "loss")},
        "networks": [
            {
                "architecture": supernet.space.format(architecture),
                "truth": float(truth),
                **{name: float(values[place]) for name, values in {**flat, **baselines}.items()},
            }
            for place, (architecture, truth) in enumerate(
                zip(networks.architectures, networks.truth, strict=True)
            )
        ],
    }
    stem = options.name or f"ranking-{options.weights}-{options.validation_images}"
    atomic_write_json(options.out / f"{stem}.json", result)
    study = Study(
        title="Supernets on NAS-Bench-Macro",
        truth=f"test accuracy (%) of {options.truth.name}",
        notes=(
            f"One setting for all: {json.dumps(result['setting'])}.",
            f"Estimates: {result['estimates']}.",
        ),
        networks=result["networks"],
        evidence=evidence,
    )
    atomic_write_text(options.out / f"{stem}.html", ranking_page([study]))
    show(result)
    print(f"written: {options.out / stem}.json and .html")


def estimated(options: argparse.Namespace, networks: Networks) -> dict[str, dict[str, Any]]:
    """Supernet -> "accuracy" and "loss" -> (rows,) score, higher is better; those with all rows estimated."""
    found: dict[str, dict[str, Any]] = {}
    with EstimateStore(options.out / "estimates.sqlite") as store:
        for path in sorted(options.out.glob("*-[0-9]*.json")):
            name = path.name.removesuffix(".json")
            if "num_passes" not in json.loads(path.read_text()):
                continue
            known = store.read(setting_name(options, name))
            missing = [
                architecture for architecture in networks.architectures if str(architecture) not in known
            ]
            if missing:
                print(f"{name}: {len(missing)} of {len(networks)} rows are not estimated, left out")
                continue
            numbers = [known[str(architecture)] for architecture in networks.architectures]
            found[name] = {
                "accuracy": np.array([as_score(row["accuracy"], 1) for row in numbers]),
                "loss": np.array([as_score(row["loss"], -1) for row in numbers]),
            }
    if not found:
        raise ConfigurationError(
            "a summary needs an estimated supernet, but there is none. Run `estimate` first."
        )
    return found


def as_score(value: float | None, sign: int) -> float:
    return -np.inf if value is None else sign * value


def by_sampler(scores: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    groups: dict[str, dict[str, Any]] = {}
    for name, found in scores.items():
        sampler, _, seed = name.rpartition("-")
        groups.setdefault(sampler, {})[seed] = found
    return groups


def together(groups: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Several trainings as one evaluator: the mean of their scores."""
    return {
        f"{sampler}, {len(seeds)} seeds together,": {
            kind: np.mean([run[kind] for run in seeds.values()], axis=0) for kind in ("accuracy", "loss")
        }
        for sampler, seeds in groups.items()
        if len(seeds) > 1
    }


def compare_samplers(
    truth: Any, groups: Mapping[str, Mapping[str, Any]], kind: str, num_resamples: int
) -> dict[str, Any]:
    """Mean tau-b over the seeds of each sampler, and its difference from the uniform sampler's.

    Rows and seeds are both resampled: the interval covers other networks and, as far as few seeds can tell, other
    trainings.
    """
    rng = generator(0, "two-level bootstrap")
    places, counts = (
        ordinal(truth),
        np.vstack(
            [
                np.ones(len(truth)),
                rng.multinomial(len(truth), np.full(len(truth), 1 / len(truth)), num_resamples),
            ]
        ),
    )
    better = num_better(places, counts)
    parts = {"all": counts}
    parts |= {share_name(share): counts * (better < np.ceil(share * len(truth) - 1e-9)) for share in SHARES}
    found: dict[str, Any] = {}
    for part, members in parts.items():
        means = {}
        for sampler, seeds in groups.items():
            taus = np.stack([kendall_tau(places, ordinal(run[kind]), members) for run in seeds.values()])
            chosen = rng.integers(len(taus), size=(len(taus), members.shape[0]))
            chosen[:, 0] = np.arange(len(taus))
            means[sampler] = np.take_along_axis(taus, chosen, axis=0).mean(axis=0)
            found.setdefault(sampler, {})[part] = {
                **interval(means[sampler]),
                "seeds": {seed: float(tau) for seed, tau in zip(seeds, taus[:, 0], strict=True)},
            }
        for sampler in groups:
            if "uniform" in means and sampler != "uniform":
                found[sampler][part]["minus_uniform"] = interval(means[sampler] - means["uniform"])
    return found


def interval(values: Any) -> dict[str, float | None]:
    tail = (1 - CONFIDENCE) / 2
    defined = values[1:][~np.isnan(values[1:])]
    if np.isnan(values[0]) or not len(defined):
        return {"value": None, "low": None, "high": None}
    low, high = np.quantile(defined, [tail, 1 - tail])
    return {"value": float(values[0]), "low": float(low), "high": float(high)}


def agreement(groups: Mapping[str, Mapping[str, Any]], kind: str) -> dict[str, Any]:
    """How one training ranks as the mean of the other seeds does, overall and among the best of those."""
    found: dict[str, Any] = {}
    for sampler, seeds in groups.items():
        if len(seeds) < 2:
            continue
        for seed, run in seeds.items():
            others = np.mean([other[kind] for name, other in seeds.items() if name != seed], axis=0)
            if np.isfinite(others).all():
                evidence = rank_evidence(
                    others, {"one": run[kind]}, generator(0, "agreement"), num_resamples=0
                )
                one = evidence["scores"]["one"]
                found.setdefault(sampler, {})[seed] = {
                    "all": one["kendall_tau"]["value"],
                    **{share_name(share): one[share_name(share)]["kendall_tau"]["value"] for share in SHARES},
                }
    return found


def training_facts(path: Path) -> dict[str, Any]:
    content = json.loads(path.read_text())
    return {name: content[name] for name in ("num_updates", "num_passes", "seconds", "loss", "accuracy")}


def show(result: Mapping[str, Any]) -> None:
    evidence = result["evidence"]
    print(f"{result['rows']} networks; {result['estimates']}")
    print(f"{'score':<36}{'tau-b':>22}{'top 25 %':>22}{'top 10 %':>22}{'best in top 10':>16}")
    for name, found in evidence["scores"].items():
        parts = (found, found["top_25_percent"], found["top_10_percent"])
        best = found["best_in_top"].get("10", {"value": None})["value"]
        cells = "".join(f"{text(part['kendall_tau']):>22}" for part in parts)
        print(f"{name:<36}{cells}{'none' if best is None else f'{best:.2f}':>16}")
    print(f"best of all: {evidence['best']:.2f}")
    for kind, samplers in result["samplers"].items():
        print(f"mean over seeds, by {kind} (rows and seeds resampled)")
        for sampler, parts in samplers.items():
            cells = "".join(
                f"{text(parts[part]):>22}" for part in ("all", "top_25_percent", "top_10_percent")
            )
            print(f"  {sampler:<24}{cells}")
            if "minus_uniform" in parts["all"]:
                cells = "".join(
                    f"{text(parts[part]['minus_uniform']):>22}"
                    for part in ("all", "top_25_percent", "top_10_percent")
                )
                print(f"  {'  minus uniform':<24}{cells}")
    for kind, samplers in result["agreement"].items():
        for sampler, seeds in samplers.items():
            means = {
                part: np.mean(
                    [found[part] for found in seeds.values() if found[part] is not None] or [np.nan]
                )
                for part in ("all", "top_25_percent", "top_10_percent")
            }
            said = ", ".join(f"{part.replace('_', ' ')} {value:.3f}" for part, value in means.items())
            print(f"one seed against the others, {sampler} by {kind}: {said}")


def text(figure: Mapping[str, float | None]) -> str:
    if figure["value"] is None:
        return "none"
    if figure["low"] is None:
        return f"{figure['value']:.3f}"
    return f"{figure['value']:.3f} [{figure['low']:.3f}, {figure['high']:.3f}]"


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", choices=("train", "estimate", "summary"))
    add: Callable[..., Any] = parser.add_argument
    add("--out", type=Path, required=True)
    add("--data", type=Path, help="CIFAR-10's training images, .parquet")
    add("--test-data", type=Path, help="its test images, which are not used")
    add("--truth", type=Path, help="the benchmark's table")
    add("--sampler", default="uniform", help="uniform, fair or dropout-RATE, such as dropout-0.1")
    add("--seed", type=int, default=0)
    add("--threads", type=int, default=1)
    add("--device", default="cpu")
    add("--checkpoint-seconds", type=float, default=60.0)
    add("--stop-after", type=int, help="end after so many updates, or rows, as a kill would")
    training = parser.add_argument_group("the training, one for all supernets of --out")
    add = training.add_argument
    add("--width", type=float, default=0.25)
    add("--passes", type=int, default=12, help="over the training images; the passes of every sampler")
    add("--batch-size", type=int, default=128)
    add("--learning-rate", type=float, default=0.2)
    add("--weight-decay", type=float, default=1e-4)
    add("--label-smoothing", type=float, default=0.0)
    add("--schedule", choices=("cosine", "linear"), default="cosine")
    add("--warmup", type=float, default=0.05, help="share of the training")
    add("--no-nesterov", dest="nesterov", action="store_false")
    add(
        "--reduction", choices=("sum", "mean"), default="sum", help="of what several paths of an update share"
    )
    add("--one-path", type=float, default=0.0, help="share of the passes that train one path first")
    add(
        "--average-from",
        type=float,
        default=0.75,
        help="share of the updates from which weights are averaged",
    )
    add(
        "--average-decay", type=float, default=1.0, help="1: plain mean; below: exponential, every 10 updates"
    )
    add("--num-images", type=int, help="fewer images, for a trial")
    estimates = parser.add_argument_group("the estimates")
    add = estimates.add_argument
    add("--rows", type=int, default=300)
    add("--calibration-images", type=int, default=1000)
    add("--validation-images", type=int, default=2000)
    add("--weights", choices=("last", "average"), default="last")
    add("--resamples", type=int, default=1000)
    add("--name", help="of the summary's files")
    return parser.parse_args()


if __name__ == "__main__":
    main()
