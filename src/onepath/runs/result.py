"""`result.json`, and a finished run as Python sees it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onepath.cost import COSTS
from onepath.display import Metric
from onepath.errors import ConfigurationError, RunDirectoryError
from onepath.methods import Method, find_method
from onepath.record import NetworkRow, RunRecord, TrialRow, load_tensors
from onepath.record.atomic import damaged_error
from onepath.record.directory import ONNX, PROGRAM, REPORT, TRIALS, WEIGHTS
from onepath.record.stage_records import reading_records
from onepath.runs.code import check_sources, confirmed
from onepath.runs.definition import Given, RunDefinition
from onepath.runs.fronts import front_result
from onepath.runs.latencies import MEASURED
from onepath.runs.limit_folders import winners
from onepath.runs.making import read_stored
from onepath.runs.opened import Run
from onepath.runs.shown_result import (
    costs_result,
    metric_result,
    result_html,
    result_text,
    teacher_result,
)
from onepath.verdict import ranking
from onepath.version import __version__

if TYPE_CHECKING:
    from torch import nn

    from onepath.data import Preprocessing
    from onepath.nn import Supernet
    from onepath.space import Architecture


class Trials(tuple[TrialRow, ...]):
    """The trials of a run; called, they are themselves."""

    __slots__ = ()

    def __call__(self) -> Trials:
        """The same trials."""
        return self


@dataclass(frozen=True, repr=False)
class Result:
    """A run directory as Python sees it, finished or not; what takes time is read when it is asked for.

    Attributes:
        path: the run directory.
        result: the content of `result.json`; empty before the run has finished.
        space: path/to/file.py:function of a run in a space of the user's own, which the run directory may confirm, but
            not choose.
        method: the class of a run of a method of the user's own, likewise.
        given: objects given in Python in the place of names, of a run that has just been made.
    """

    path: Path
    result: dict[str, Any]
    space: str | None = None
    method: type[Method] | None = None
    given: Given | None = field(default=None, repr=False, compare=False)

    @property
    def config(self) -> dict[str, Any]:
        """Every option of the run, by name."""
        return self._record.config

    def __str__(self) -> str:
        """The run in one screen: the network found, its costs and metric, the baseline, the verdict."""
        return result_text(self.path, self.result)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        """As `str`, as a table with a link to the report, for notebooks."""
        return result_html(self.path, self.result)

    @property
    def trials(self) -> Trials:
        """Every evaluated architecture with its score, loss and costs, in the order of evaluation; `trials()` too.

        `supernet().space.parse(trial.architecture)` is the architecture itself.
        """
        return Trials(self._record.trials)

    @property
    def preprocessing(self) -> Preprocessing | None:
        """What turns a raw example into an input of `model()`; None where the data did not say.

        Raises:
            RunDirectoryError: nothing is exported yet.
        """
        from onepath.data import Preprocessing

        document = self._stage("export", "preprocessing").get("preprocessing")
        if document is None:
            return None
        names = tuple(self._stage("data", "preprocessing")["class_names"])
        with reading_records(self.path / TRIALS):
            return Preprocessing.from_document(document, names)

    @property
    def architecture(self) -> Architecture:
        """The architecture found.

        Raises:
            RunDirectoryError: the search has not ended.
        """
        winner = self._stage("search", "the architecture found")["winner"]
        return self._materials.blank.space.parse(winner)

    def model(self) -> nn.Module:
        """The retrained network as a module that can be trained further: plain torch layers, on the CPU, in eval mode.

        Its inputs are normalised, see `preprocessing`, whatever the exported graphs take.

        Raises:
            RunDirectoryError: nothing is exported yet.
        """
        start = self._stage("export", "the retrained network")["start"]
        model = self._materials.blank.extract(self.architecture, inherit=start != "scratch")
        try:
            model.load_state_dict(load_tensors(self.path / WEIGHTS, self._record.digests.get(WEIGHTS)))
        except RuntimeError as error:
            raise self._materials.changed_space() from error
        return model.eval()

    def supernet(self) -> Supernet:
        """The trained supernet, on the CPU, in eval mode.

        Raises:
            ConfigurationError: the method trains none.
            RunDirectoryError: its training has not ended.
        """
        if not read_stored(self.config, self.path, self.method).options.trains_supernet:
            raise ConfigurationError(
                f"a supernet needs a method that trains one, but {self.path} is of method {self.config['method']}; "
                "take model()"
            )
        self._stage("train", "the trained supernet")
        return self._materials.trained

    @cached_property
    def _record(self) -> RunRecord:
        return RunRecord.load(self.path)

    @property
    def _materials(self) -> RunDefinition:
        """What networks are built from; new ones at every call, so that the caller may change them."""
        facts, record = self._stage("data", "a network"), self._record
        if not facts:
            raise damaged_error(self.path / TRIALS)
        config = read_stored(record.config, self.path, self.method)
        config = confirmed(config, self.path, self.space, config.device, facts, config.method)
        check_sources(config, facts)
        return RunDefinition(self.path, config, facts, self.given, digests=record.digests)

    def _stage(self, name: str, what: str) -> dict[str, Any]:
        """The record of a finished stage."""
        stage = self._record.stages.get(name)
        if stage is None or not stage["done"]:
            raise RunDirectoryError(
                f"{what} needs a run whose stage {name} has ended, but in {self.path} it has not; "
                f"run `onepath run --out {self.path}`"
            )
        found: dict[str, Any] = stage["record"]
        return found


def load_run(
    path: str | Path, *, space: str | Path | None = None, method: type[Method] | str | None = None
) -> Result:
    """A run directory, finished or not: its result, trials, architecture, model and supernet.

    Nothing is locked and nothing is changed.

    Args:
        path: the run directory; for a further limit on latency the folder `limit-...` in it.
        space: where the run's space is a function of your own, `path/to/file.py:function` again: a directory may not
            choose what code is run. Needed for networks and architectures alone.
        method: where the run's method is a class of your own, path/to/file.py:Class or the class again, likewise.

    Raises:
        RunDirectoryError: no run has begun in `path`, or a file of it is damaged.

    Example:
        ``model = onepath.load_run("runs/digits-nasbench-macro-spos").model().train()``
    """
    kind = None if method is None else find_method(method)
    found = Result(Path(path).expanduser(), {}, None if space is None else str(space), kind)
    return replace(found, result=found._record.result)


def make_result(run: Run) -> dict[str, Any]:
    """Every key of `result.json`, from the trial store alone; what was not measured is None.

    Raises:
        RunDirectoryError: the records of the store do not fit together.
    """
    with reading_records(run.directory.path / TRIALS):
        return _result(run)


def _result(run: Run) -> dict[str, Any]:
    from onepath.report.sentences import words

    store, config = run.directory.store, run.config
    stages, trials, networks = store.stages(), store.trials(), store.networks()
    exported = store.stage("export").record
    rows = {(row.role, row.start): row for row in networks}
    winner = rows["winner", exported["start"]]
    baseline = [row for row in networks if row.role != "winner"]
    (searched,) = (trial for trial in trials if trial.architecture == winner.architecture)
    facts = run.facts
    seconds = {name: stages[name].seconds for name in ("train", "search", "retrain")}
    has = {name: (run.directory.path / name).is_file() for name in (ONNX, PROGRAM, WEIGHTS)}
    result: dict[str, Any] = {
        "onepath": __version__,
        "space": config.space,
        "method": config.method,
        "seed": config.seed,
        "data": {
            **{key: facts[key] for key in ("name", "train", "validation", "test", "classes", "input_shape")},
            "metric": Metric.of(facts.get("metric")).name,
        },
        "constraints": {
            **{f"max_{name}": config.limit(f"max_{name}") for name in COSTS},
            "max_latency_ms": config.limit_ms,
            "device": config.device,
        },
        "space_size": stages["search"].record["space_size"],
        "architecture": stages["search"].record["active"],
        "cost": {
            "macs": int(winner.costs["macs"]),
            "params": int(winner.costs["params"]),
            **_latency(run, winner.architecture),
        },
        "accuracy": {
            "inherited_validation": None if config.options.score is not None else searched.accuracy,
            "retrained_validation": winner.retrained_validation,
            "retrained_test": winner.retrained_test,
        },
        "random_baseline": {
            "num": len(baseline),
            "retrained_test": [row.retrained_test for row in baseline],
            **_baseline_latencies(run, baseline),
        },
        "ranking": ranking(networks).document(),
        "search": {
            "evaluated": len(trials),
            "seconds": stages["search"].seconds,
            **_predictor(stages["search"].record),
        },
        "seconds": {
            **seconds,
            "total": sum(stages[name].seconds for name in ("profile", *seconds, "export") if name in stages),
        },
        "preprocessing": preprocessing_result(facts, exported),
        "parity": {key: exported[key] for key in ("onnx_max_abs_error", "pt2_max_abs_error")},
        "files": {
            "onnx": ONNX if has[ONNX] else None,
            "exported_program": PROGRAM if has[PROGRAM] else None,
            "weights": WEIGHTS if has[WEIGHTS] else None,
            "report": REPORT,
        },
    }
    front = front_result(stages["search"].record, trials)
    score = stages["search"].record.get("score")
    score = None if score is None else {**score, "value": searched.accuracy}
    metric = Metric.of(facts.get("metric"))
    result |= {
        "metric": metric_result(metric, searched, winner, is_score=score is not None),
        "costs": costs_result([winner, searched], result["cost"]["latency_ms"] if config.limit_ms else None),
        "finish": exported["start"],
        "teacher": teacher_result(exported.get("model"), metric),
        "verdict": words(RunRecord.load(run.directory.path)),
    }
    return {**result, "winners": winners(run, result), "front": front, "score": score}


def _predictor(record: dict[str, Any]) -> dict[str, Any]:
    """How the accuracy predictor of a search did on what it had not seen, under its key; nothing without one."""
    known = record.get("predictor")
    return (
        {} if known is None else {"predictor": {name: known[name] for name in ("num_pairs", "error", "tau")}}
    )


def preprocessing_result(facts: dict[str, Any], exported: dict[str, Any]) -> dict[str, Any] | None:
    """How an input is prepared; a vocabulary stays in the metadata of the files, as it may have 50,000 words."""
    found: dict[str, Any] | None = exported.get("preprocessing")
    if found is None:
        return None
    names = "class_names in the metadata of the files" if found["kind"] == "text" else facts["class_names"]
    return {**found, "class_names": names}


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
