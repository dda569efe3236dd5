"""A whole run: what it leaves behind, and how it is continued, refused and read."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rewinding import without_digests
from run_processes import OPTIONS, TINY, Runner, without_times
from scipy import stats

import onepath
from onepath import runs
from onepath.data import load_data
from onepath.errors import ConfigurationError, DataError, InfeasibleError, RunDirectoryError
from onepath.record import NetworkRow, RunRecord
from onepath.runs import load_run
from onepath.runs.run_job import RunJob
from onepath.spaces import build

KEYS = {
    "onepath": None,
    "space": None,
    "method": None,
    "seed": None,
    "data": {"name", "train", "validation", "test", "classes", "input_shape", "metric"},
    "constraints": {
        "max_macs",
        "max_params",
        "max_layers",
        "max_memory",
        "max_size",
        "max_latency_ms",
        "device",
    },
    "space_size": None,
    "architecture": {"blocks.0", "blocks.1", "blocks.2"},
    "cost": {"macs", "params", "latency_ms", "latency_device", "latency_threads"}
    | {"latency_iqr_ms", "latency_predicted_ms"},
    "accuracy": {"inherited_validation", "retrained_validation", "retrained_test"},
    "random_baseline": {"num", "retrained_test"},
    "ranking": {"num", "kendall_tau", "spearman"},
    "search": {"evaluated", "seconds"},
    "seconds": {"train", "search", "retrain", "total"},
    "preprocessing": {
        "kind",
        "input",
        "summary",
        "values",
        "normalisation",
        "formula",
        "full_scale",
        "mean",
        "std",
    }
    | {
        "raw_dtype",
        "raw_range",
        "channels",
        "resize",
        "fit",
        "background",
        "files",
        "snippet",
        "class_names",
    },
    "parity": {"onnx_max_abs_error", "pt2_max_abs_error"},
    "files": {"onnx", "exported_program", "weights", "report"},
    "metric": {"name", "higher_is_better", "is_share"}
    | {"inherited_validation", "retrained_validation", "retrained_test"},
    "costs": {"macs", "params"},
    "finish": None,
    "teacher": None,
    "verdict": None,
    "winners": None,
    "front": {"hypervolume", "reference", "architectures"},
    "score": None,
    "finals": None,
}


def test_every_file_and_every_key(finished: Path) -> None:
    result = json.loads((finished / "result.json").read_text())
    assert list(result) == list(KEYS)
    for key, inner in KEYS.items():
        assert inner is None or set(result[key]) == inner
    expected = {"config.yaml", "trials.sqlite", "checkpoints", "result.json", "architecture.json"}
    expected |= {"model.onnx", "model.pt2", "model.safetensors", "report.html"}
    names = {file.name for file in finished.iterdir()}
    assert expected <= names
    assert {name for name in names - expected if not name.startswith("events.out")} == {".lock"}
    assert {file.suffix for file in (finished / "checkpoints").iterdir()} == {".safetensors"}


def test_the_result_says_what_was_found(finished: Path) -> None:
    result = json.loads((finished / "result.json").read_text())
    record = RunRecord.load(finished)
    assert (result["onepath"], result["space_size"]) == (onepath.__version__, 27)
    assert result["data"]["name"] == "digits"
    assert (result["data"]["train"], result["data"]["validation"], result["data"]["test"]) == (1150, 287, 360)
    best = max(record.trials, key=lambda trial: (trial.accuracy, -(trial.loss or 0), -trial.number))
    written = json.loads((finished / "architecture.json").read_text())
    assert written["architecture"] == best.architecture
    assert written["options"] == result["architecture"]
    assert result["accuracy"]["inherited_validation"] == best.accuracy
    assert (result["cost"]["macs"], result["cost"]["params"]) == (best.costs["macs"], best.costs["params"])
    assert result["cost"]["latency_device"] == "onnxruntime-cpu"
    measured = record.stages["export"]["record"]["latency"]
    assert measured["median_ms"] == result["cost"]["latency_ms"] > 0
    assert measured["iqr_ms"] == result["cost"]["latency_iqr_ms"]
    assert result["cost"]["latency_predicted_ms"] is None
    (winner,) = result["winners"]
    assert (winner["limits"], winner["path"]) == ({"max_macs": 25_000}, ".")
    assert winner["cost"] == {"macs": best.costs["macs"], "params": best.costs["params"]}
    assert winner["architecture"] == result["architecture"]
    assert measured["settings"]["threads"] == measured["threads"]
    assert measured["is_noisy"] in (True, False)
    assert result["search"]["evaluated"] == len(record.trials) <= 18
    assert all(trial.costs["macs"] <= 25_000 for trial in record.trials)
    assert all(row.costs["macs"] <= 25_000 for row in record.networks)
    assert [trial.number for trial in record.trials] == list(range(len(record.trials)))
    seconds = result["seconds"]
    assert seconds["total"] > seconds["train"] + seconds["search"] + seconds["retrain"] > 0


def test_winner_and_baseline(finished: Path) -> None:
    record = RunRecord.load(finished)
    roles = [(row.role, row.start) for row in record.networks]
    assert roles == [
        ("winner", "scratch"),
        ("winner", "inherited"),
        ("baseline-0", "scratch"),
        ("baseline-1", "scratch"),
    ]
    architectures = [row.architecture for row in record.networks]
    assert architectures[0] == architectures[1]
    assert len(set(architectures)) == 3
    assert record.networks[0].seed == record.networks[1].seed
    assert len({row.seed for row in record.networks}) == 3
    assert len({len(record.curves[f"{row.role}-{row.start}"]) for row in record.networks}) == 1
    for row in record.networks:
        assert None not in (row.inherited_validation, row.retrained_validation, row.retrained_test)
    exported = record.stages["export"]["record"]["start"]
    handed_over = next(row for row in record.networks if (row.role, row.start) == ("winner", exported))
    assert handed_over.retrained_validation == max(row.retrained_validation for row in record.networks[:2])
    result = record.result
    assert result["accuracy"]["retrained_test"] == handed_over.retrained_test
    assert result["random_baseline"] == {
        "num": 2,
        "retrained_test": [row.retrained_test for row in record.networks[2:]],
    }
    alone = [row for row in record.networks if row.start == "scratch"]
    pairs = [(row.inherited_validation, row.retrained_test) for row in alone]
    if result["ranking"]["kendall_tau"] is not None:
        assert result["ranking"]["kendall_tau"] == pytest.approx(
            stats.kendalltau(*zip(*pairs, strict=True))[0]
        )
    assert result["ranking"]["num"] == 3


def test_inherited_accuracies_are_the_estimators(finished: Path) -> None:
    """The stored figures come out again from the supernet's weights on the disk."""
    record = RunRecord.load(finished)
    with runs.Run(None, finished, space=TINY) as run:
        job = RunJob(run)
        estimator = job.inherited(job.trained(run.config.options))
        for row in record.networks[1:3]:
            estimate = estimator.estimate(run.blank.space.parse(row.architecture))
            assert estimate.accuracy == pytest.approx(row.inherited_validation, abs=1e-6)


