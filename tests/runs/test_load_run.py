"""A run directory as Python reads it back, and as it is continued by its path alone."""

from __future__ import annotations

import json
import shlex
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from rewinding import without_digests
from run_processes import OPTIONS, TINY

import onepath
from onepath import runs
from onepath.cli import main
from onepath.data import load_data
from onepath.errors import ConfigurationError, RunDirectoryError
from onepath.estimate import SupernetEstimator
from onepath.methods.job import Trained
from onepath.record import RunRecord
from onepath.runs import continued_config
from onepath.runs.run_job import RunJob

BLOCKED = "import sys; sys.modules['onepath'] = sys.modules['torch'] = None; exec(open('snippet.py').read())"


def unfinished(finished: Path, out: Path, *stages: str) -> Path:
    """A copy of a run in which these stages have not ended."""
    shutil.copytree(finished, out)
    connection = sqlite3.connect(out / "trials.sqlite")
    for stage in stages:
        connection.execute("DELETE FROM stages WHERE stage = ?", [stage])
    connection.commit()
    connection.close()
    without_digests(out)
    return out


def test_everything_is_read_back(finished: Path) -> None:
    run = onepath.load_run(finished, space=TINY)
    record = RunRecord.load(finished)
    assert run.path == finished
    assert run.result == json.loads((finished / "result.json").read_text())
    assert list(run.trials) == record.trials
    assert run.trials() == run.trials, "as a call it is the same"
    assert run.config == record.config
    assert str(run.architecture) == json.loads((finished / "architecture.json").read_text())["architecture"]
    assert run.preprocessing == load_data("digits").preprocessing


def test_a_run_shows_itself_with_its_verdict(finished: Path) -> None:
    run = onepath.load_run(finished, space=TINY)
    shown = str(run).splitlines()
    assert shown[0] == f"run        {finished}"
    assert sum(line.startswith("verdict") for line in shown) == len(run.result["verdict"]) >= 2
    metric, accuracy = run.result["metric"], run.result["accuracy"]
    assert {name: metric[name] for name in accuracy} == accuracy, "a share is its own score"
    assert (metric["name"], metric["higher_is_better"]) == ("accuracy", True)
    assert run.result["costs"]["macs"] == {"value": run.result["cost"]["macs"], "unit": "macs"}
    assert run.result["finish"] == run._stage("export", "the test")["start"]


def test_the_supernet_scores_as_in_the_search(finished: Path) -> None:
    run = onepath.load_run(finished, space=TINY)
    supernet = run.supernet()
    with runs.Run(None, finished, space=TINY) as opened:
        job = RunJob(opened)
        estimator = job.inherited(Trained(supernet))
    assert isinstance(estimator, SupernetEstimator)
    trial = run.trials[0]
    estimate = estimator.estimate(supernet.space.parse(trial.architecture))
    assert estimate.accuracy == pytest.approx(trial.accuracy, abs=1e-6)


def test_the_model_can_be_trained_further_and_calls_share_nothing(finished: Path) -> None:
    run = onepath.load_run(finished, space=TINY)
    model, other = run.model(), run.model()
    assert not model.training
    model.train()(torch.randn(4, 1, 8, 8)).sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert all(parameter.grad is None for parameter in other.parameters())


def test_the_snippet_of_a_run_reaches_its_accuracy_without_onepath(finished: Path, tmp_path: Path) -> None:
    result = json.loads((finished / "result.json").read_text())
    task = load_data("digits")
    shutil.copy(finished / "model.onnx", tmp_path)
    np.save(tmp_path / "inputs.npy", task.raw_inputs("test", 360).numpy().astype(np.uint8))
    (tmp_path / "snippet.py").write_text(result["preprocessing"]["snippet"])
    printed = subprocess.run(
        [sys.executable, "-I", "-c", BLOCKED], cwd=tmp_path, capture_output=True, text=True, check=True
    ).stdout
    names = np.array(json.loads(printed.replace("'", '"')))
    right = names == np.array(result["preprocessing"]["class_names"])[task.labels("test").numpy()]
    assert right.mean() == pytest.approx(result["accuracy"]["retrained_test"], abs=2 / 360)


def test_the_files_say_how_they_were_made(finished: Path) -> None:
    from safetensors import safe_open

    with safe_open(finished / "model.safetensors", "pt") as file:
        notes = file.metadata()
    assert notes["space"] == "tiny_space.py:build"
    assert notes["architecture"] == json.loads((finished / "architecture.json").read_text())["architecture"]
    assert "extract(architecture, inherit=" in notes["layers"]
    assert "load_run" in notes["layers"]
    for name in ("model.safetensors", "model.onnx", "model.pt2"):
        content = (finished / name).read_bytes()
        assert str(finished).encode() not in content
        assert str(Path(TINY).parent).encode() not in content


