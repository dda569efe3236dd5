"""Code of the user's own in runs: named by whoever runs it, not by a file; one line where it fails or has changed."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

import pytest
import yaml
from run_processes import TINY

from onepath import runs
from onepath.cli import main
from onepath.errors import ConfigurationError, RunDirectoryError
from onepath.record import RunDirectory, RunRecord, StageRow
from onepath.runs import Result, Run, make_config
from onepath.runs.code import check_sources, confirmed, sources

STAGES = ("train", "search", "retrain", "export")
WITNESS = "\nfrom pathlib import Path as _Path\n_Path(__file__).with_name('witness').touch()\n"


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A file of a space that leaves a witness where it is run."""
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "mine.py").write_text(Path(TINY.rpartition(":")[0]).read_text() + WITNESS)
    return folder / "mine.py"


@pytest.fixture
def begun(own: Path, tmp_path: Path) -> Path:
    """A run that has begun and has done nothing; its witness is removed."""
    with Run(make_config({"space": f"{own}:build", "out": str(tmp_path / "run"), "epochs": 1, "workers": 1})):
        pass
    own.with_name("witness").unlink()
    return tmp_path / "run"


@pytest.mark.parametrize("stage", STAGES)
def test_a_directory_chooses_no_code(
    begun: Path, own: Path, stage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ConfigurationError, match="own code must be named by whoever runs it"):
        getattr(runs, stage)(begun)
    assert main([stage, "--out", str(begun)]) == 2
    said = capsys.readouterr()
    assert (said.out, said.err.count("\n")) == ("", 1)
    assert f"add --space {own}:build " in said.err
    assert not own.with_name("witness").exists()