def test_the_model_comes_back(finished: Path) -> None:
    result = load_run(finished, space=OPTIONS["space"])
    model = result.model()
    assert result.architecture.options == result.result["architecture"]
    task = load_data("digits")
    inputs, targets = next(iter(task.batches("test", 360)))
    with torch.no_grad():
        outputs = model(inputs)
    accuracy = (outputs.argmax(1) == targets).float().mean().item()
    assert accuracy == pytest.approx(result.result["accuracy"]["retrained_test"], abs=1e-6)
    program = torch.export.load(finished / "model.pt2").module()
    assert torch.allclose(program(task.raw_inputs("test", 360)), outputs, atol=1e-5)
    assert max(result.result["parity"].values()) < 1e-4


def test_a_finished_run_is_printed_again_without_any_work(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {file: file.stat().st_mtime_ns for file in finished.rglob("*") if file.name != ".lock"}

    def fail(*_: object, **__: object) -> None:
        raise AssertionError("data were loaded")

    monkeypatch.setattr("onepath.data.load_data", fail)
    again = runs.run("digits", out=finished, **OPTIONS)
    assert again.result == json.loads((finished / "result.json").read_text())
    assert before == {file: file.stat().st_mtime_ns for file in finished.rglob("*") if file.name != ".lock"}


def test_defaults_written_out_are_no_difference(finished: Path) -> None:
    explicit = {
        "batch_size": 230,
        "seed": 0,
        "calibration_images": 5000,
        "validation_images": 287,
    }
    runs.run("digits", out=finished, **{**OPTIONS, "max_macs": 25_000, **explicit})


def test_a_run_goes_on_with_the_workers_it_began_with(finished: Path, tmp_path: Path) -> None:
    """Whatever the cores of this machine; a run from before there were workers had one."""
    runs.run("digits", out=finished, **{**OPTIONS, "workers": None})
    out = tmp_path / "run"
    shutil.copytree(finished, out)
    without_digests(out)
    config = (out / "config.yaml").read_text()
    (out / "config.yaml").write_text(config.replace("workers: 1\n", "workers: 7\n"))
    runs.run("digits", out=out, **{**OPTIONS, "workers": None})
    with pytest.raises(RunDirectoryError, match="workers: 7 -> 1"):
        runs.run("digits", out=out, **OPTIONS)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"max_macs": "26k"}, r"max_macs: 25000 -> 26000"),
        ({"max_macs": None, "seed": 3}, r"seed: 0 -> 3; max_macs: 25000 -> none"),
        ({"space_arguments": {"channels": 4}}, r"space_arguments: \{\} -> \{'channels': 4\}"),
    ],
)
def test_another_configuration_is_refused(finished: Path, changed: dict[str, Any], message: str) -> None:
    with pytest.raises(RunDirectoryError, match=message) as caught:
        runs.run("digits", out=finished, **{**OPTIONS, **changed})
    assert "--fresh" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_other_data_are_refused(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    images, labels = rng.random((200, 8, 8), dtype=np.float32), np.arange(200) % 4
    options = {**OPTIONS, "max_macs": None}
    with pytest.raises(RuntimeError, match="stop"):
        runs.run((images, labels), out=tmp_path / "run", progress=_Stopping(), **options)
    with pytest.raises(RunDirectoryError, match="arrays has changed"):
        runs.run((images * 0.5, labels), out=tmp_path / "run", **options)
    with pytest.raises(ConfigurationError, match=r"call onepath\.run with the same data"):
        runs.train(tmp_path / "run", space=TINY)
    with pytest.raises(RuntimeError, match="stop"):
        runs.train(tmp_path / "run", space=TINY, data=(images, labels), progress=_Stopping())


class _Stopping(runs.SilentProgress):
    def begin(self, title: str, total: int, done: int = 0) -> None:
        if title.startswith("training"):
            raise RuntimeError("stop")


def test_fresh_starts_over(finished: Path, runner: Runner, tmp_path: Path) -> None:
    shutil.copytree(finished, tmp_path / "run")
    (tmp_path / "run" / "notes.txt").write_text("mine")
    options = {"num_baselines": 0, "retrain_from": "inherited", "generations": 0}
    assert runner(tmp_path / "run", fresh=True, **options) == 0
    record = RunRecord.load(tmp_path / "run")
    assert record.config["generations"] == 0
    assert len(record.trials) == 6
    assert [(row.role, row.start) for row in record.networks] == [("winner", "inherited")]
    assert record.result["ranking"] == {"num": 0, "kendall_tau": None, "spearman": None}
    assert record.result["random_baseline"] == {"num": 0, "retrained_test": []}
    assert (tmp_path / "run" / "notes.txt").read_text() == "mine"
    assert not (tmp_path / "run" / "checkpoints" / "winner-scratch.safetensors").exists()
    model = load_run(tmp_path / "run", space=OPTIONS["space"]).model()
    assert sum(p.numel() for p in model.parameters()) == record.result["cost"]["params"]


@pytest.mark.parametrize(
    ("lost", "rewritten"),
    [
        ("report.html", {"report.html", "result.json"}),
        ("model.safetensors", {"model.safetensors", "model.onnx"}),
    ],
)
def test_lost_files_are_made_again(finished: Path, tmp_path: Path, lost: str, rewritten: set[str]) -> None:
    out = tmp_path / "run"
    shutil.copytree(finished, out)
    (out / lost).unlink()
    weights = (out / "checkpoints" / "supernet.safetensors").stat().st_mtime_ns
    runs.run("digits", out=out, **OPTIONS)
    for name in rewritten:
        assert (out / name).stat().st_mtime_ns > (finished / name).stat().st_mtime_ns
    assert (out / "checkpoints" / "supernet.safetensors").stat().st_mtime_ns == weights
    assert without_times(out)["result"] == without_times(finished)["result"]


def test_trials_that_do_not_replay_are_refused(finished: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    shutil.copytree(finished, out)
    connection = sqlite3.connect(out / "trials.sqlite")
    connection.execute("DELETE FROM stages WHERE stage NOT IN ('data', 'train')")
    connection.execute("UPDATE trials SET architecture = 'x' WHERE number = 3")
    connection.commit()
    connection.close()
    without_digests(out)
    with pytest.raises(RunDirectoryError, match=r"trial 3 in .* is not the one"):
        runs.search(out, space=TINY)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"max_macs": 10}, InfeasibleError, "max_macs"),
        ({"max_params": 100, "max_macs": "25k"}, InfeasibleError, "max_"),
        ({"space": "no-such-space"}, ConfigurationError, "no-such-space"),
        ({"space_arguments": {"depth": 3}}, ConfigurationError, "depth"),
        ({"train_on": "cuda"}, ConfigurationError, "needs a CUDA device"),
    ],
)
def test_mistakes_end_a_run_before_it_begins(
    tmp_path: Path, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    if options.get("train_on") == "cuda" and torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    with pytest.raises(error, match=message) as caught:
        runs.run("digits", out=tmp_path / "run", **{**OPTIONS, **options})
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()
    with pytest.raises(DataError):
        runs.run("no-such-data", out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_stages_one_by_one(runner: Runner, finished: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert runner(out, ("training", 4)) == -9
    for stage in ("search", "retrain", "export"):
        with pytest.raises(
            RunDirectoryError, match=rf"{stage} needs a finished train.*`onepath train --out {out}`"
        ):
            getattr(runs, stage)(out, space=TINY)
    assert not runs.report(out).done
    assert "</html>" in (out / "report.html").read_text()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        runs.train(out, space=TINY)
        with pytest.raises(RunDirectoryError, match=r"export needs a finished search.*`onepath search --out"):
            runs.export(out, space=TINY)
        for stage in ("search", "retrain", "export", "report"):
            getattr(runs, stage)(out, space=TINY)
    finally:
        torch.set_num_threads(threads)
    assert without_times(out) == without_times(finished)
    runs.train(out, space=TINY)


def test_the_constrained_sampler_keeps_the_limit(tmp_path: Path) -> None:
    from onepath.randomness import generator

    config = runs.make_config({**OPTIONS, "sampler": "constrained", "max_macs": "18k", "out": str(tmp_path)})
    with runs.Run(config) as run:
        sampler = run.config.options.phases(RunJob(run))[-1].sampler
        for update in range(30):
            for path in sampler.paths(update, generator(0, "x", update)):
                assert run.costs(path)["macs"] <= 18_000
                assert run.costs(path) == {
                    "macs": onepath.cost.macs(run.blank, path, (1, 8, 8)),
                    "params": onepath.cost.params(run.blank, path),
                }


def test_a_full_disk_loses_nothing_and_the_run_goes_on(
    runner: Runner, finished: Path, tmp_path: Path
) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=120k", "tmpfs", str(small)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a small file system cannot be mounted here")
    try:
        assert runner(small / "run") == 1
        record = RunRecord.load(small / "run")
        assert record.curves
        assert record.result == {}
        subprocess.run(["mount", "-o", "remount,size=64m", str(small)], check=True)
        assert runner(small / "run") == 0
        assert without_times(small / "run") == without_times(finished)
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_ranking_of_ties_and_of_few_is_undefined() -> None:
    from onepath.verdict import ranking

    def network(role: str, inherited: float | None, test: float, start: str = "scratch") -> NetworkRow:
        return NetworkRow(role, start, role, 0, {"macs": 1, "params": 1}, inherited, 0.5, test, 1.0)

    rising = [network("winner", 0.9, 0.8), network("baseline-0", 0.5, 0.6), network("baseline-1", 0.7, 0.7)]
    assert ranking(rising).document() == {
        "num": 3,
        "kendall_tau": pytest.approx(1.0),
        "spearman": pytest.approx(1.0),
    }
    undefined = {"kendall_tau": None, "spearman": None}
    assert ranking(rising[:1]).document() == {"num": 1, **undefined}
    assert ranking([network("winner", 0.9, 0.8), network("baseline-0", 0.9, 0.7)]).document() == {
        "num": 2,
        **undefined,
    }
    assert ranking([*rising[:1], network("winner", 0.9, 0.1, "inherited")]).num == 1


def test_ones_own_supernet_module_is_the_same(finished: Path) -> None:
    """The catalogue builds the same weights from the run's seed at every call, so that a rerun starts alike."""
    with runs.Run(None, finished, space=TINY) as run:
        first, second = run.build_supernet(), run.build_supernet()
    for (name, one), other in zip(first.state_dict().items(), second.state_dict().values(), strict=True):
        assert torch.equal(one, other), name
    assert build(OPTIONS["space"], 10, in_channels=1).space.size == 27


def test_a_mistake_with_fresh_does_not_cost_the_old_run(finished: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    shutil.copytree(finished, out)
    with pytest.raises(InfeasibleError):
        runs.run("digits", out=out, fresh=True, **{**OPTIONS, "max_macs": 10})
    assert runs.run("digits", out=out, **OPTIONS).result == json.loads((finished / "result.json").read_text())


@pytest.mark.parametrize(
    ("old", "new", "stage"),
    [('"k{kernel}"', '"{kernel}"', "export"), ("channels: int = 8", "channels: int = 4", "retrain")],
)
def test_a_space_that_has_changed_is_refused(
    finished: Path, tmp_path: Path, old: str, new: str, stage: str
) -> None:
    out, own = tmp_path / "run", tmp_path / "own.py"
    shutil.copytree(finished, out)
    own.write_text(Path(OPTIONS["space"].rpartition(":")[0]).read_text().replace(old, new))
    config = (out / "config.yaml").read_text()
    (out / "config.yaml").write_text(config.replace(OPTIONS["space"], f"{own}:build"))
    connection = sqlite3.connect(out / "trials.sqlite")
    connection.execute("DELETE FROM stages WHERE stage = ?", [stage])
    if stage == "retrain":
        connection.execute("DELETE FROM networks")
    connection.commit()
    connection.close()
    without_digests(out)
    with pytest.raises(RunDirectoryError, match=r"own\.py:build has changed since"):
        getattr(runs, stage)(out, space=f"{own}:build")


def test_a_space_with_sizes_is_trained_from_the_largest_down(tmp_path: Path) -> None:
    from onepath.train import UniformSampler
    from onepath.train.widening import OpenSizes

    config = runs.make_config(
        {
            **OPTIONS,
            "max_macs": None,
            "space": "shufflenet-channels",
            "width": 0.1,
            "out": str(tmp_path / "a"),
        }
    )
    with runs.Run(config) as run:
        phases = run.config.options.phases(RunJob(run))
        assert [phase.name for phase in phases[:2]] == ["one path", "sizes 1 of 5"]
        assert all(isinstance(phase.sampler, OpenSizes) for phase in phases[1:])
        assert phases[-1].until == 1.0
    with runs.Run(runs.make_config({**OPTIONS, "out": str(tmp_path / "b")})) as run:
        assert isinstance(run.config.options.phases(RunJob(run))[-1].sampler, UniformSampler)
