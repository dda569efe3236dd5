r"""How well weights that a hypernetwork makes rank NAS-Bench-Macro's networks, beside weights that are shared.

`smash`, `ghn` and `spos` train on CIFAR-10 for the same number of passes over the training images, each by its method's
own recipe, and then estimate the same random rows of the benchmark's table, with normalisation recalibrated for each.
Rows are networks: architectures that are one network when trained from scratch count once, in the form that was
trained. The summary has Kendall's tau-b with the table and the range of the validation errors of each.

Everything is kept in --out as soon as it is known: the same command continues after a kill. One process trains and
estimates one (method, seed), so that several may run at the same time with the same --out:

    python benchmarks/generated_weights.py measure --out DIR --data cifar10_train.parquet \
        --test-data cifar10_test.parquet --truth TABLE --method smash --seed 1
    python benchmarks/generated_weights.py summary --out DIR --truth TABLE

A quick trial takes minutes: --num-images 2000 --passes 4 --rows 40 --validation-images 500.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from resumable import add_data_options, check_setting, load_cifar, run_command
from supernet_ranking_summary import SHAPE, build, rows, text

from onepath import cost
from onepath.errors import ConfigurationError
from onepath.estimate import rank_evidence
from onepath.methods import METHODS, MemoryJob, make_method
from onepath.methods.job import Trained
from onepath.methods.method import give_weights
from onepath.randomness import generator
from onepath.record import EstimateStore, TrainingCheckpoint, atomic_write_json, load_tensors, save_tensors

METHODS_COMPARED = ("smash", "ghn", "spos")
SETTING = (
    *("width", "passes", "batch_size", "num_images", "rows", "calibration_images", "validation_images"),
    *("meta_batch", "kernels", "hyper_rate"),
)


def main() -> None:
    options = parsed()
    run_command({"measure": measure, "summary": summarise}, options)


def measure(options: argparse.Namespace) -> None:
    """Train one method and estimate the rows, or continue where that stopped."""
    setting = {name: getattr(options, name) for name in SETTING}
    path = options.out / "setting.json"
    if not path.is_file():
        atomic_write_json(path, setting)
    check_setting(json.loads(path.read_text()), setting, options.out)
    name = f"{options.method}-{options.seed}"
    supernet = build(options.width, options.seed)
    checkpoint = TrainingCheckpoint(options.out / f"{name}.training.pt", options.checkpoint_seconds)
    shown = time.monotonic()

    def on_update(update: int, total: int) -> None:
        nonlocal shown
        if update == options.stop_after:
            raise KeyboardInterrupt
        if time.monotonic() - shown > 30 or update == total:
            shown = time.monotonic()
            print(f"{name}: update {update} of {total}", flush=True)

    task = load_cifar(options)
    job = MemoryJob(
        supernet,
        task,
        device=options.device,
        seed=options.seed,
        batch_size=options.batch_size,
        calibration_images=options.calibration_images,
        validation_images=options.validation_images,
        checkpoint=checkpoint,
        on_update=on_update,
    )
    method = make_method(METHODS[options.method], method_options(options)).resolved(job)
    weights, done = options.out / f"{name}.safetensors", options.out / f"{name}.json"
    if done.is_file():
        give_weights(method, supernet, task.input_shape, options.seed)
        supernet.load_state_dict(load_tensors(weights))
        trained = Trained(supernet)
    else:
        trained = job.train(method)
        save_tensors(weights, supernet.state_dict())
        last = trained.curve[-1]
        trained_params = sum(parameter.numel() for parameter in supernet.parameters())
        facts = {"updates": last.update, "seconds": last.seconds, "loss": last.loss, "accuracy": last.metric}
        atomic_write_json(done, {**facts, "trained_params": trained_params})
        checkpoint.remove()
    supernet.eval()
    estimator, num_done = job.inherited(trained), 0
    with EstimateStore(options.out / "estimates.sqlite") as store:
        known = store.read(name)
        for architecture in rows(options, supernet).architectures:
            if str(architecture) not in known:
                found = estimator.estimate(architecture)
                numbers = {"accuracy": found.accuracy, "loss": found.loss}
                store.put(name, str(architecture), numbers, found.seconds)
                num_done += 1
    print(f"{name}: {num_done} new rows")


def method_options(options: argparse.Namespace) -> dict[str, Any]:
    """Return the options of a method for as many passes as all others make."""
    own: dict[str, Any] = {"epochs": options.passes}
    if options.method == "ghn":
        if options.passes % options.meta_batch:
            raise ConfigurationError(
                f"--passes must be a multiple of --meta-batch, but got {options.passes} and {options.meta_batch}"
            )
        own = {"epochs": options.passes // options.meta_batch, "meta_batch": options.meta_batch}
    if options.method == "smash":
        own["kernels"] = options.kernels
    if options.method != "spos":
        own["hyper_rate"] = options.hyper_rate
    return own


def summarise(options: argparse.Namespace) -> None:
    """Compare the methods' rankings with the table, and write summary.json."""
    setting = json.loads((options.out / "setting.json").read_text())
    options.rows = setting["rows"]
    supernet = build(1.0, 0)
    networks = rows(options, supernet)
    matrix = supernet.space.matrix(networks.architectures)
    scores: dict[str, Any] = {}
    ranges: dict[str, Any] = {"table": error_range(networks.truth / 100)}
    trainings: dict[str, Any] = {}
    with EstimateStore(options.out / "estimates.sqlite") as store:
        for method in METHODS_COMPARED:
            for path in sorted(options.out.glob(f"{method}-[0-9]*.json")):
                known = store.read(path.stem)
                if any(str(architecture) not in known for architecture in networks.architectures):
                    print(f"{path.stem}: not all rows are estimated, left out")
                    continue
                found = [known[str(architecture)] for architecture in networks.architectures]
                accuracies = np.array([row["accuracy"] or 0.0 for row in found])
                losses = [-np.inf if row["loss"] is None else -row["loss"] for row in found]
                scores |= {f"{path.stem} accuracy": accuracies, f"{path.stem} loss": np.array(losses)}
                ranges[path.stem] = error_range(accuracies)
                trainings[path.stem] = json.loads(path.read_text())
    if not scores:
        raise ConfigurationError("a summary needs estimates, but there are none; run `measure` first")
    costs = {
        kind: cost.counter(supernet, SHAPE, kind)[0](matrix).astype(float) for kind in ("macs", "params")
    }
    evidence = rank_evidence(
        networks.truth,
        {**scores, **costs},
        generator(0, "bootstrap"),
        baselines=("macs", "params"),
        num_resamples=options.resamples,
    )
    result = {"setting": setting, "trainings": trainings, "errors": ranges, "evidence": evidence}
    atomic_write_json(options.out / "summary.json", result)
    print(f"{len(networks)} networks; {json.dumps(setting)}")
    print(f"{'score':<24}{'tau-b [95 %]':>26}{'top 25 %':>26}")
    for name, found in evidence["scores"].items():
        parts = (found["kendall_tau"], found["top_25_percent"]["kendall_tau"])
        print(f"{name:<24}" + "".join(f"{text(part):>26}" for part in parts))
    print(f"{'error':<24}" + "".join(f"{name:>10}" for name in ranges["table"]) + f"{'s to train':>12}")
    for name, found in ranges.items():
        seconds = f"{trainings[name]['seconds']:>12.0f}" if name in trainings else ""
        print(f"{name:<24}" + "".join(f"{value:>10.3f}" for value in found.values()) + seconds)