@pytest.mark.parametrize(
    ("lost", "ask", "stage"),
    [
        (["export"], lambda run: run.model(), "export"),
        (["export"], lambda run: run.preprocessing, "export"),
        (["search", "export"], lambda run: run.architecture, "search"),
        (["train", "search", "export"], lambda run: run.supernet(), "train"),
        (["data", "train", "search", "export"], lambda run: run.supernet(), "train"),
    ],
)
def test_an_unfinished_run_names_the_next_command(
    finished: Path, tmp_path: Path, lost: list[str], ask: object, stage: str
) -> None:
    out = unfinished(finished, tmp_path / "run", *lost)
    (out / "result.json").unlink()
    run = onepath.load_run(out, space=TINY)
    assert run.result == {}
    assert run.trials
    with pytest.raises(
        RunDirectoryError, match=rf"stage {stage} has ended, but .*`onepath run --out {out}"
    ) as caught:
        ask(run)  # type: ignore[operator]
    assert "\n" not in str(caught.value)


def test_a_run_whose_search_has_ended_gives_its_architecture(finished: Path, tmp_path: Path) -> None:
    out = unfinished(finished, tmp_path / "run", "retrain", "export", "report")
    run = onepath.load_run(out, space=TINY)
    assert run.architecture == onepath.load_run(finished, space=TINY).architecture
    assert run.supernet().space.size == 27


def test_no_run_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(RunDirectoryError, match=r"config\.yaml, but .* has none"):
        onepath.load_run(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_directory_does_not_choose_what_code_is_run(finished: Path) -> None:
    run = onepath.load_run(finished)
    assert run.result
    assert run.trials
    assert run.preprocessing is not None
    for ask in (run.model, run.supernet, lambda: run.architecture):
        with pytest.raises(ConfigurationError, match=r"own code must be named by whoever runs it") as caught:
            ask()
        assert f"--space {shlex.quote(TINY)} (in Python space=...)" in str(caught.value)


def test_another_space_than_the_runs_is_refused(finished: Path, tmp_path: Path) -> None:
    own = tmp_path / "tiny_space.py"
    own.write_text(Path(TINY.rpartition(":")[0]).read_text())
    assert onepath.load_run(finished, space=f"{own}:build").model() is not None
    own.write_text(own.read_text().replace('"k{kernel}"', '"{kernel}"'))
    with pytest.raises(ConfigurationError, match=r"space must be the one that the run began with"):
        onepath.load_run(finished, space=f"{own}:build").model()


def test_what_run_returns_is_the_same_class(finished: Path) -> None:
    again = runs.run("digits", out=finished, **OPTIONS)
    assert type(again) is type(onepath.load_run(finished))
    assert sum(p.numel() for p in again.model().parameters()) == again.result["cost"]["params"]


def test_the_path_continues_a_run(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise AssertionError("data were loaded")

    monkeypatch.setattr("onepath.data.load_data", fail)
    result = json.loads((finished / "result.json").read_text())
    assert runs.run(out=finished, space=TINY).result == result
    assert runs.run(out=str(finished), space=TINY, seed=0, max_macs="25k").result == result


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seed": 3}, "seed: 0 -> 3"),
        ({"max_macs": "26k"}, "max_macs: 25000 -> 26000"),
        ({"max_macs": None}, "max_macs: 25000 -> none"),
        ({"method": "zen"}, "method: spos -> zen"),
        ({"method": "fairnas"}, "method: spos -> fairnas"),
        (
            {"max_latency_ms": 2, "device": "torch-cpu"},
            "max_latency_ms: none -> 2; device: none -> torch-cpu",
        ),
        ({"data": "cifar10"}, "data: digits -> cifar10"),
        ({"space": "shufflenet"}, "space: .*tiny_space.py:build -> shufflenet"),
    ],
)
def test_options_given_besides_must_be_those_of_the_run(
    finished: Path, options: dict[str, object], message: str
) -> None:
    with pytest.raises(RunDirectoryError, match=message) as caught:
        runs.run(**{"space": TINY, **options}, out=finished)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    assert "--fresh" in str(caught.value)


def test_a_wrong_option_is_said_to_be_wrong(finished: Path) -> None:
    with pytest.raises(ConfigurationError, match="epochs"):
        continued_config({"out": str(finished), "space": TINY, "epochs": -1})
    with pytest.raises(ConfigurationError, match="did you mean epochs"):
        continued_config({"out": str(finished), "space": TINY, "epoch": 3})


def test_code_is_given_again_to_continue(finished: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"own code must be named .*--space"):
        runs.run(out=finished)


def test_the_command_line_continues_by_the_path(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "--out", str(finished)]) == 2
    assert "own code must be named" in capsys.readouterr().err
    assert main(["run", "--out", str(finished), "--space", TINY]) == 0
    shown = capsys.readouterr().out
    assert f"onepath.load_run({str(finished)!r}" in shown
    assert "model.pt2 cannot train()" in shown
    assert repr(str(finished / "model.onnx")) in shown
    config = tmp_path / "options.yaml"
    config.write_text(f"out: {finished}\nspace: {TINY}\nseed: 1\n")
    assert main(["run", "--config", str(config)]) == 2
    assert "own code must be named" in capsys.readouterr().err
    assert main(["run", "--config", str(config), "--space", TINY]) == 2
    assert "seed: 0 -> 1" in capsys.readouterr().err


def test_defaults_begin_a_run_where_there_is_none(tmp_path: Path) -> None:
    config = continued_config({"out": str(tmp_path / "new"), "seed": 4})
    assert (config.data, config.space, config.seed) == ("digits", "nasbench-macro", 4)