def test_neither_does_a_result_or_a_rank(begun: Path, own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with RunDirectory(begun) as directory:
        directory.store.put_stage(StageRow("export", 1.0, True, {"start": "scratch"}))
    with pytest.raises(ConfigurationError, match="add --space"):
        Result(begun, {}).model()
    assert main(["rank", str(begun), "--standalone", "2"]) == 2
    assert "add --space" in capsys.readouterr().err
    assert not own.with_name("witness").exists()


def test_a_file_of_options_chooses_no_code(
    tmp_path: Path, own: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for content in ({"space": f"{own}:build"}, {"device": f"exec:touch {own.with_name('witness')}"}):
        (tmp_path / "options.yaml").write_text(yaml.safe_dump(content))
        assert main(["run", "--config", str(tmp_path / "options.yaml"), "--out", str(tmp_path / "run")]) == 2
        assert f"add --{next(iter(content))} " in capsys.readouterr().err
        assert not own.with_name("witness").exists()


@pytest.mark.parametrize("device", ["exec:touch witness", "mine.py:Device"])
def test_neither_is_a_device_chosen(begun: Path, device: str) -> None:
    """In a directory that was made to deceive: everything in it fits together."""
    with RunDirectory(begun) as directory:
        config = directory.read_config()
        assert config is not None
        directory.write_config({**config, "device": device, "space": "shufflenet"})
    with pytest.raises(ConfigurationError, match="names the device; if it is yours, add --device"):
        runs.search(begun)
    with pytest.raises(ConfigurationError, match="device must be the one that the run began with"):
        runs.search(begun, device="torch-cpu")


def test_the_same_code_by_other_paths_is_confirmed(
    begun: Path, own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (own.parent.parent / "link").symlink_to(own.parent, target_is_directory=True)
    monkeypatch.chdir(own.parent)
    for space in (f"{own}:build", "mine.py:build", "../own/mine.py:build", "../link/mine.py:build"):
        with pytest.raises(RunDirectoryError, match="search needs a finished train"):
            runs.search(begun, space=space)
    for space in ("mine.py:other", "other.py:build", TINY, "shufflenet"):
        with pytest.raises(ConfigurationError, match="space must be the one that the run began with"):
            runs.search(begun, space=space)


def test_a_project_that_has_moved_goes_on(begun: Path, own: Path, tmp_path: Path) -> None:
    (tmp_path / "project").mkdir()
    moved, out = tmp_path / "project" / "mine.py", tmp_path / "project" / "run"
    shutil.move(own, moved)
    shutil.move(begun, out)
    with pytest.raises(RunDirectoryError, match="search needs a finished train"):
        runs.search(out, space=f"{moved}:build")
    with Run(make_config({"space": f"{moved}:build", "out": str(out), "epochs": 1})) as run:
        assert run.config.space == f"{moved}:build"


def test_the_same_directory_by_other_paths(begun: Path, own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (begun.parent / "link").symlink_to(begun.parent, target_is_directory=True)
    monkeypatch.setenv("HOME", str(begun.parent))
    monkeypatch.chdir(begun.parent / "link")
    for out in (
        "run",
        "run/",
        "./run",
        str(begun),
        f"{begun}/",
        "../" + begun.parent.name + "/run",
        "~/run",
        "link/run",
    ):
        with Run(make_config({"space": "own/mine.py:build", "out": out, "epochs": 1})) as run:
            assert run.has_begun
        assert RunRecord.load(out).config["space"] == f"{own}:build"


def test_data_by_other_paths_are_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from onepath.runs.making import differences

    (tmp_path / "data.npz").write_bytes(b"")
    (tmp_path / "link").symlink_to(tmp_path, target_is_directory=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    texts = ["data.npz", str(tmp_path / "data.npz"), "./link/data.npz", "~/data.npz"]
    configs = [make_config({"data": text}).as_dict() for text in texts]
    assert all(differences(configs[0], config) == [] for config in configs)
    assert differences(configs[0], make_config({"data": "other.npz"}).as_dict())


@pytest.mark.parametrize(
    ("old", "new", "changed"),
    [
        ("self.blocks(self.stem(x))", "self.blocks(-self.stem(x))", True),
        ("nn.Dropout(0.1)", "nn.Dropout(0.2)", True),
        ('"""The supernet\'s module."""', '"""The supernet\'s module."""  # a comment', False),
    ],
)
def test_a_source_whose_choices_stayed(begun: Path, own: Path, old: str, new: str, changed: bool) -> None:
    text = own.read_text()
    assert old in text
    own.write_text(text.replace(old, new))
    message = "has changed since" if changed else "search needs a finished train"
    with pytest.raises(RunDirectoryError, match=message):
        runs.search(begun, space=f"{own}:build")


def test_a_report_needs_no_code_and_no_lock(
    begun: Path, own: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own.unlink()
    assert main(["report", "--out", str(begun)]) == 0
    assert "has not finished" in capsys.readouterr().out
    (begun / "report.html").unlink()
    with RunDirectory(begun):
        assert main(["report", "--out", str(begun)]) == 0
    assert "</html>" in (begun / "report.html").read_text()
    assert not own.with_name("witness").exists()


def test_a_report_runs_no_code_whatever_the_directory_says(begun: Path, own: Path) -> None:
    """One that was made to deceive: every stage is done, and an option is left to be filled in with the space."""
    with RunDirectory(begun) as directory:
        config, facts = directory.read_config(), directory.facts()
        assert config is not None
        directory.write_config(
            {**config, "method": "fairnas", "sampler": None, "epochs": None, "width": None}
        )
        for stage in (*STAGES, "data"):
            record = facts if stage == "data" else {}
            directory.store.put_stage(StageRow(stage, 1.0, True, record))
    with contextlib.suppress(Exception):  # its records are not those of a run
        runs.report(begun)
    assert not own.with_name("witness").exists()


def test_a_device_whose_source_has_changed(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("speed = 1\n")
    config = make_config({"device": f"{tmp_path / 'mine.py'}:Device"})
    facts = {"sources": sources(config)}
    assert set(facts["sources"]) == {"device"}
    check_sources(config, facts)
    (tmp_path / "mine.py").write_text("speed = 2\n")
    with pytest.raises(
        RunDirectoryError, match=r"the device it began with, but the code of .*mine\.py:Device has"
    ):
        check_sources(config, facts)
    check_sources(config, {})  # of a run from before this was kept


def test_what_a_configuration_confirms() -> None:
    config = make_config({})
    assert confirmed(config, Path("x")).as_dict() == config.as_dict()
    assert confirmed(config, Path("x"), "nasbench-macro").as_dict() == config.as_dict()
    with pytest.raises(ConfigurationError, match="space must be"):
        confirmed(config, Path("x"), "mobilenet")
    with pytest.raises(ConfigurationError, match="device must be"):
        confirmed(config, Path("x"), device="torch-cpu")


MODULE = """
from torch import nn
from onepath.nn import ChoiceBlock
class Net(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.block = ChoiceBlock({"a": nn.Conv2d(1, 4, 1), "b": nn.Conv2d(1, 4, 3, padding=1)})
        self.head = nn.Linear(4, num_classes)
    def forward(self, x):
        FORWARD
        return self.head(self.block(x).mean((2, 3)))
def build(num_classes):
    BUILD
    return Net(num_classes)
IMPORT
"""


@pytest.mark.parametrize("place", ["IMPORT", "BUILD", "FORWARD"])
@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("raise KeyError('no')", "raised KeyError: 'no'"),
        ("raise ValueError('no')", "raised ValueError: no"),
        ("import sys; sys.exit(0)", "called sys.exit(0)"),
        ("assert 1 == 2", "raised AssertionError"),
        ("undefined", "raised NameError"),
    ],
)
def test_own_code_that_fails_is_one_line(
    tmp_path: Path, place: str, statement: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mine.py"
    source = MODULE
    for name in ("IMPORT", "BUILD", "FORWARD"):
        source = source.replace(name, statement if name == place else "pass")
    path.write_text(source)
    out = tmp_path / "run"
    assert main(["run", "--space", f"{path}:build", "--max-macs", "1M", "--out", str(out)]) == 2
    said = capsys.readouterr()
    assert said.err.count("\n") == 1
    assert str(path) in said.err
    assert message in said.err
    assert not out.exists()


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("def build(num_classes): return None", "must return a torch.nn.Module, but .* returned NoneType"),
        ("async def build(num_classes): ...", "returned coroutine"),
        ("def build(num_classes, depth): ...", "missing a required argument: 'depth'"),
        (
            "def build(a, /, num_classes): ...",
            "missing a required positional-only argument|missing a required",
        ),
        ("def build(classes): ...", "missing a required argument: 'classes'"),
        ("build = 3", "has no callable 'build'"),
        ("build = max", "cannot be read|missing|does not"),
        ("class build: ...", "returned build"),
    ],
)
@pytest.mark.filterwarnings("ignore:coroutine:RuntimeWarning")
def test_a_space_that_is_no_function_of_a_module(tmp_path: Path, source: str, message: str) -> None:
    path = tmp_path / "mine.py"
    path.write_text(source)
    with pytest.raises(ConfigurationError, match=message):
        Run(make_config({"space": f"{path}:build", "out": str(tmp_path / "run")}))
    assert not (tmp_path / "run").exists()


def test_an_exit_inside_a_stage_is_no_success(begun: Path, own: Path) -> None:
    with Run(None, begun, space=f"{own}:build") as run:
        with pytest.raises(ConfigurationError, match=r"called sys\.exit\(0\)"), run.stage("train"):
            raise SystemExit(0)
        assert not run.is_done("train")


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-3] ^= 0x40
    path.write_bytes(bytes(content))


def test_weights_that_are_not_as_they_were_written(finished: Path, tmp_path: Path) -> None:
    for name in ("supernet", "winner-scratch"):
        out = tmp_path / name
        shutil.copytree(finished, out)
        flip(out / "checkpoints" / f"{name}.safetensors")
        with (
            Run(None, out, space=TINY) as run,
            pytest.raises(RunDirectoryError, match=rf"{name}\.safetensors must be"),
        ):
            run.weights(name)
    os.replace(
        out / "checkpoints" / "baseline-0-scratch.safetensors",
        out / "checkpoints" / "winner-scratch.safetensors",
    )
    with Run(None, out, space=TINY) as run, pytest.raises(RunDirectoryError, match="damaged"):
        run.weights("winner-scratch")
    flip(out / "model.safetensors")
    with pytest.raises(RunDirectoryError, match=r"model\.safetensors must be"):
        Result(out, {}, TINY).model()


@pytest.mark.parametrize(
    ("stage", "name"),
    [
        *(("export", name) for name in ("model.onnx", "model.pt2", "model.safetensors", "architecture.json")),
        *(("report", name) for name in ("result.json", "report.html")),
    ],
)
def test_a_stage_is_complete_with_its_files_as_they_were_written(
    finished: Path, tmp_path: Path, stage: str, name: str
) -> None:
    out = tmp_path / "run"
    shutil.copytree(finished, out)
    with Run(None, out, space=TINY) as run:
        assert runs.stages.is_complete(run, stage)  # type: ignore[attr-defined]
        if name != "report.html":
            flip(out / name)
            assert not runs.stages.is_complete(run, stage)  # type: ignore[attr-defined]
        (out / name).unlink()
        assert not runs.stages.is_complete(run, stage)  # type: ignore[attr-defined]
