"""A run that searches by a score: killed and continued, its results, and what it refuses."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import pytest
from run_processes import OPTIONS, Runner

from onepath import runs
from onepath.cli import main
from onepath.errors import RunDirectoryError
from onepath.methods import Zen
from onepath.record import RunRecord

ZEN: dict[str, Any] = {
    **OPTIONS,
    "method": "zen",
    "epochs": None,
    "retrain_from": "scratch",
    "retrain_epochs": 1,
    "num_baselines": 1,
    "generations": 1,
}


@pytest.mark.usefixtures("one_thread")
def test_a_killed_run_ends_as_an_uninterrupted_one(runner: Runner, tmp_path: Path) -> None:
    assert runner(tmp_path / "killed", ("searching", 8), **ZEN) == -9
    assert runner(tmp_path / "killed", **ZEN) == 0
    with runs.Run(runs.make_config({**ZEN, "out": str(tmp_path / "whole")})) as run:
        runs.run_stage(run, "train")
        runs.run_stage(run, "search")
    killed, whole = RunRecord.load(tmp_path / "killed"), RunRecord.load(tmp_path / "whole")
    assert killed.stages["search"]["record"] == whole.stages["search"]["record"]
    untimed = [[dataclasses.replace(trial, seconds=0) for trial in each.trials] for each in (killed, whole)]
    assert untimed[0] == untimed[1]
    assert len(killed.trials) == 12
    assert not (tmp_path / "killed" / "checkpoints" / "supernet.safetensors").exists()
    _check_result(killed)
    _check_page(killed)


def _check_result(record: RunRecord) -> None:
    result = record.result
    best = max(trial.accuracy for trial in record.trials if trial.accuracy is not None)
    assert result["accuracy"]["inherited_validation"] is None
    assert result["score"] == {"name": "zen", "num_degenerate": 0, "value": best}
    assert result["front"] is None
    assert 0 <= result["accuracy"]["retrained_test"] <= 1
    assert result["ranking"]["num"] == 2
    written = json.loads((record.path / "architecture.json").read_text())["architecture"]
    assert [trial.architecture for trial in record.trials if trial.accuracy == best] == [written]
    assert all(trial.costs["macs"] <= 25_000 for trial in record.trials)


def _check_page(record: RunRecord) -> None:
    page = (record.path / "report.html").read_text()
    assert "Score against MACs" in page
    assert "Does the score zen rank as stand-alone accuracy does?" in page
    for words in ("nherited accuracy", "nherited validation", "the supernet's weights"):
        assert words not in page
    assert "zen (score without training)" in page


def resolved(tmp_path: Path, **options: Any) -> runs.RunConfig:
    """The configuration that a run begins with."""
    with runs.Run(
        runs.make_config({"workers": 1, "out": str(tmp_path / "run"), **options}), fresh=True
    ) as run:
        return run.config


def test_defaults(tmp_path: Path) -> None:
    config = resolved(tmp_path, method="zen", width=1.0)
    options = config.options
    assert isinstance(options, Zen)
    assert (config.space, options.proxy, options.population, options.generations) == ("zennas", "zen", 512, 7)
    given = {"method": "zen", "space": "nasbench-macro", "proxy": "nwot", "population": 5}
    config = resolved(tmp_path, **given)
    assert (config.space, config.as_dict()["proxy"], config.options.population) == (
        "nasbench-macro",
        "nwot",
        5,
    )
    config = resolved(tmp_path, space=OPTIONS["space"])
    assert (config.method, config.options.population, config.options.generations) == ("spos", 16, 5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "zen", "proxy": "zenn"}, "did you mean zen?"),
        ({"proxy": "zen"}, "proxy is an option of method zen or naswot, but method is spos"),
        ({"method": "zen", "retrain_from": "both"}, "has no supernet to inherit from, but got both"),
        (
            {"method": "zen", "epochs": 3},
            "epochs is an option of method spos or fairnas or one-shot or sandwich or ofa or puzzle or darts or "
            "gdas or proxyless or enas or smash or ghn, but method is zen",
        ),
        ({"method": "zen", "sampler": "uniform"}, "sampler is an option of method spos"),
        ({"method": "zen", "max_layers": 0}, "max_layers must be greater than or equal to 1, but got 0"),
        ({"space": "zennas"}, "method spos needs a space with a supernet, but zennas has none"),
        (
            {"method": "zen", "max_layers": 3},
            "max_layers must be at least the smallest cost of the space, 7 layers",
        ),
    ],
)
def test_wrong_options_end_in_one_line(
    options: dict[str, Any], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    assert main(["run", *words, "--out", str(tmp_path / "run")]) == 2
    said = capsys.readouterr()
    assert (said.out, said.err.count("error: ")) == ("", 1)
    assert message in said.err.splitlines()[-1]
    assert not (tmp_path / "run").exists()


def test_degenerate_networks_are_stored_and_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from onepath.estimate.scores import ScoreEstimator, definition

    compute = ScoreEstimator._compute

    def some(self: ScoreEstimator, architecture: Any) -> definition.Score:
        if architecture.indices[0] == 0:
            return definition.Score(-math.inf, "nothing to tell", 0.0)
        return compute(self, architecture)

    monkeypatch.setattr(ScoreEstimator, "_compute", some)
    with runs.Run(runs.make_config({**ZEN, "out": str(tmp_path / "run")})) as run:
        runs.run_stage(run, "train")
        runs.run_stage(run, "search")
        trials = run.directory.store.trials()
        record = run.directory.store.stage("search").record
    lost = [trial for trial in trials if trial.accuracy is None]
    assert {trial.architecture[0] for trial in lost} == {"0"}
    assert 0 < len(lost) == record["score"]["num_degenerate"] < len(trials)
    assert record["winner"][0] != "0"


def test_rank_says_that_there_is_no_supernet(tmp_path: Path) -> None:
    from onepath.studies.comparison import RankOptions
    from onepath.studies.rank_run import rank_on_standalone

    with runs.Run(runs.make_config({**ZEN, "out": str(tmp_path / "run")})) as run:
        runs.run_stage(run, "train")
        with pytest.raises(RunDirectoryError, match="method zen trains none"):
            rank_on_standalone(run, 2, RankOptions())
