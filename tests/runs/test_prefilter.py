"""A search behind a prefilter, killed and continued: no score is made twice."""

from __future__ import annotations

import dataclasses
import math
import shutil
from pathlib import Path
from typing import Any

import pytest
from onepath.runs.scored import StoredScore

from onepath.estimate import ScoreEstimator
from onepath.runs import Run, make_config, run_stage

SPACE = f"{Path(__file__).parent / 'tiny_space.py'}:build"
OPTIONS = {
    "space": SPACE,
    "epochs": 1,
    "prefilter": "nwot:0.5",
    "population": 6,
    "generations": 1,
    "validation_images": 64,
    "calibration_images": 64,
    "workers": 1,
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose supernet is trained and nothing else; not to be changed."""
    path = tmp_path_factory.mktemp("prefiltered") / "run"
    with Run(make_config({**OPTIONS, "out": str(path)})) as run:
        run_stage(run, "train")
    return path


def count_scores(monkeypatch: pytest.MonkeyPatch, stop_after: int | None = None) -> list[str]:
    """Architectures scored from now on; the one after `stop_after` never ends."""
    made: list[str] = []
    compute = ScoreEstimator._compute

    def counted(self: ScoreEstimator, architecture: Any) -> Any:
        if len(made) == stop_after:
            raise KeyboardInterrupt
        made.append(str(architecture))
        return compute(self, architecture)

    monkeypatch.setattr(ScoreEstimator, "_compute", counted)
    return made


def search(path: Path) -> list[Any]:
    with Run(None, path, space=SPACE) as run:
        run_stage(run, "search")
        return [dataclasses.replace(trial, seconds=0) for trial in run.directory.store.trials()]


def test_a_killed_search_makes_no_score_again(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("whole", "killed"):
        shutil.copytree(trained, tmp_path / name)
    with monkeypatch.context() as patch:
        made = count_scores(patch)
        whole = search(tmp_path / "whole")
    assert len(made) > len(whole) > 3
    with monkeypatch.context() as patch:
        first = count_scores(patch, stop_after=8)  # in the second generation
        with pytest.raises(KeyboardInterrupt):
            search(tmp_path / "killed")
    with monkeypatch.context() as patch:
        rest = count_scores(patch)
        assert search(tmp_path / "killed") == whole
    assert first + rest == made


def test_what_is_degenerate_is_kept_as_minus_infinity(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(trained, tmp_path / "run")
    with Run(None, tmp_path / "run", space=SPACE) as run:
        architecture = run.blank.space.architecture([0] * run.blank.space.num_choices)
        dead = dataclasses.replace(ScoreEstimator.score(StoredScore(run, "params")._estimator, architecture))
        monkeypatch.setattr(ScoreEstimator, "_compute", lambda *_: dataclasses.replace(dead, value=-math.inf))
        assert StoredScore(run, "nwot")(architecture) == -math.inf
        monkeypatch.setattr(ScoreEstimator, "_compute", None)
        assert StoredScore(run, "nwot")(architecture) == -math.inf
