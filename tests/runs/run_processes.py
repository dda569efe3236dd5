"""Whole runs on a tiny space, in processes that can be killed; imported by the tests as a plain module."""

from __future__ import annotations

import hashlib
import json
import os
import signal
from dataclasses import replace
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

from onepath.record import RunRecord, load_tensors
from onepath.runs import SilentProgress

TINY = f"{Path(__file__).with_name('tiny_space.py')}:build"
OPTIONS: dict[str, Any] = {
    "space": TINY,
    "max_macs": "25k",
    "batch_size": 230,
    "epochs": 2,
    "retrain_epochs": 2,
    "population": 6,
    "generations": 2,
    "num_baselines": 2,
    "retrain_from": "both",
    "workers": 1,
}


class KillingProgress(SilentProgress):
    """Ends its own process with SIGKILL at the n-th step of a piece of work whose title begins so."""

    def __init__(self, title: str, step: int) -> None:
        self.title = title
        self.step = step
        self.current = ""

    def begin(self, title: str, total: int, done: int = 0) -> None:
        """Remember what is at work."""
        self.current = title

    def advance(self, done: int, detail: str = "") -> None:
        """Kill at the step asked for."""
        if self.current.startswith(self.title) and done >= self.step:
            os.kill(os.getpid(), signal.SIGKILL)


def do_run(out: Path, kill: tuple[str, int] | None, log: Path, options: dict[str, Any]) -> None:
    """A run in a process of its own; every architecture that is really evaluated is written to `log`.

    An option that is None is left out.
    """
    import torch

    from onepath import runs
    from onepath.estimate import SupernetEstimator

    torch.set_num_threads(1)
    evaluate = SupernetEstimator._evaluate

    def logged(self: SupernetEstimator, architecture: Any) -> Any:
        with log.open("a") as file:
            file.write(f"{architecture}\n")
        return evaluate(self, architecture)

    SupernetEstimator._evaluate = logged  # type: ignore[method-assign]
    progress = KillingProgress(*kill) if kill else None
    given = {name: value for name, value in {**OPTIONS, **options}.items() if value is not None}
    runs.run("digits", out=out, progress=progress, checkpoint_seconds=0.0, **given)


class Runner:
    """Starts runs in processes forked from one that has imported everything."""

    def __init__(self, context: ForkServerContext, log: Path) -> None:
        self.context = context
        self.log = log

    def __call__(self, out: Path, kill: tuple[str, int] | None = None, **options: Any) -> int | None:
        """The exit code of the run's process."""
        process = self.context.Process(target=do_run, args=(out, kill, self.log, options))
        process.start()
        process.join(120)
        return process.exitcode

    def evaluated(self) -> list[str]:
        """Architectures evaluated by all the runs since the last call."""
        found = self.log.read_text().split("\n")[:-1] if self.log.exists() else []
        self.log.unlink(missing_ok=True)
        return found


def without_times(path: Path) -> dict[str, Any]:
    """Everything that a run has found, its times aside."""
    result = json.loads((path / "result.json").read_text())
    for owner in (result, result["search"]):
        owner.pop("seconds")
    for name in ("latency_ms", "latency_iqr_ms", "latency_threads"):
        result["cost"].pop(name)
    record = RunRecord.load(path)
    return {
        "result": result,
        "trials": [replace(trial, seconds=0.0) for trial in record.trials],
        "networks": [replace(network, seconds=0.0) for network in record.networks],
        "curves": {
            name: [replace(point, seconds=0.0) for point in points] for name, points in record.curves.items()
        },
        "architecture": (path / "architecture.json").read_text(),
        "weights": {
            name: tensor.tolist() for name, tensor in load_tensors(path / "model.safetensors").items()
        },
        "bytes": {
            name: hashlib.sha256((path / name).read_bytes()).hexdigest()
            for name in ("model.safetensors", "model.onnx", "model.pt2")
        },
    }
