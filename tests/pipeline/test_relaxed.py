"""Differentiable methods in a run: limits hold, a killed run ends as a whole one, spaces with sizes are refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import onepath as op
from onepath.errors import ConfigurationError

LIMIT = 400_000


@pytest.mark.slow
@pytest.mark.parametrize("method", ["darts", "gdas", "proxyless"])
def test_a_run_keeps_its_limit_and_records_the_signals(method: str, tmp_path: Path) -> None:
    op.run(
        "digits",
        space="nasbench201",
        method=method,
        width=0.25,
        max_macs=LIMIT,
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
    assert all(trial.macs <= LIMIT for trial in trials)


def test_spaces_with_sizes_are_refused_before_training(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="is a size or a depth"):
        op.run(
            "digits",
            space="shufflenet-channels",
            method="darts",
            epochs=1,
            width=0.25,
            out=str(tmp_path / "run"),
        )
