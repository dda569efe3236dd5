"""`onepath run` and the stages, as a user calls them: interrupted, continued, refused, as JSON."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from onepath.cli import main
from onepath.record import RunDirectory

SPACE = f"{Path(__file__).parents[1] / 'runs' / 'tiny_space.py'}:build"
OPTIONS = f"--space {SPACE} --max-macs 25k --batch-size 230 --epochs 60 --retrain-epochs 1 --population 4"
OPTIONS += " --generations 1 --num-baselines 1 --workers 1"


def command(out: Path) -> list[str]:
    return ["run", *OPTIONS.split(), "--out", str(out)]


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int, str, str]:
    """A run that got Ctrl-C in its first training: its directory, status, stdout and stderr."""
    out = tmp_path_factory.mktemp("cli") / "run"
    with subprocess.Popen(
        [sys.executable, "-m", "onepath.cli", *command(out), "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        lines = []
        for line in process.stderr:
            lines.append(line)
            if line.startswith("training the supernet"):
                break
        process.send_signal(signal.SIGINT)
        stdout, rest = process.communicate(timeout=60)
    return out, process.returncode, stdout, "".join(lines) + rest


@pytest.fixture(scope="module")
def finished(interrupted: tuple[Path, int, str, str]) -> tuple[Path, str, str]:
    """The same command again: its directory, stdout and stderr."""
    out, *_ = interrupted
    arguments = [sys.executable, "-m", "onepath.cli", *command(out), "--json"]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return out, done.stdout, done.stderr


@pytest.fixture(autouse=True)
def _plain(capsys: pytest.CaptureFixture[str]) -> Iterator[None]:
    capsys.readouterr()
    yield
    capsys.readouterr()


def test_interruption_is_one_line_and_status_130(interrupted: tuple[Path, int, str, str]) -> None:
    _, status, stdout, stderr = interrupted
    assert (status, stdout) == (130, "")
    assert stderr.endswith("\ninterrupted: the same command continues where it stopped\n")
    assert "Traceback" not in stderr


def test_the_same_command_continues_and_prints_one_json_object(finished: tuple[Path, str, str]) -> None:
    out, stdout, stderr = finished
    assert json.loads(stdout) == json.loads((out / "result.json").read_text())
    continued = re.search(r"training the supernet: (\d+) of 300 done already", stderr)
    assert continued is not None
    assert int(continued[1]) > 0
    assert "Warning" not in stderr


def test_a_finished_run_is_printed_again(
    finished: tuple[Path, str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    out, stdout, _ = finished
    assert main([*command(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(stdout)
    assert main(command(out)) == 0
    shown = capsys.readouterr().out
    result = json.loads(stdout)
    assert f"{result['cost']['macs']:,} MACs, {result['cost']['params']:,} parameters" in shown
    assert f"{result['accuracy']['retrained_test']:.4f} test" in shown
    assert str(out / "model.onnx") in shown


def test_another_configuration_names_the_differences(
    finished: tuple[Path, str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    out, *_ = finished
    assert main([*command(out), "--seed", "1", "--max-params", "1M"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert "seed: 0 -> 1; max_params: none -> 1000000" in captured.err
    assert main(["train", "--out", str(out), "--seed", "1"]) == 2


def test_a_directory_in_use_is_one_line(
    finished: tuple[Path, str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    out, *_ = finished
    with RunDirectory(out):
        for arguments in (command(out), ["retrain", "--out", str(out), "--space", SPACE]):
            assert main(arguments) == 2
            err = capsys.readouterr().err
            assert err.count("\n") == 1
            assert "is in use by process" in err
        assert main(["report", "--out", str(out), "--json"]) == 0  # reading needs no lock
        assert not json.loads(capsys.readouterr().out)["done"]


@pytest.mark.parametrize("stage", ["train", "search", "retrain", "export", "report"])
def test_finished_stages(
    finished: tuple[Path, str, str], capsys: pytest.CaptureFixture[str], stage: str
) -> None:
    """Every stage takes the run directory as an argument and as --out."""
    out, *_ = finished
    again = [] if stage == "report" else ["--space", SPACE]
    for directory in (["--out", str(out)], [str(out)]):
        assert main([stage, *directory, *again, "--json"]) == 0
        said = json.loads(capsys.readouterr().out)
        assert said.keys() == {"stage", "path", "done", "seconds"}
        assert (said["stage"], said["path"], said["done"]) == (stage, str(out), True)
    assert main([stage, str(out), *again]) == 0
    assert capsys.readouterr().out.startswith(f"{stage} is done in {out}")


def test_a_missing_earlier_stage_says_which_command(
    interrupted: tuple[Path, int, str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from onepath.runs import Run, make_config

    with Run(make_config({"space": SPACE, "out": str(tmp_path)})):
        pass
    assert main(["search", "--out", str(tmp_path), "--space", SPACE]) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: search needs a finished train")
    assert err.endswith(f"run `onepath train --out {tmp_path}`\n")
    assert err.count("\n") == 1


def test_options_from_a_file_and_the_files_of_a_run(
    finished: tuple[Path, str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    """A run's own config.yaml is a file of options: it names the same run."""
    out, stdout, _ = finished
    command = ["run", "--config", str(out / "config.yaml"), "--json"]
    assert main(command) == 2
    assert f"add --space {SPACE} " in capsys.readouterr().err
    assert main([*command, "--space", SPACE]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(stdout)


@pytest.mark.parametrize(
    ("options", "begins_anew"), [([], False), (["--fresh"], True), (["--seed", "1"], True)]
)
@pytest.mark.parametrize("by", [["--out"], []])
def test_train_with_the_directory_alone_continues_and_otherwise_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], begins_anew: bool, by: list[str]
) -> None:
    calls: list[tuple[object, ...]] = []
    monkeypatch.setattr("onepath.cli.run._stage", lambda *values, **_: calls.append(values))
    assert main(["train", *by, str(tmp_path), *options]) == 0
    ((_, out, _, *new),) = calls
    assert out == str(tmp_path)
    assert bool(new) == begins_anew
    assert new[1:] == ([("--fresh" in options)] if begins_anew else [])


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"out": "{run}"}, True),
        ({"out": "{new}"}, True),
        ({"out": "{run}", "space": "x.py:build"}, True),
        ({"out": "{run}", "space": "x.py:build", "device": "exec:x"}, True),
        ({"out": "{new}", "space": "x.py:build"}, False),
        ({"out": "{run}", "space": "x.py:build", "epochs": 3}, False),
        ({"space": "x.py:build"}, False),
        ({"out": "{run}", "fresh": True}, False),
        ({"out": "{run}", "config": "x.yaml"}, False),
    ],
)
def test_what_continues_a_run_directory(tmp_path: Path, given: dict[str, object], expected: bool) -> None:
    from onepath.cli.run import continues

    (tmp_path / "config.yaml").write_text("seed: 0\n")
    out = str(given.get("out", "")).format(run=tmp_path, new=tmp_path / "new") or None
    assert continues({"fresh": False, "json": True, **given, "out": out}) == expected
