"""Kill a run with kill -9 at random moments and start it again: is the result that of an uninterrupted run?

    python benchmarks/kill_and_resume.py [--kills 10] [--aim train,retrain] [--seed 0] [--options '{"workers": 1}']

Runs once without interruption, then again in another directory, where every stage in turn is killed at a random moment
and the same call follows each time. Only the run's own process is killed: the workers that retrain for it must notice,
and the next start waits for nothing. Prints each kill, and whether `result.json`, the trials, the curves and the
weights are equal, times aside.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from onepath.errors import RunDirectoryError
from onepath.record import RunRecord, load_tensors

STAGES = ("train", "search", "retrain", "export", "report")
# Stages in which the kills fall by default; kills after the tenth start again from the first stage.
AIMED = ("train", "train", "train", "search", "search", "search", "retrain", "retrain", "export", "report")
OPTIONS: dict[str, Any] = {
    "max_macs": "2M",
    "epochs": 4,
    "retrain_epochs": 4,
    "population": 10,
    "generations": 3,
    "num_baselines": 2,
    "workers": 2,
}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--aim", default=",".join(AIMED), help="stages in which the kills fall, in turn")
    parser.add_argument("--seed", type=int, default=0, help="seed of the moments of the kills")
    parser.add_argument(
        "--options",
        type=json.loads,
        default={},
        help="options of the run, as JSON; they replace those of this script",
    )
    parser.add_argument("--run", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    OPTIONS.update(arguments.options)
    if arguments.run is not None:
        work(arguments.run)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        return compare(Path(folder), arguments.kills, arguments.aim.split(","), arguments.seed)


def work(out: Path) -> None:
    import onepath

    onepath.run("digits", out=out, checkpoint_seconds=1.0, **OPTIONS)


def compare(folder: Path, num_kills: int, aim: list[str], seed: int) -> int:
    whole, killed = folder / "whole", folder / "killed"
    began = time.monotonic()
    if start(whole).wait():
        raise SystemExit("the uninterrupted run has failed")
    uninterrupted_seconds = time.monotonic() - began
    print(f"{'kill':>4}  {'stage':8} {'trials':>6} {'points':>6}")
    kills = []
    for number, moment in enumerate(
        moments(RunRecord.load(whole), num_kills, aim, random.Random(seed)), start=1
    ):
        kills.append(kill_once(killed, *moment))
        print(
            f"{number:4}  {kills[-1]['stage']:8} {kills[-1]['trials']:6} {kills[-1]['points']:6}", flush=True
        )
    last = start(killed).wait()
    same = (
        {name: value == findings(whole)[name] for name, value in findings(killed).items()} if not last else {}
    )
    architectures = [trial.architecture for trial in RunRecord.load(killed).trials]
    found = {
        "kills": kills,
        "uninterrupted_seconds": uninterrupted_seconds,
        "exit_status": last,
        "same": same,
        "evaluated": len(architectures),
        "evaluated_twice": len(architectures) - len(set(architectures)),
    }
    is_right = last == 0 and all(same.values()) and not found["evaluated_twice"]
    print("identical, times aside" if is_right else "DIFFERENT")
    print(json.dumps(found))
    return 0 if is_right else 1


def start(out: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, __file__, "--run", str(out), "--options", json.dumps(OPTIONS)])


def moments(
    whole: RunRecord, num_kills: int, aim: list[str], rng: random.Random
) -> list[tuple[str, int, float]]:
    """Return (stage, steps that are done in it, seconds to wait after that) of each kill, in the order of the run."""
    aimed = sorted((aim[number % len(aim)] for number in range(num_kills)), key=STAGES.index)
    drawn = [(STAGES.index(stage), rng.random(), stage) for stage in aimed]
    return [
        (
            stage,
            int(part * steps(whole, stage)),
            rng.uniform(0, 0.4) * min(whole.stages[stage]["seconds"], 1.0),
        )
        for _, part, stage in sorted(drawn)
    ]


def steps(record: RunRecord, stage: str) -> int:
    """Return how far a stage is: points of its curves, or trials; 0 for a stage that counts neither."""
    if stage == "search":
        return len(record.trials)
    curves = [name for name in record.curves if (name == "supernet") == (stage == "train")]
    return sum(len(record.curves[name]) for name in curves) if stage in ("train", "retrain") else 0


def kill_once(out: Path, stage: str, steps_done: int, wait_seconds: float) -> dict[str, Any]:
    """Start or continue the run, wait for `steps_done` steps of `stage` and then `wait_seconds`, and kill it."""
    with start(out) as process:
        while process.poll() is None and not has_reached(out, stage, steps_done):
            time.sleep(0.02)
        time.sleep(wait_seconds)
        process.kill()
    record = RunRecord.load(out)
    points = sum(map(len, record.curves.values()))
    return {"stage": at_work(out), "trials": len(record.trials), "points": points}


def has_reached(out: Path, stage: str, steps_done: int) -> bool:
    current = at_work(out)
    if current not in STAGES:
        return current == "end"
    if current != stage:
        return STAGES.index(current) > STAGES.index(stage)
    record = RunRecord.load(out)
    return stage in record.stages and steps(record, stage) >= steps_done


def at_work(out: Path) -> str:
    """Return the first stage that has not finished; "start" before there is any, "end" after the last."""
    try:
        stages = RunRecord.load(out).stages
    except RunDirectoryError:
        return "start"
    if "data" not in stages:
        return "start"
    return next((name for name in STAGES if not stages.get(name, {}).get("done")), "end")


def findings(out: Path) -> dict[str, Any]:
    """Return everything that a run has found, without times and latencies."""
    record = RunRecord.load(out)
    result = untimed(json.loads((out / "result.json").read_text()))
    weights = load_tensors(out / "model.safetensors")
    return {
        "result": result,
        "trials": [replace(trial, seconds=0.0) for trial in record.trials],
        "networks": [replace(network, seconds=0.0) for network in record.networks],
        "curves": {name: [replace(p, seconds=0.0) for p in points] for name, points in record.curves.items()},
        "weights": {name: tensor.tolist() for name, tensor in weights.items()},
    }


def untimed(value: Any) -> Any:
    """Return a value of JSON without times: entries of seconds and latencies, and sentences that state some."""
    if isinstance(value, dict):
        timed = ("seconds", "latency", "noisy")
        return {name: untimed(part) for name, part in value.items() if not any(t in name for t in timed)}
    if isinstance(value, list):
        return [untimed(part) for part in value if not (isinstance(part, str) and " ms" in part)]
    return value


if __name__ == "__main__":
    sys.exit(main())
