"""What a command means for the run in its directory: continued, started over while it is empty, or refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from run_processes import TINY
from safetensors.torch import load_file
from torch import nn

import onepath as op
from onepath import runs
from onepath.cli import main
from onepath.errors import (
    ConfigurationError,
    DirectoryInUseError,
    InfeasibleError,
    RunDirectoryError,
    UserError,
)
from onepath.methods import METHODS
from onepath.nn import ChoiceBlock
from onepath.record import RunDirectory, RunRecord
from onepath.record.rows import CurvePoint
from onepath.runs import Run, SilentProgress, continued_config

MODEL = """
from torch import nn
def build(num_classes=10):
    return nn.Sequential(
        nn.Conv2d(1, 32, 3), nn.BatchNorm2d(32), nn.ReLU(), nn.Conv2d(32, 32, 3), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, num_classes),
    )
other = build
"""


class Told(SilentProgress):
    """Keeps what a run says."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture
def model(tmp_path: Path) -> str:
    (tmp_path / "net.py").write_text(MODEL)
    return f"{tmp_path / 'net.py'}:build"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "run"


def open_run(out: Path, **options: Any) -> tuple[runs.RunConfig, list[str]]:
    """Open the run of a command, and do nothing; return its configuration and what was said."""
    told = Told()
    with Run(continued_config({"out": str(out), **options}), progress=told) as run:
        return run.config, told.notes


def train_a_little(out: Path) -> None:
    """Let the run look as if it had been trained for an update."""
    with RunDirectory(out) as directory:
        directory.store.add_point(CurvePoint("supernet", 0, 1, 0.1, 2.0, 0.1, 0.1, 1.0))


# A space and a model, each of which takes the place of the other.


