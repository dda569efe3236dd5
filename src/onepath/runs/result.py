"""`result.json`, and a run directory as a Python object."""

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
from onepath.search.halving import num_passes
from onepath.verdict import ranking
from onepath.version import __version__

if TYPE_CHECKING:
    from torch import nn

    from onepath.data import Preprocessing
    from onepath.nn import Supernet
    from onepath.space import Architecture


class Trials(tuple[TrialRow, ...]):
    """The trials of a run; a call returns the object itself, so that `trials` and `trials()` are the same."""

    __slots__ = ()

    def __call__(self) -> Trials:
        """Return the same trials."""
        return self


@dataclass(frozen=True, repr=False)
class Result:
    """A run directory as a Python object, finished or not; whatever takes time is read when it is asked for.

    Attributes:
        path: path of the run directory.
        result: content of `result.json`; empty before the run has finished.
        space: path/to/file.py:function of a space of the user's own, as the caller has named it; the run directory may
            confirm it, but not choose it. None if the caller has named none.
        method: class of a method of the user's own, as the caller has given it; None if the caller has given none.
        given: objects that were given in Python instead of names, if this process has made the run.
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
        """Return the run as text in one screen: the network found, its costs and metric, the baseline, the verdict."""
        return result_text(self.path, self.result)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        """Return the content of `str` as an HTML table with a link to the report, for notebooks."""
        return result_html(self.path, self.result)

    @property
    def trials(self) -> Trials:
        """Every evaluated architecture with its score, loss and costs, in the order of evaluation.

        `supernet().space.parse(trial.architecture)` is the architecture itself.
        """
        return Trials(self._record.trials)

    @property
    def preprocessing(self) -> Preprocessing | None:
        """What turns a raw example into an input of `model()`; None if the data did not say.

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
        """The architecture that the search found.

        Raises:
            ConfigurationError: the run has code of the user's own that was not named, see `load_run`.
            RunDirectoryError: the search has not ended.
        """
        winner = self._stage("search", "the architecture found")["winner"]
        return self._materials.blank.space.parse(winner)

    def model(self) -> nn.Module:
        """Return the retrained network of plain torch layers, on the CPU, in eval mode; it can be trained further.

        Every call returns a new module. Its inputs must be normalised, see `preprocessing`, even if the exported graphs
        take raw values.

        Raises:
            ConfigurationError: the run has code of the user's own that was not named, see `load_run`.
            RunDirectoryError: nothing is exported yet, or a file is damaged.
        """
        start = self._stage("export", "the retrained network")["start"]
        model = self._materials.blank.extract(self.architecture, inherit=start != "scratch")
        try:
            model.load_state_dict(load_tensors(self.path / WEIGHTS, self._record.digests.get(WEIGHTS)))
        except RuntimeError as error:
            raise self._materials.changed_space() from error
        return model.eval()

    def supernet(self) -> Supernet:
        """Return the trained supernet, on the CPU, in eval mode; every call returns a new one.

        Raises:
            ConfigurationError: the method trains no supernet, or the run has code of the user's own that was not named,
                see `load_run`.
            RunDirectoryError: the training has not ended, or a file is damaged.
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
        """The definition that networks are built from; new at every call, because the caller may change a network."""
        facts, record = self._stage("data", "a network"), self._record
        if not facts:
            raise damaged_error(self.path / TRIALS)
        config = read_stored(record.config, self.path, self.method)
        config = confirmed(config, self.path, self.space, config.device, facts, config.method)
        check_sources(config, facts)
        return RunDefinition(self.path, config, facts, self.given, digests=record.digests)

    def _stage(self, name: str, what: str) -> dict[str, Any]:
        """Return the record of a finished stage; raise RunDirectoryError, for `what`, if it has not finished."""
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
    """Read a run directory, finished or not: its result, trials, architecture, model and supernet.

    Nothing is locked and nothing is changed.

    Args:
        path: path of the run directory; for a further limit, the folder `limit-...` in it.
        space: if the run's space is a function of your own, `path/to/file.py:function` again, because a directory must
            not choose which code is run. Only networks and architectures need it.
        method: if the run's method is a class of your own, path/to/file.py:Class or the class again, for the same
            reason.

    Raises:
        RunDirectoryError: no run has begun in `path`, or a file of the run is damaged.

    Example:
        ``model = onepath.load_run("runs/digits-nasbench-macro-spos").model().train()``
    """
    kind = None if method is None else find_method(method)
    found = Result(Path(path).expanduser(), {}, None if space is None else str(space), kind)
    return replace(found, result=found._record.result)


def make_result(run: Run) -> dict[str, Any]:
    """Return the content of `result.json`, made from the trial store alone; what was not measured is None.

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
    finals = stages["retrain"].record.get("finals")
    return {
        **result,
        "winners": winners(run, result),
        "front": front,
        "score": score,
        "finals": None if finals is None else finals_result(finals, metric, config.finish or ""),
    }


def _predictor(record: dict[str, Any]) -> dict[str, Any]:
    """Return the figures of the accuracy predictor on held-out pairs under the key "predictor"; empty without one."""
    known = record.get("predictor")
    return (
        {} if known is None else {"predictor": {name: known[name] for name in ("num_pairs", "error", "tau")}}
    )


def finals_result(finals: list[dict[str, Any]], metric: Metric, finish: str) -> dict[str, Any]:
    """Return the finals for `result.json`: what each round found on the validation split, and what they cost.

    Args:
        finals: the rounds, from the record of the stage `retrain`.
        metric: metric of the task, whose values take the place of the scores.
        finish: how the winner is finished.
    """
    rounds = [
        {
            "share": played["share"],
            "validation": {name: metric.value(score) for name, score in played["scores"].items()},
        }
        for played in finals
    ]
    return {"rounds": rounds, "trainings": num_passes(len(finals[0]["scores"]), finish)}


def preprocessing_result(facts: dict[str, Any], exported: dict[str, Any]) -> dict[str, Any] | None:
    """Return how an input is prepared, for `result.json`; None if the data did not say.

    A vocabulary, which may have 50,000 words, is left in the metadata of the exported files.

    Args:
        facts: facts about the data, see `describe`.
        exported: record of the stage `export`.
    """
    found: dict[str, Any] | None = exported.get("preprocessing")
    if found is None:
        return None
    names = "class_names in the metadata of the files" if found["kind"] == "text" else facts["class_names"]
    return {**found, "class_names": names}


def _latency(run: Run, architecture: str) -> dict[str, Any]:
    """Return the latency entries of "cost".

    Under a limit on latency they hold the measurement that chose the winner, else that of the exported network.
    """
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
    """Return the measured latency of each random network, in their order; empty without a limit on latency."""
    if run.config.limit_ms is None:
        return {}
    measured = run.directory.store.stage(MEASURED).record["measured"]
    return {"latency_ms": [measured[row.architecture]["median_ms"] for row in baseline]}
