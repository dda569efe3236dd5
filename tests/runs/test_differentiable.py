"""Differentiable methods in a run: limits hold, a killed run ends as a whole one, spaces with sizes are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import pytest
from run_processes import OPTIONS

import onepath as op
from onepath import runs
from onepath.errors import ConfigurationError
from onepath.estimate import Estimate
from onepath.methods import Trial
from onepath.record import TrialRow
from onepath.runs.replay import Replay
from onepath.verdict import ordered

LIMIT = 140_000


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("darts", {"order": "second", "guard": "watch", "num_seeds": 2}),
        ("gdas", {"guard": "stop", "warmup_epochs": 1}),
        ("proxyless", {"gates": "two-path", "cost_loss": "multiply-log"}),
        ("proxyless", {"gates": "reinforce"}),
    ],
)
def test_a_run_keeps_its_limit_and_records_the_signals(
    method: str, options: dict[str, Any], tmp_path: Path
) -> None:
    op.run(
        "digits",
        space="nasbench201",
        space_arguments={"num_cells": 1},
        method=method,
        **options,
        width=0.25,
        max_macs=LIMIT,
        batch_size=230,
        epochs=3,
        retrain_epochs=1,
        num_baselines=1,
        population=3,
        workers=1,
        out=str(tmp_path / "run"),
    )
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["method"] == method
    assert result["cost"]["macs"] <= LIMIT
    from onepath.record import RunDirectory

    with RunDirectory(tmp_path / "run") as directory:
        record = directory.store.stage("train").record["architecture"]
        trials = directory.store.trials()
    assert [point["epoch"] for point in record["points"]] == [1, 2, 3]
    assert [trial.origin for trial in trials] == ["derived", "random", "random"]
    assert all(trial.costs["macs"] <= LIMIT for trial in trials)


class Interrupting(runs.SilentProgress):
    """Raises after the n-th update of a training whose title holds a text."""

    def __init__(self, title: str, step: int) -> None:
        self.title, self.step, self.is_current = title, step, False

    def begin(self, title: str, total: int, done: int = 0) -> None:
        self.is_current = self.title in title

    def advance(self, done: int, detail: str = "") -> None:
        if self.is_current and done >= self.step:
            raise InterruptedError


def test_of_several_seeds_the_best_derived_one_goes_on_also_after_an_interruption(tmp_path: Path) -> None:
    def config(name: str) -> runs.RunConfig:
        options = {"method": "darts", "num_seeds": 2, "seed": 1, "warmup_epochs": 1, "generations": 0}
        return runs.make_config(
            {**OPTIONS, "retrain_from": "scratch", **options, "out": str(tmp_path / name)}
        )

    with runs.Run(config("whole")) as run:
        runs.run_stage(run, "train")
        expected = run.directory.store.stage("train").record
        runs.run_stage(run, "search")
        trials = run.directory.store.trials()
    # One seed is done, and the other in its second epoch.
    interrupting = Interrupting("seed 2 ", 7)
    with (
        pytest.raises(InterruptedError),
        runs.Run(config("cut"), progress=interrupting, checkpoint_seconds=0.0) as run,
    ):
        runs.run_stage(run, "train")
    with runs.Run(config("cut"), checkpoint_seconds=0.0) as run:
        runs.run_stage(run, "train")
        found = run.directory.store.stage("train").record
    assert found == expected
    record = found["architecture"]
    seeds = record["seeds"]
    assert [line["seed"] for line in seeds] == [1, 2]
    assert [point["epoch"] for point in record["points"]] == [1, 2]
    best = max(seeds, key=lambda line: (line["inherited_validation"], -line["loss"]))
    assert record["seed"] == best["seed"]
    # The weights kept are those of the seed taken: the search finds its architecture and its accuracy again.
    assert trials[0].origin == "derived"
    assert (trials[0].accuracy, trials[0].costs["macs"]) == (best["inherited_validation"], best["macs"])
    assert [path.name for path in (tmp_path / "cut" / "checkpoints").iterdir()] == ["supernet.safetensors"]


def test_what_was_drawn_for_comparison_becomes_the_derived_one(tmp_path: Path) -> None:
    given = {**OPTIONS, "method": "darts", "retrain_from": "scratch", "out": str(tmp_path / "run")}
    with runs.Run(runs.make_config(given)) as run:
        space = run.blank.space
        rows = [
            TrialRow(n, text, 0, "random", 0.5, 1.0, {"macs": 10, "params": 10}, 0.1)
            for n, text in enumerate(("0,0,1", "0,1,0"))
        ]
        for row in rows:
            run.directory.store.add_trial(row)
        replay = Replay(run, cast(Any, None), run.costs)
        for text, origin in (("0,0,1", "random"), ("0,1,0", "random"), ("0,1,0", "derived")):
            estimate = Estimate(0.5, 1.0, 0.1, 287)
            replay.on_trial(Trial(space.parse(text), estimate, origin, 0))
        assert [row.architecture for row in ordered(replay.told(), run.config.options.ties)] == [
            "0,1,0",
            "0,0,1",
        ]
        assert [row.origin for row in replay.told()] == ["random", "derived"]


def test_spaces_with_sizes_are_refused_before_training(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"needs choices between candidates, but .* is a size"):
        op.run(
            "digits",
            space="shufflenet-channels",
            method="darts",
            epochs=1,
            width=0.25,
            out=str(tmp_path / "run"),
        )