def test_a_space_beside_the_model_that_a_run_began_with_is_refused(
    out: Path, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    open_run(out, model=model, max_macs=300_000)
    train_a_little(out)
    before = (out / "config.yaml").read_text()
    command = ["run", "--out", str(out), "--model", model]
    for more in (["--space", "shufflenet"], ["--space", f"{Path(model).parent}/net.py:other"]):
        assert main([*command, *more]) == 2
        err = capsys.readouterr().err
        assert err.startswith("error: model takes the place of a space, but both came")
        assert err.count("\n") == 1
    assert main(["run", "--out", str(out), "--space", "shufflenet"]) == 2
    err = capsys.readouterr().err
    assert err == (
        f"error: a run continues with the configuration it began with, but {out} has another (space: none -> "
        f"shufflenet; model: {model} -> none); leave these out, give another --out, or start over with --fresh\n"
    )
    assert (out / "config.yaml").read_text() == before


def test_a_model_in_place_of_the_space_that_a_run_began_with_is_refused(out: Path, model: str) -> None:
    for space in ("nasbench-macro", TINY):
        open_run(out, space=space)
        train_a_little(out)
        with pytest.raises(RunDirectoryError, match=r"\(space: .* -> none; model: none -> .*net\.py:build\)"):
            open_run(out, model=model)
        with pytest.raises(ConfigurationError, match="but both came"):
            open_run(out, model=model, space=space)
        shutil.rmtree(out)


def test_another_model_is_named_once(out: Path, model: str) -> None:
    open_run(out, model=model, max_macs="80%")
    train_a_little(out)
    with pytest.raises(
        RunDirectoryError, match=r"has another \(model: .*:build -> .*:other\); leave these out"
    ):
        open_run(out, model=model.replace(":build", ":other"))
    for given in ({"model": model}, {"space": model}, {"model": model, "space": model}):
        assert open_run(out, **given)[0].model == model


def test_a_model_whose_file_has_moved_is_the_same_by_either_option(
    out: Path, model: str, tmp_path: Path
) -> None:
    open_run(out, model=model, max_macs="80%", device="torch-cpu", device_threads=1)
    train_a_little(out)
    (tmp_path / "moved").mkdir()
    shutil.move(tmp_path / "net.py", tmp_path / "moved" / "net.py")
    moved = f"{tmp_path / 'moved' / 'net.py'}:build"
    for given in ({"model": moved}, {"space": moved}):
        config, _ = open_run(out, **given)
        assert (config.model, config.space) == (moved, moved)
        open_run(out, **given, device_threads=1)  # an option that needs one of the directory's


def test_stages_refuse_a_space_in_python_that_the_run_did_not_begin_with(out: Path, model: str) -> None:
    open_run(out, model=model, max_macs="80%")
    module = nn.Sequential(ChoiceBlock([nn.Conv2d(1, 4, 1), nn.Conv2d(1, 4, 3, padding=1)]), nn.Flatten())
    with pytest.raises(
        ConfigurationError, match="model must be the one that the run began with, but got a Seq"
    ):
        runs.train(out, space=module)
    with pytest.raises(
        ConfigurationError, match="model must be the one that the run began with, but got 'shuff"
    ):
        runs.train(out, space="shufflenet")


# Other options that were ignored, or refused without saying why.


def test_stages_refuse_the_class_of_another_method(out: Path) -> None:
    class Mine(METHODS["spos"]):  # type: ignore[misc, valid-type]
        """A method of the user's own."""

        name = "mine"

    open_run(out, method="darts", space="nasbench-macro")
    with pytest.raises(
        ConfigurationError, match="method must be the one that the run began with, but got 'python:m"
    ):
        runs.search(out, method=Mine)
    with pytest.raises(RunDirectoryError, match="search needs a finished train"):
        runs.search(out, method=METHODS["darts"])
    open_run(out, method=Mine)
    for other in (METHODS["darts"], METHODS["spos"]):
        with pytest.raises(ConfigurationError, match=r"but got .* and .* has 'python:mine'; give that one"):
            runs.search(out, method=other)
    with pytest.raises(RunDirectoryError, match="search needs a finished train"):
        runs.search(out, method=Mine)


def test_a_method_of_onepath_in_place_of_ones_own(out: Path, tmp_path: Path) -> None:
    source = "from onepath.methods import Spos\nclass Mine(Spos):\n    name = 'mine'\n    more: int = 3\n"
    (tmp_path / "mine.py").write_text(source)
    open_run(out, method=f"{tmp_path / 'mine.py'}:Mine", more=4)
    with pytest.raises(RunDirectoryError, match=r"has another \(method: .*mine\.py:Mine -> darts\)"):
        open_run(out, method="darts")


def test_options_that_are_only_for_python_are_part_of_the_run(out: Path) -> None:
    given = {"method": "gdas", "space": "nasbench-macro", "temperatures": (5.0, 1.0), "hard": False}
    open_run(out, **given)
    train_a_little(out)
    for again in ({}, given, {"hard": False}):
        config, _ = open_run(out, **again)
        assert config.options.model_dump(include={"temperatures", "hard"}) == {
            "temperatures": (5.0, 1.0),
            "hard": False,
        }
    with pytest.raises(RunDirectoryError, match=r"temperatures: 5,1 -> 5,2; hard: False -> True"):
        open_run(out, temperatures=(5.0, 2.0), hard=True)


def test_a_former_name_names_its_difference(out: Path) -> None:
    open_run(out, retrain_from="inherited")
    train_a_little(out)
    open_run(out, retrain_from="inherited")
    with pytest.raises(RunDirectoryError, match=r"has another \(finish: inherited -> scratch\)"):
        open_run(out, retrain_from="scratch")


def test_a_limit_in_percent_beside_one_in_numbers(out: Path, model: str) -> None:
    open_run(out, model=model, max_macs=300_000)
    train_a_little(out)
    with pytest.raises(RunDirectoryError, match=r"\(max_macs: 300000 -> 60 %\)"):
        open_run(out, model=model, max_macs="60%")
    with pytest.raises(RunDirectoryError, match=r"\(max_params: none -> 60 %\)"):
        open_run(out, model=model, max_params="60%")


def test_only_what_was_given_is_named(out: Path, model: str) -> None:
    """Not the method, whose default a model changes."""
    open_run(out, space="nasbench-macro")
    train_a_little(out)
    with pytest.raises(
        RunDirectoryError, match=r"\(space: nasbench-macro -> none; model: none -> .*:build\)"
    ):
        open_run(out, model=model)


def test_own_code_must_be_named_even_if_it_is_given_as_none(out: Path) -> None:
    open_run(out, space=TINY)
    with pytest.raises(ConfigurationError, match="own code must be named"):
        open_run(out, space=None, device=None)


def test_a_continued_run_knows_which_options_were_given_when_it_began(out: Path) -> None:
    open_run(out, space=TINY, epochs=3, max_macs="30k")
    train_a_little(out)
    for given in ({"space": TINY}, {"space": TINY, "epochs": 3, "workers": None}):
        assert open_run(out, **given)[0].given == {"space", "epochs", "max_macs"}
    with Run(None, out, space=TINY) as run:
        assert run.config.given == {"space", "epochs", "max_macs"}


# A run in which nothing has been computed.


def test_an_empty_run_starts_over_with_the_options_that_are_corrected(
    out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    open_run(out, space=TINY, epochs=3, max_macs="30k", workers=1)
    config, notes = open_run(out, space=TINY, epochs=3, max_macs="25k", workers=1)
    assert config.limits == {"max_macs": (25_000,)}
    assert notes == [
        f"nothing has been trained or searched in {out} yet, so the run starts over with max_macs: 30000 -> 25000"
    ]
    record = RunRecord.load(out)
    assert (record.config["max_macs"], record.config["epochs"]) == (25_000, 3)
    # What is not given stays, here and at the next correction.
    config, notes = open_run(out, space=TINY, max_params="2k")
    assert (config.limits, config.options.epochs) == ({"max_macs": (25_000,), "max_params": (2000,)}, 3)
    assert "; of the options given then stay: " in notes[0]
    for text in ("epochs 3", "max_macs 25000", "workers 1"):
        assert text in notes[0].partition(" stay: ")[2]
    assert open_run(out, space=TINY)[1] == []
    _, (note,) = open_run(out, space=TINY, epochs=3)
    assert note.startswith(f"of the options that the run in {out} began with stay: ")
    assert note.endswith("; --fresh starts over without them")
    capsys.readouterr()
    assert main(["search", "--out", str(out), "--space", TINY]) == 2  # the stages alone change no options
    assert "search needs a finished train" in capsys.readouterr().err


def test_defaults_are_filled_in_anew(out: Path) -> None:
    """The width of the space was fitted to the first limit."""
    first, _ = open_run(out, space="nasbench-macro", max_macs="500k", input_size=16)
    again, _ = open_run(out, max_macs="3M")
    assert first.width is not None
    assert again.width is not None
    assert again.width > first.width
    assert again.input_size == 16
    shutil.rmtree(out)
    assert open_run(out, space="nasbench-macro", max_macs="3M", input_size=16)[0].as_dict() == again.as_dict()


def test_an_empty_run_takes_another_method_and_another_origin(out: Path, model: str) -> None:
    given = {"method": "darts", "space": "nasbench-macro", "warmup_epochs": 2, "epochs": 7, "seed": 5}
    open_run(out, **given)
    config, _ = open_run(out, method="spos")
    assert (config.method, config.options.epochs, config.seed) == ("spos", 7, 5)
    config, _ = open_run(out, model=model, max_macs="70%")
    assert (config.model, config.space, config.method, config.seed) == (model, model, "spos", 5)
    config, _ = open_run(out, model=model, max_macs="60%")
    assert config.limits["max_macs"][0] < 300_000
    config, _ = open_run(out, space="nasbench-macro", max_macs="1M")
    assert (config.model, config.space, config.limits) == (None, "nasbench-macro", {"max_macs": (1_000_000,)})
    assert not list((out / "checkpoints").iterdir())  # the weights of the model that came in are gone


def test_a_second_mistake_leaves_the_first_run_as_it_was(out: Path) -> None:
    open_run(out, space=TINY, max_macs="30k")
    before = (out / "config.yaml").read_text()
    with pytest.raises(InfeasibleError):
        open_run(out, space=TINY, max_macs=10)
    with pytest.raises(ConfigurationError, match="did you mean"):
        open_run(out, space=TINY, epoch=10)
    with pytest.raises(UserError, match="no-such"):
        open_run(out, space=TINY, data="no-such-data")
    assert (out / "config.yaml").read_text() == before
    assert open_run(out, space=TINY)[0].limits == {"max_macs": (30_000,)}


def test_what_has_been_trained_is_only_continued(out: Path) -> None:
    open_run(out, space=TINY, max_macs="30k")
    train_a_little(out)
    with pytest.raises(RunDirectoryError, match=r"max_macs: 30000 -> 25000.*leave these out.*--fresh"):
        open_run(out, space=TINY, max_macs="25k")


def test_a_run_of_an_onepath_that_did_not_keep_what_was_given_is_only_continued(out: Path) -> None:
    open_run(out, space=TINY, max_macs="30k")
    with RunDirectory(out) as directory:
        facts, config = directory.facts(), directory.read_config()
        assert facts.pop("given") == ["max_macs", "space"]
        assert config is not None
        directory.begin(config, facts)
    with pytest.raises(RunDirectoryError, match="max_macs: 30000 -> 25000"):
        open_run(out, space=TINY, max_macs="25k")


def test_a_directory_in_use_does_not_start_over(out: Path) -> None:
    open_run(out, space=TINY, max_macs="30k")
    before = (out / "config.yaml").read_text()
    with RunDirectory(out), pytest.raises(DirectoryInUseError):
        open_run(out, space=TINY, max_macs="25k")
    assert (out / "config.yaml").read_text() == before


def test_a_loss_that_is_not_finite_at_the_first_updates_can_be_corrected(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing has been kept of a training that ended before its first point and its first checkpoint."""
    options = {"space": TINY, "epochs": 40, "batch_size": 115, "workers": 1}

    def fail(*_: object, **__: object) -> None:
        raise ConfigurationError("loss must be finite")

    monkeypatch.setattr("onepath.train.training.Training._step", fail)
    with pytest.raises(ConfigurationError, match="loss must be finite"):
        op.run(out=out, learning_rate=9.0, **options)
    assert RunRecord.load(out).stages["train"]["done"] is False
    config, _ = open_run(out, learning_rate=0.1, **options)
    assert config.learning_rate == 0.1
    assert "train" not in RunRecord.load(out).stages


def test_initial_weights_of_a_space_in_python_are_those_that_come_now(out: Path) -> None:
    def space(value: float) -> nn.Module:
        blocks = ChoiceBlock([nn.Conv2d(1, 4, 1), nn.Conv2d(1, 4, 3, padding=1)])
        module = nn.Sequential(
            blocks, nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 10)
        )
        nn.init.constant_(module[4].bias, value)
        return module

    def begin(value: float, **options: Any) -> None:
        class Stop(SilentProgress):
            def begin(self, title: str, total: int, done: int = 0) -> None:
                if title.startswith("training"):
                    raise RuntimeError("stop")

        with pytest.raises(RuntimeError, match="stop"):
            op.run(space=space(value), out=out, progress=Stop(), workers=1, **options)

    for value, epochs in ((1.0, 3), (2.0, 4)):
        begin(value, epochs=epochs)
        initial = load_file(out / "checkpoints" / "initial.safetensors")
        assert torch.equal(initial["module.4.bias"], torch.full((10,), value))
        assert json.loads(json.dumps(RunRecord.load(out).config))["epochs"] == epochs
