"""Run directories with made-up records that look like a real run's."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onepath.record import CurvePoint, NetworkRow, RunDirectory, RunRecord, StageRow, TrialRow

OPTIONS = ["shuffle_3x3", "shuffle_5x5", "shuffle_7x7", "xception"]
DEPTHS = (4, 4, 8, 4)
TEST, BASELINE = 0.9833, (0.9667, 0.9722, 0.9694)


def make_config(**changes: Any) -> dict[str, Any]:
    config = {
        "data": "digits",
        "test_data": None,
        "space": "shufflenet",
        "space_arguments": {},
        "method": "spos",
        "max_macs": 2_000_000,
        "max_params": None,
        "epochs": 60,
        "batch_size": 64,
        "learning_rate": 0.05,
        "retrain_epochs": 40,
        "retrain_from": "scratch",
        "num_baselines": 3,
        "population": 50,
        "generations": 19,
        "calibration_images": 1150,
        "validation_images": 287,
        "seed": 0,
        "train_on": "cpu",
        "precision": "float32",
        "compile": False,
        "out": "runs/digits",
    }
    return {**config, **changes}


def make_trials(num: int = 1000, population: int = 50) -> list[TrialRow]:
    """An evolutionary search whose later generations are better, under a limit of 2 M MACs."""
    rng = np.random.default_rng(0)
    trials = []
    for number in range(num):
        generation = number // population
        macs = int(min(2_000_000, rng.normal(1.62e6 + 8e3 * generation, 0.16e6)))
        skill = 1 - math.exp(-generation / 6)
        mean = 0.80 + 0.10 * skill + 0.06 * (macs - 1.2e6) / 0.8e6
        accuracy = round(min(287, max(0, rng.normal(mean, 0.035 - 0.02 * skill) * 287))) / 287
        trials.append(
            TrialRow(
                number,
                ",".join(map(str, rng.integers(4, size=20))),
                generation,
                "random" if generation == 0 else str(rng.choice(["mutation", "crossover"])),
                accuracy,
                float(1.2 - accuracy + 0.05 * rng.random()),
                {"macs": macs, "params": int(macs * 0.06)},
                0.05,
            )
        )
    return trials


def make_curve(name: str, epochs: int, floor: float, seed: int) -> list[CurvePoint]:
    rng = np.random.default_rng(seed)
    points = []
    for point in range(epochs * 4):
        progress = (point + 1) / (epochs * 4)
        loss = floor + (2.3 - floor) * math.exp(-5 * progress) + 0.03 * rng.random()
        accuracy = min(1.0, 1 - (loss - 0.5) / 2.3 + 0.01 * rng.normal())
        rate = 0.05 * (1 - progress)
        points.append(
            CurvePoint(name, point, 5 * (point + 1), (point + 1) / 4, loss, accuracy, rate, point * 0.1)
        )
    return points


def write_run(path: Path, *, finished: bool = True, config: dict[str, Any] | None = None) -> Path:
    """A whole run in `path`; not `finished`: killed in the middle of the search."""
    config = make_config() if config is None else config
    trials = make_trials(1000 if finished else 260)
    best = max(trials, key=lambda trial: (trial.accuracy, -trial.loss))
    with RunDirectory(path, create=True) as run:
        run.write_config(config)
        store = run.store
        facts = {
            "name": "digits",
            "train": 1150,
            "validation": 287,
            "test": 360,
            "classes": 10,
            "input_shape": [1, 8, 8],
            "class_names": [str(digit) for digit in range(10)],
            "notes": ["no test set came: 20 % of the data, stratified, are held out as test set"],
        }
        store.put_stage(StageRow("data", 0.0, True, facts))
        store.put_stage(StageRow("train", 83.2, True, {}))
        for trial in trials:
            store.add_trial(trial)
        for point in make_curve("supernet", 60, 0.75, 0):
            store.add_point(point)
        if not finished:
            store.put_stage(StageRow("search", 14.0, False, {}))
            return path
        names = [f"stages.{stage}.{block}" for stage, depth in enumerate(DEPTHS) for block in range(depth)]
        indices = [int(index) for index in best.architecture.split(",")]
        search = {
            "space_size": 4**20,
            "winner": best.architecture,
            "space_choices": [{"name": name, "options": OPTIONS} for name in names],
            "active": {name: OPTIONS[index] for name, index in zip(names, indices, strict=True)},
            "limit": {"max_macs": 2_000_000},
            "num_random_legal": 50,
        }
        store.put_stage(StageRow("search", 61.5, True, search))
        tested = [("winner", best, TEST)] + [
            (f"baseline-{index}", trials[7 * index], accuracy) for index, accuracy in enumerate(BASELINE)
        ]
        for seed, (role, trial, accuracy) in enumerate(tested):
            retrained = min(1.0, accuracy + 0.004)
            row = NetworkRow(
                role,
                "scratch",
                trial.architecture,
                seed,
                trial.costs,
                trial.accuracy,
                retrained,
                accuracy,
                12.5,
            )
            store.put_network(row)
            for point in make_curve(f"{role}-scratch", 40, 0.52 + 0.01 * seed, seed):
                store.add_point(point)
        store.put_stage(StageRow("retrain", 50.3, True, {"exported": "scratch"}))
        latency = {
            "device": "onnxruntime-cpu",
            "median_ms": 0.4127,
            "iqr_ms": 0.021,
            "repeats": 100,
            "threads": 2,
        }
        parity = {"onnx_max_abs_error": 1.9e-6, "pt2_max_abs_error": 0.0}
        preprocessing = {
            "summary": "float32 (N, 1, 8, 8), raw values 0 ... 16",
            "snippet": 'x = numpy.load("<inputs>.npy")\nprint(x)',
        }
        export = {"start": "scratch", "latency_ms": 0.4127, "latency": latency, **parity}
        export["preprocessing"] = preprocessing
        store.put_stage(StageRow("export", 21.0, True, export))
        run.write_json("result.json", make_result(best, search["active"], parity))
    return path


def make_result(best: TrialRow, active: dict[str, Any], parity: dict[str, float]) -> dict[str, Any]:
    return {
        "onepath": "0.1.0",
        "space": "shufflenet",
        "method": "spos",
        "seed": 0,
        "space_size": 4**20,
        "architecture": active,
        "cost": {
            **best.costs,
            "latency_ms": 0.4127,
            "latency_device": "onnxruntime-cpu",
        },
        "parity": parity,
        "files": {
            "onnx": "model.onnx",
            "exported_program": "model.pt2",
            "weights": "model.safetensors",
            "report": "report.html",
        },
    }


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("runs") / "digits")


@pytest.fixture(scope="session")
def killed_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("runs") / "digits", finished=False)


@pytest.fixture(scope="session")
def finished_record(finished_run: Path) -> RunRecord:
    return RunRecord.load(finished_run)


@pytest.fixture
def make_record() -> Callable[..., RunRecord]:
    """A record in memory from rows alone: `make_record(networks=..., trials=..., stages=...)`."""

    def make(**fields: Any) -> RunRecord:
        stages = {
            name: {"seconds": 1.0, "done": True, "record": record}
            for name, record in fields.pop("stages", {}).items()
        }
        config = fields.pop("config", make_config())
        return RunRecord(Path("runs/digits"), config, stages=stages, **fields)

    return make
