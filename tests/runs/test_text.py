"""A whole run on text: nothing in the stages knows what an image is."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from onepath import runs
from onepath.data import TextTask
from onepath.record import RunRecord
from onepath.runs.definition import Given
from onepath.runs.making import make_config
from onepath.runs.run_job import RunJob
from onepath.runs.stages import run_stage

LENGTH = 6


def sentences(num: int, rng: np.random.Generator) -> np.ndarray:
    """Lines of five words: three that follow from the first, one of two at random, the end of the line."""
    first, fourth = rng.integers(0, 2, (2, num))
    return np.stack([first, 2 + first, 4 + first, 6 + fourth, np.full(num, 8)], axis=1).ravel()


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TextTask]:
    rng = np.random.default_rng(0)
    texts = {split: sentences(num, rng) for split, num in (("train", 300), ("validation", 60), ("test", 60))}
    note = "Scores are 1 / perplexity."
    task = TextTask("lines", texts, tuple("abcdefghi"), length=LENGTH, num_streams=8, notes=(note,))
    options = {
        "data": "python:lines",
        "space": "darts-rnn",
        "out": str(tmp_path_factory.mktemp("text") / "run"),
        "width": 0.01,
        "space_arguments": {"num_nodes": 2, "dropout_outputs": 0.0, "dropout_cell_inputs": 0.0},
        "epochs": 2,
        "retrain_epochs": 5,
        "batch_size": 8,
        "population": 4,
        "generations": 1,
        "num_baselines": 1,
        "calibration_images": 250,
    }
    with runs.Run(make_config(options), given=Given(data=task)) as run:
        for stage in ("train", "search", "retrain"):
            run_stage(run, stage)
    return Path(options["out"]), task


def test_a_run_on_text_finds_and_trains_a_cell(trained: tuple[Path, TextTask]) -> None:
    record = RunRecord.load(trained[0])
    facts = record.stages["data"]["record"]
    assert facts["metric"]["name"] == "perplexity"
    # Of images it would be below 1.
    assert 5 < max(point.learning_rate for point in record.curves["supernet"]) <= 20
    winner = record.networks[0]
    assert winner.costs["params"] == 8 * 9 + 9 + (2 + 2) * 8 * 16
    assert winner.costs["macs"] == LENGTH * (8 * 9 + (2 + 2) * 8 * 16)
    # The mean probability of the right word: better than 1 / 9, at most that of a text with two free bits a line.
    assert 1 / 9 < winner.inherited_validation < winner.retrained_test < 2 ** (-2 / 5) + 0.05
    best = max(record.trials, key=lambda trial: trial.accuracy)
    assert best.architecture == winner.architecture
    assert best.accuracy == pytest.approx(math.exp(-best.loss), rel=1e-6)
    curve = record.curves["winner-scratch"]
    assert curve[-1].metric == pytest.approx(math.exp(-curve[-1].loss), rel=0.05)


def test_logits_are_trained_as_for_text(trained: tuple[Path, TextTask], tmp_path: Path) -> None:
    options = {
        "data": "python:lines",
        "space": "darts-rnn",
        "width": 0.01,
        "space_arguments": {"num_nodes": 2},
    }
    options |= {
        "method": "darts",
        "order": "second",
        "epochs": 400,
        "batch_size": 8,
        "out": str(tmp_path / "run"),
    }
    with runs.Run(make_config(options), given=Given(data=trained[1])) as run:
        job = RunJob(run)
        recipe, scale = (
            run.config.options.phases(job)[-1].before.recipe,
            19_500 / job.num_updates(job.recipe(400)),
        )
    # The look ahead is clipped as the updates of the weights are.
    assert (recipe.clip_norm, recipe.weight_decay) == (0.25, 1e-3)
    assert 1 < scale < 0.05 / 3e-3
    assert recipe.learning_rate == pytest.approx(3e-3 * scale)


@pytest.mark.slow
def test_the_exported_cell_computes_the_same(trained: tuple[Path, TextTask]) -> None:
    out, task = trained
    runs.export(out, data=task)
    runs.report(out, data=task)
    result = json.loads((out / "result.json").read_text())
    assert result["data"]["metric"] == "perplexity"
    assert result["parity"]["onnx_max_abs_error"] < 1e-5
    assert result["parity"]["pt2_max_abs_error"] < 1e-5
    assert result["cost"]["latency_ms"] > 0
    session = onnxruntime.InferenceSession(str(out / "model.onnx"))
    (output,) = session.run(None, {"input": np.zeros((3, LENGTH), np.int64)})
    assert output.shape == (3, LENGTH, 9)