def error_range(accuracies: Any) -> dict[str, float]:
    """Return the smallest, the largest and some error in between, as shares."""
    names = {"least": 0, "10 %": 0.1, "median": 0.5, "90 %": 0.9, "most": 1}
    return {name: float(np.quantile(1 - accuracies, share)) for name, share in names.items()}


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", choices=("measure", "summary"))
    add: Callable[..., Any] = parser.add_argument
    add("--out", type=Path, required=True)
    add_data_options(add)
    add("--truth", type=Path, required=True, help="the benchmark's table")
    add("--method", choices=METHODS_COMPARED, default="smash")
    add("--checkpoint-seconds", type=float, default=60.0)
    add("--stop-after", type=int, help="end after this many updates, as a kill would")
    add("--resamples", type=int, default=1000)
    setting = parser.add_argument_group("the setting, one for all methods of --out")
    add = setting.add_argument
    add("--width", type=float, default=0.25)
    add("--passes", type=int, default=12, help="passes over the training images, the same for every method")
    add("--batch-size", type=int, default=128)
    add("--num-images", type=int, help="number of images to use, for a quick trial; default: all")
    add("--rows", type=int, default=300)
    add("--calibration-images", type=int, default=1000)
    add("--validation-images", type=int, default=2000)
    add("--meta-batch", type=int, default=1, help="architectures of each update of ghn")
    add("--kernels", choices=("tiled", "low-rank"), default="tiled", help="kernels of smash")
    add("--hyper-rate", type=float, default=3e-3, help="learning rate of smash and ghn")
    return parser.parse_args()


if __name__ == "__main__":
    main()
