"""The run directory: lock, configuration, clearing, errors of the file system; and its readers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from onepath.errors import ConfigurationError, RunDirectoryError
from onepath.record import CurvePoint, NetworkRow, RunDirectory, RunRecord, StageRow, TrialRow
from onepath.record.directory import read_config

HOLD = """
import sys, time
from pathlib import Path
from onepath.record import RunDirectory
with RunDirectory(Path(sys.argv[1]), create=True) as directory:
    print("held", flush=True)
    time.sleep(60)
"""


def test_configuration_round_trip(tmp_path: Path) -> None:
    config = {"data": "digits", "max_macs": 2_000_000, "max_params": None, "rate": 1e-5, "name": "ä: b"}
    with RunDirectory(tmp_path / "a" / "b", create=True) as directory:
        assert directory.read_config() is None
        directory.write_config(config)
        assert directory.read_config() == config
    with RunDirectory(tmp_path / "a" / "b") as directory:
        assert directory.read_config() == config


def test_directory_without_a_run(tmp_path: Path) -> None:
    with pytest.raises(RunDirectoryError, match="onepath run --out"):
        RunDirectory(tmp_path)
    assert not list(tmp_path.iterdir())
    with pytest.raises(RunDirectoryError, match="onepath run --out"):
        RunRecord.load(tmp_path)


def test_one_user_at_a_time_in_this_process(tmp_path: Path) -> None:
    with RunDirectory(tmp_path, create=True):
        with pytest.raises(RunDirectoryError, match=f"in use by process {os.getpid()}") as caught:
            RunDirectory(tmp_path, create=True)
        assert "\n" not in str(caught.value)
        with pytest.raises(RunDirectoryError, match="in use"):
            RunDirectory(tmp_path, create=True)
    with RunDirectory(tmp_path, create=True):
        pass


def test_one_process_at_a_time_and_a_kill_frees_it(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(RunDirectoryError, match=f"in use by process {process.pid}"):
            RunDirectory(tmp_path, create=True)
        os.kill(process.pid, signal.SIGKILL)
    with RunDirectory(tmp_path, create=True):
        pass


def test_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(RunDirectoryError, match="must be writable") as caught:
        RunDirectory(tmp_path / "file" / "run", create=True)
    assert "\n" not in str(caught.value)
    with pytest.raises(RunDirectoryError, match="must be writable"):
        RunDirectory(Path("/proc/onepath-run"), create=True)
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("name", ["model.onnx", "result.json", "checkpoints/a.safetensors"])
def test_files_of_others_are_not_overwritten(tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("mine")
    for _ in range(2):  # the refusal has freed the lock
        with pytest.raises(RunDirectoryError, match=r"holds .* and no config\.yaml"):
            RunDirectory(tmp_path, create=True)
    assert (tmp_path / name).read_text() == "mine"


def test_clear_deletes_ours_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "data.safetensors").write_text("mine")
    with RunDirectory(tmp_path, create=True) as directory:
        directory.write_config({"seed": 0})
        directory.store.put_stage(StageRow("train"))
        directory.checkpoint("supernet").save({"update": 1})
        directory.weights_path("supernet").write_bytes(b"")
        directory.write_json("result.json", {})
        (tmp_path / "events.out.tfevents.1.host").write_bytes(b"")
        directory.clear()
        left = sorted(str(file.relative_to(tmp_path)) for file in tmp_path.rglob("*"))
        assert left == [".lock", "checkpoints", "data.safetensors", "notes.txt"]
        assert directory.store.stages() == {}


def test_what_starting_over_would_lose(tmp_path: Path) -> None:
    def fill(name: str, directory: RunDirectory) -> None:
        if name == "curve":
            directory.store.add_point(CurvePoint("supernet", 0, 1, 0.1, 2.0, 0.1, 0.1, 1.0))
        elif name == "trial":
            directory.store.add_trial(TrialRow(0, "0", 0, "random", 0.5, 1.0, {"macs": 1}, 1.0))
        elif name == "network":
            directory.store.put_network(
                NetworkRow("winner", "scratch", "0", 1, {"macs": 1}, 0.5, 0.5, 0.5, 1.0)
            )
        elif name.endswith("/"):
            (directory.path / name).mkdir()
        else:
            (directory.path / name).write_bytes(b"")

    rows, files = (
        ("curve", "trial", "network"),
        ("checkpoints/supernet.training.pt", "checkpoints/a.safetensors"),
    )
    files += (
        "result.json",
        "estimates.sqlite",
        "latency-table.json",
        "latency-table.json.part",
        "limit-2ms/",
    )
    for name in (*rows, *files):
        with RunDirectory(tmp_path / name.strip("/").replace("/", "-"), create=True) as directory:
            directory.begin({"seed": 0}, {"name": "data"})
            directory.store.put_stage(StageRow("train", 3.0))
            for other in ("report.html", "events.out.tfevents.1.host", "notes.txt", ".workers.lock"):
                (directory.path / other).write_bytes(b"")
            assert not directory.has_results()
            fill(name, directory)
            assert directory.has_results(), name
            assert directory.has_results(["a.safetensors", "latency-table.json"]) == (
                name not in ("checkpoints/a.safetensors", "latency-table.json")
            )


def test_leftovers_of_a_killed_write_are_removed(tmp_path: Path) -> None:
    with RunDirectory(tmp_path, create=True) as directory:
        directory.write_config({})
    leftovers = [tmp_path / ".result.json.ab.onepath-tmp", tmp_path / "checkpoints" / ".x.cd.onepath-tmp"]
    for file in leftovers:
        file.write_bytes(b"half")
    with RunDirectory(tmp_path):
        assert not any(file.exists() for file in leftovers)


@pytest.mark.parametrize(
    ("name", "content"),
    [("config.yaml", "a: [1"), ("config.yaml", "7"), ("result.json", "{"), ("result.json", "[]")],
)
def test_damaged_files_are_one_line(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / "config.yaml").write_text("seed: 0\n")
    (tmp_path / name).write_text(content)
    with pytest.raises(RunDirectoryError, match="damaged") as caught:
        RunRecord.load(tmp_path)
    assert "\n" not in str(caught.value)


def test_record_of_a_run(tmp_path: Path) -> None:
    trial = TrialRow(0, "1", 0, "random", 0.5, 0.7, {"macs": 10, "params": 20}, 0.1)
    network = NetworkRow("winner", "scratch", "1", 0, {"macs": 10, "params": 20}, 0.5, 0.6, 0.7, 1.0)
    point = CurvePoint("supernet", 0, 5, 1.0, 2.0, 0.3, 0.1, 4.0)
    with RunDirectory(tmp_path, create=True) as directory:
        directory.write_config({"seed": 0})
        assert RunRecord.load(tmp_path) == RunRecord(tmp_path, {"seed": 0})
        directory.store.add_trial(trial)
        directory.store.put_network(network)
        directory.store.add_point(replace(point, point=9))
        directory.store.put_stage(StageRow("search", 2.0, True, {"limit": {"max_macs": 1}}))
        directory.write_json("result.json", {"seed": 0})
        record = RunRecord.load(str(tmp_path))  # while the run is at work
    assert record.path == tmp_path
    assert record.result == {"seed": 0}
    assert (record.trials, record.networks, record.curves) == ([trial], [network], {"supernet": [point]})
    assert record.stages == {"search": {"seconds": 2.0, "done": True, "record": {"limit": {"max_macs": 1}}}}


def _fill(directory: RunDirectory) -> None:
    for number in range(10_000):
        directory.store.add_trial(
            TrialRow(number, "x" * 5000 + str(number), 0, "random", 1, 1, {"macs": 1}, 0)
        )


def test_a_full_file_system(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(small)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("a small file system cannot be mounted here")
    try:
        with RunDirectory(small / "run", create=True) as directory:
            directory.write_config({"seed": 0})
            directory.write_json("result.json", {"whole": True})
            directory.store.put_stage(StageRow("train", 1.0, True))
            with pytest.raises(RunDirectoryError, match="no space left"):
                directory.checkpoint("supernet").save({"x": torch.zeros(250_000)})
            with pytest.raises(RunDirectoryError, match="nothing already written is lost"):
                _fill(directory)
        record = RunRecord.load(small / "run")
        assert record.result == {"whole": True}
        assert record.stages["train"]["done"]
        assert [trial.number for trial in record.trials] == list(range(len(record.trials)))
        assert len(record.trials) > 3
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_a_directory_in_which_no_run_began_is_removed(tmp_path: Path) -> None:
    with RunDirectory(tmp_path / "run", create=True) as directory:
        directory.discard_if_unused()
    assert not (tmp_path / "run").exists()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "notes.txt").write_text("mine")
    with RunDirectory(tmp_path / "run", create=True) as directory:
        directory.discard_if_unused()
    assert [file.name for file in (tmp_path / "run").iterdir()] == ["notes.txt"]
    with RunDirectory(tmp_path / "run", create=True) as directory:
        directory.write_config({})
        directory.discard_if_unused()
        assert directory.read_config() == {}


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [1, 2]\nb: *a\n",
        "a: &a {x: 1}\nb: {<<: *a}\n",
        "a: " + "[" * 30 + "]" * 30,
        "a: 1\na: 2\n",
        "a: !!python/name:os.system\n",
        "a: !own 3\n",
        "# " + "x" * (1 << 20) + "\na: 1\n",
    ],
)
def test_a_configuration_that_could_grow_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(RunDirectoryError, match=r"config\.yaml must be as onepath wrote it") as caught:
        read_config(tmp_path)
    assert "\n" not in str(caught.value)


def test_what_is_written_has_no_aliases_and_can_be_read(tmp_path: Path) -> None:
    twice = [1, 2]
    with RunDirectory(tmp_path / "run", create=True) as directory:
        directory.write_config({"b": {"x": twice, "y": twice}, "a": "ä"})
        assert directory.read_config() == {"b": {"x": [1, 2], "y": [1, 2]}, "a": "ä"}
        with pytest.raises(ConfigurationError, match="must take at most 1,048,576 bytes"):
            directory.write_config({"space_arguments": ["x" * 4000] * 300})
