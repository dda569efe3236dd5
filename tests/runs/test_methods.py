"""The methods in a run: what each puts into the stages, whole runs with kills, and what one cannot serve."""

from __future__ import annotations

import dataclasses
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from refusals import assert_refused
from run_processes import OPTIONS, Runner

from onepath import runs
from onepath.cli import main
from onepath.errors import ConfigurationError
from onepath.methods import Trained
from onepath.randomness import generator
from onepath.record import RunRecord, TrialRow, load_tensors
from onepath.runs.run_job import RunJob
from onepath.search import NSGA2, RandomSearch
from onepath.train import PathDropoutSampler, StrictFairnessSampler
from onepath.verdict import ordered

SHORT = {"num_baselines": 0, "retrain_epochs": 1, "retrain_from": "scratch", "generations": 1}
CONDITIONAL = """
from torch import nn
import onepath as op

class Net(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        hidden = op.Choice("hidden", [4, 8])
        wide = nn.Sequential(op.ElasticConv2d(1, hidden, 1), op.ElasticConv2d(hidden, 1, 1))
        self.block = op.ChoiceBlock({"skip": nn.Identity(), "wide": wide})
        self.head = nn.Linear(64, num_classes)

    def forward(self, x):
        return self.head(self.block(x).flatten(1))

def build(num_classes, in_channels=1):
    return Net(num_classes)
"""


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rate": 0.5}, "rate is an option of method one-shot, but method is spos; leave rate out"),
        ({"reduction": "mean", "method": "one-shot"}, "reduction is an option of method fairnas"),
        ({"num_ghost_batches": 2, "method": "fairnas"}, "num_ghost_batches is an option of method one-shot"),
        ({"sampler": "uniform", "method": "fairnas"}, "sampler is an option of method spos"),
        ({"rate": 1.5, "method": "one-shot"}, "rate must be less than or equal to 1, but got 1.5"),
        ({"reduction": "max", "method": "fairnas"}, "reduction must be 'sum' or 'mean', but got 'max'"),
        ({"num_ghost_batches": 0, "method": "one-shot"}, "num_ghost_batches must be greater than or equal"),
    ],
)
def test_an_option_of_another_method_is_one_line(
    options: dict[str, Any], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert_refused(options, message, capsys)


def begun(tmp_path: Path, **options: Any) -> dict[str, Any]:
    """Every option of a run as it begins."""
    given = {"space": OPTIONS["space"], "workers": 1, "out": str(tmp_path / "begun"), **options}
    with runs.Run(runs.make_config(given), fresh=True) as run:
        return run.config.as_dict()


def test_options_are_resolved_by_the_method(tmp_path: Path) -> None:
    spos = begun(tmp_path)
    assert not {"rate", "num_ghost_batches", "reduction"} & set(spos)
    one_shot = begun(tmp_path, method="one-shot")
    assert (one_shot["rate"], one_shot["num_ghost_batches"], one_shot["epochs"]) == (0.1, 1, spos["epochs"])
    fair = begun(tmp_path, method="fairnas")
    assert (fair["reduction"], fair["epochs"]) == ("sum", -(-spos["epochs"] // 3))
    assert begun(tmp_path, method="fairnas", epochs=7)["epochs"] == 7


def test_the_parts_of_fairnas_and_of_one_shot(tmp_path: Path) -> None:
    given = {**OPTIONS, "method": "fairnas", "reduction": "mean", "out": str(tmp_path / "fair")}
    with runs.Run(runs.make_config(given)) as run:
        job, method = RunJob(run), run.config.options
        algorithm = method.made_algorithm(job, Trained(run.blank))  # type: ignore[attr-defined]
        assert isinstance(algorithm, NSGA2)
        assert (algorithm.population, algorithm.generations) == (6, 2)
        architecture = run.blank.space.parse("1,2,0")
        matrix = run.blank.space.matrix([architecture])
        costs = [float(cost(matrix)[0]) for cost in algorithm.costs]
        assert costs == [run.costs(architecture)[name] for name in ("macs", "params")]
        start, rest = method.phases(job)
        assert (start.name, rest.name, rest.reduction) == ("one path", "supernet", "mean")
        assert isinstance(rest.sampler, StrictFairnessSampler)
    given = {**OPTIONS, "method": "one-shot", "rate": 0.5, "num_ghost_batches": 2}
    with runs.Run(runs.make_config({**given, "out": str(tmp_path / "one")})) as run:
        job, method = RunJob(run), run.config.options
        (phase,) = method.phases(job)
        sampler, search = phase.sampler, method.made_algorithm(job, Trained(run.blank))  # type: ignore[attr-defined]
        num_updates = job.num_updates(phase.recipe)
        assert isinstance(sampler, PathDropoutSampler)
        assert sampler.drop_probability(3, num_updates) == pytest.approx(0.5 ** (1 / 3))
        assert sampler.drop_probability(3, num_updates // 2) < 0.5 ** (1 / 3)
        assert len(sampler.paths(0, generator(0, "x", 0))[0].paths) == 2
        assert isinstance(search, RandomSearch)
        assert (search.num, search.batch) == (18, 6)
        assert phase.recipe.one_path == 0


def test_of_equally_accurate_architectures_fairnas_takes_the_one_on_the_front(tmp_path: Path) -> None:
    def row(number: int, architecture: str, accuracy: float | None, loss: float, macs: int) -> TrialRow:
        return TrialRow(
            number, architecture, 0, "random", accuracy, loss, {"macs": macs, "params": macs // 10}, 0.1
        )

    rows = [
        row(0, "0,0,0", 0.5, 1.0, 100),
        row(1, "1,0,0", 0.9, 0.3, 300),
        row(2, "2,0,0", 0.9, 0.4, 200),
        row(3, "2,1,0", 0.9, 0.4, 200),
        row(4, "2,2,0", None, 0.1, 50),
    ]
    numbers = {}
    for method in ("fairnas", "spos"):
        given = {**OPTIONS, "method": method, "out": str(tmp_path / method)}
        with runs.Run(runs.make_config(given)) as run:
            numbers[method] = [trial.number for trial in ordered(rows, run.config.options.ties)]
    assert numbers == {"fairnas": [2, 3, 1, 0, 4], "spos": [1, 2, 3, 0, 4]}


def killed_run(method: str, runner: Runner, out: Path) -> RunRecord:
    """The record of a run that was killed twice; its training and search must be those of an uninterrupted run."""
    runner.evaluated()
    for moment in (("training", 5), ("searching", 9)):
        assert runner(out / "killed", moment, method=method, **SHORT) == -9, f"not killed at {moment}"
    assert runner(out / "killed", method=method, **SHORT) == 0
    evaluated = runner.evaluated()
    assert len(evaluated) == len(set(evaluated)), "an architecture was evaluated twice"
    given = {**OPTIONS, **SHORT, "method": method, "out": str(out / "whole")}
    with runs.Run(runs.make_config(given)) as run:
        runs.run_stage(run, "train")
        runs.run_stage(run, "search")
    killed, whole = RunRecord.load(out / "killed"), RunRecord.load(out / "whole")
    for stage in ("train", "search"):
        assert killed.stages[stage]["record"] == whole.stages[stage]["record"]
    untimed = [
        [dataclasses.replace(trial, seconds=0) for trial in record.trials] for record in (killed, whole)
    ]
    assert untimed[0] == untimed[1]
    weights = [
        load_tensors(out / name / "checkpoints" / "supernet.safetensors") for name in ("killed", "whole")
    ]
    assert all(torch.equal(tensor, weights[1][name]) for name, tensor in weights[0].items())
    return killed


def hypervolume_by_cells(points: np.ndarray) -> float:
    """Of the box [0, 1]^3 the share that some point dominates, all maximised: cell by cell of the points' grid."""
    grid = [np.unique([0.0, *column]) for column in points.T]
    total = 0.0
    for cell in itertools.product(*(range(len(edges) - 1) for edges in grid)):
        upper = np.array([edges[index + 1] for edges, index in zip(grid, cell, strict=True)])
        lower = np.array([edges[index] for edges, index in zip(grid, cell, strict=True)])
        if (points >= upper).all(axis=1).any():
            total += float((upper - lower).prod())
    return total


@pytest.mark.usefixtures("one_thread")
def test_a_run_of_fairnas(runner: Runner, tmp_path: Path) -> None:
    record = killed_run("fairnas", runner, tmp_path)
    result, trials = record.result, record.trials
    assert (result["method"], len(trials)) == ("fairnas", result["search"]["evaluated"])
    assert {trial.origin for trial in trials} == {"random", "crossover"}
    objectives = np.array(
        [[trial.accuracy, -trial.costs["macs"], -trial.costs["params"]] for trial in trials]
    )
    dominated = [((objectives >= own).all(1) & (objectives > own).any(1)).any() for own in objectives]
    front = [trial for trial, is_worse in zip(trials, dominated, strict=True) if not is_worse]
    shown = result["front"]["architectures"]
    assert {entry["architecture"] for entry in shown} == {trial.architecture for trial in front}
    assert [entry["macs"] for entry in shown] == sorted(entry["macs"] for entry in shown)
    assert shown[0].keys() == {"architecture", "inherited_validation", "macs", "params"}
    reference = result["front"]["reference"]
    assert reference == {"macs": 25_000, "params": max(trial.costs["params"] for trial in trials)}
    gains = [
        [t.accuracy, 1 - t.costs["macs"] / reference["macs"], 1 - t.costs["params"] / reference["params"]]
        for t in front
    ]
    assert result["front"]["hypervolume"] == pytest.approx(hypervolume_by_cells(np.array(gains)))
    best = max(trial.accuracy for trial in front)
    written = json.loads((record.path / "architecture.json").read_text())["architecture"]
    assert written in {trial.architecture for trial in front if trial.accuracy == best}
    train = record.stages["train"]["record"]
    num_updates, start = train["num_updates"], train["start"]
    assert (num_updates, start["num_updates"]) == (10, 2)
    for block, passes in train["counts"].items():
        sampled = {name: num - start["counts"][block][name] for name, num in passes.items()}
        assert sampled == dict.fromkeys(("skip", "k1", "k3"), num_updates - 2)
    page = (record.path / "report.html").read_text()
    assert "The front of accuracy, MACs and parameters" in page
    assert "In 8 updates each of the 9 candidates in 3 blocks was trained in exactly 8 passes." in page
    for figure in ("score-against-macs", "score-against-params", "candidate-counts"):
        assert f'id="{figure}"' in page


@pytest.mark.usefixtures("one_thread")
def test_a_run_of_one_shot(runner: Runner, tmp_path: Path) -> None:
    record = killed_run("one-shot", runner, tmp_path)
    assert {trial.origin for trial in record.trials} == {"random"}
    assert [trial.generation for trial in record.trials] == sorted(
        trial.generation for trial in record.trials
    )
    assert record.result["method"] == "one-shot"
    assert (record.config["rate"], record.config["num_ghost_batches"]) == (0.1, 1)
    assert record.result["front"]["architectures"]
    train = record.stages["train"]["record"]
    assert "start" not in train
    for passes in train["counts"].values():
        # Mostly sums of several candidates: more passes through candidates than updates.
        assert train["num_updates"] < sum(passes.values()) <= 3 * train["num_updates"]
    assert "candidates in 3 blocks was trained in" in (record.path / "report.html").read_text()


def test_a_run_of_spos_has_a_front_and_counts(finished: Path) -> None:
    record = RunRecord.load(finished)
    assert (
        record.result["front"]["hypervolume"] == record.stages["search"]["record"]["front"]["hypervolume"] > 0
    )
    train = record.stages["train"]["record"]
    assert [sum(passes.values()) for passes in train["counts"].values()] == [train["num_updates"]] * 3


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        ("fairnas", {}, "strict fairness needs choices that are always active"),
        ("fairnas", {"epochs": 1}, "strict fairness needs choices that are always active"),
        ("one-shot", {}, "'hidden' depends on 'block'"),
    ],
)
def test_a_space_that_a_method_cannot_serve_ends_before_any_training(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    method: str,
    options: dict[str, Any],
    message: str,
) -> None:
    (tmp_path / "own.py").write_text(CONDITIONAL)
    given = {"space": f"{tmp_path / 'own.py'}:build", "method": method, **options}
    with pytest.raises(ConfigurationError, match=message):
        runs.run("digits", out=tmp_path / "run", **given)
    assert not (tmp_path / "run").exists()
    words = [word for name, value in given.items() for word in (f"--{name}", str(value))]
    assert main(["run", *words, "--out", str(tmp_path / "run")]) == 2
    said = capsys.readouterr().err.splitlines()
    assert message in said[-1]
    assert "method spos" in said[-1]
    assert not (tmp_path / "run").exists()


def test_results_of_searches_without_a_front_have_none(finished: Path) -> None:
    from onepath.runs.fronts import front_record, front_result

    record = RunRecord.load(finished)
    stage = dict(record.stages["search"]["record"])
    assert front_result(stage, record.trials) == record.result["front"]
    del stage["front"]
    assert front_result(stage, record.trials) is None
    unfinite = [dataclasses.replace(trial, accuracy=None) for trial in record.trials]
    found = front_record(unfinite, {"max_macs": 25_000}, "loss")
    assert (found["trials"], found["hypervolume"]) == ([], 0.0)


@pytest.mark.usefixtures("one_thread")
def test_a_prefilter_evaluates_its_share_of_every_generation_and_is_resumed(
    runner: Runner, tmp_path: Path
) -> None:
    options = {**SHORT, "prefilter": "l2_norm:0.5"}
    assert runner(tmp_path / "killed", ("searching", 2), **options) == -9
    found = {}
    for name in ("killed", "whole"):
        given = {**OPTIONS, **options, "out": str(tmp_path / name)}
        with runs.Run(runs.make_config(given)) as run:
            runs.run_stage(run, "train")
            runs.run_stage(run, "search")
            trials = run.directory.store.trials()
        found[name] = [dataclasses.replace(trial, seconds=0) for trial in trials]
    assert found["killed"] == found["whole"]
    generations = [trial.generation for trial in found["whole"]]
    assert [generations.count(number) for number in (0, 1)] == [3, 3]  # half of a population of 6
