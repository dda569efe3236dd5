"""`result.json`, and a finished run as Python sees it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onepath import __version__
from onepath.errors import RunDirectoryError
from onepath.pipeline.config import make_config
from onepath.pipeline.context import Run
from onepath.pipeline.fronts import front_result
from onepath.pipeline.latencies import MEASURED
from onepath.pipeline.resolving import build_supernet
from onepath.pipeline.scored import score_result
from onepath.pipeline.several import winners
from onepath.rank_correlation import rank_correlation
from onepath.record import NetworkRow, RunRecord, load_tensors
from onepath.record.directory import ARCHITECTURE, ONNX, PROGRAM, REPORT, WEIGHTS, read_json

if TYPE_CHECKING:
    from torch import nn

    from onepath.space import Architecture


@dataclass(frozen=True)
class Result:
    """A finished run.

    Attributes:
        path: the run directory.
        result: the content of `result.json`.
    """

    path: Path
    result: dict[str, Any]

    @property
    def architecture(self) -> Architecture:
        """The architecture found."""
        return self._network()[1]

    def model(self) -> nn.Module:
        """The retrained network: plain torch layers, on the CPU, in eval mode."""
        return self._network()[0].eval()

    def _network(self) -> tuple[nn.Module, Architecture]:
        record = RunRecord.load(self.path)
        written = read_json(self.path / ARCHITECTURE)
        if written is None or not record.stages.get("export", {}).get("done"):
            raise RunDirectoryError(
                f"{self.path} must hold an exported network, but it does not; run `onepath export --out {self.path}`"
            )
        supernet = build_supernet(make_config(record.config), record.stages["data"]["record"])
        architecture = supernet.space.parse(written["architecture"])
        start = record.stages["export"]["record"]["start"]
        model = supernet.extract(architecture, inherit=start == "inherited")
        model.load_state_dict(load_tensors(self.path / WEIGHTS))
        return model, architecture


def make_result(run: Run) -> dict[str, Any]:
    """Every key of `result.json`, from the trial store alone; what was not measured is None."""
    store, config = run.directory.store, run.config
    stages, trials, networks = store.stages(), store.trials(), store.networks()
    exported = stages["export"].record
    rows = {(row.role, row.start): row for row in networks}
    winner = rows["winner", exported["start"]]
    baseline = [row for row in networks if row.role != "winner"]
    searched = next(trial for trial in trials if trial.architecture == winner.architecture)
    facts = run.facts
    seconds = {name: stages[name].seconds for name in ("train", "search", "retrain")}
    has = {name: (run.directory.path / name).is_file() for name in (ONNX, PROGRAM, WEIGHTS)}
    result = {
        "onepath": __version__,
        "space": config.space,
        "method": config.method,
        "seed": config.seed,
        "data": {
            **{key: facts[key] for key in ("name", "train", "validation", "test", "classes", "input_shape")},
            "metric": facts.get("metric", "accuracy"),
        },
        "constraints": {
            "max_macs": config.max_macs,
            "max_params": config.max_params,
            "max_layers": config.max_layers,
            "max_latency_ms": config.limit_ms,
            "device": config.device,
        },
        "space_size": run.blank.space.size,
        "architecture": run.blank.space.parse(winner.architecture).options,
        "cost": {
            "macs": winner.macs,
            "params": winner.params,
            **_latency(run, winner.architecture),
        },
        "accuracy": {
            "inherited_validation": searched.accuracy if config.proxy is None else None,
            "retrained_validation": winner.retrained_validation,
            "retrained_test": winner.retrained_test,
        },
        "random_baseline": {
            "num": len(baseline),
            "retrained_test": [row.retrained_test for row in baseline],
            **_baseline_latencies(run, baseline),
        },
        "ranking": ranking(networks),
        "search": {"evaluated": len(trials), "seconds": stages["search"].seconds},
        "seconds": {
            **seconds,
            "total": sum(stages[name].seconds for name in ("profile", *seconds, "export") if name in stages),
        },
        "parity": {key: exported[key] for key in ("onnx_max_abs_error", "pt2_max_abs_error")},
        "files": {
            "onnx": ONNX if has[ONNX] else None,
            "exported_program": PROGRAM if has[PROGRAM] else None,
            "weights": WEIGHTS if has[WEIGHTS] else None,
            "report": REPORT,
        },
    }
    front = front_result(stages["search"].record, trials)
    score = score_result(stages["search"].record, searched)
    return {**result, "winners": winners(run, result), "front": front, "score": score}


def _latency(run: Run, architecture: str) -> dict[str, Any]:
    """Of the cost: under a limit the latency that the winner was chosen by, else that of what is handed over."""
    stages = run.directory.store.stages()
    latency = stages["export"].record.get("latency")
    predicted_ms = None
    if run.config.limit_ms is not None:
        row = stages[MEASURED].record
        latency = {"device": row["settings"]["name"], **row["measured"][architecture]}
        trials = [trial.architecture for trial in run.directory.store.trials()]
        predicted_ms = stages["search"].record["predicted_ms"][trials.index(architecture)]
    latency = latency or {}
    return {
        "latency_ms": latency.get("median_ms"),
        "latency_device": latency.get("device"),
        "latency_threads": latency.get("threads"),
        "latency_iqr_ms": latency.get("iqr_ms"),
        "latency_predicted_ms": predicted_ms,
    }


def _baseline_latencies(run: Run, baseline: list[NetworkRow]) -> dict[str, list[float]]:
    """Under a limit the latency by which each random network was taken, in their order; else nothing."""
    if run.config.limit_ms is None:
        return {}
    measured = run.directory.store.stage(MEASURED).record["measured"]
    return {"latency_ms": [measured[row.architecture]["median_ms"] for row in baseline]}


def ranking(networks: list[NetworkRow]) -> dict[str, Any]:
    """How inherited accuracy, or the score searched by, ranks the networks against their stand-alone test accuracy.

    Of those trained from scratch.

    Kendall's tau-b and Spearman's rho, in [-1, 1]; None for fewer than two networks or where all are equal on one
    side.
    """
    pairs = [
        (row.inherited_validation, row.retrained_test)
        for row in networks
        if row.start == "scratch" and row.inherited_validation is not None and row.retrained_test is not None
    ]
    inherited, alone = zip(*pairs, strict=True) if pairs else ((), ())
    return {"num": len(pairs), **rank_correlation(inherited, alone, fewest=2)._asdict()}
