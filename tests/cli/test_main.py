"""Every error of the command line is one line on stderr with the right exit status."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from onepath import __version__
from onepath.cli import main
from onepath.cli.options import merged
from onepath.errors import ConfigurationError

RELEASED = "2,1,0,1,2,0,2,0,2,0,2,3,0,0,0,0,3,2,3,3"


def call(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    capsys.readouterr()
    status = main(arguments)
    captured = capsys.readouterr()
    return status, captured.out, captured.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["rnu"], "No such command 'rnu'"),
        (["run", "--max-mac", "3"], "--max-macs"),
        (["run", "--epochs", "x"], "epochs must be a valid integer"),
        (["run", "--seed"], "--seed"),
        (["search"], "search needs one run directory, DIR or --out DIR, but got neither"),
        (["search", "here", "--out", "there"], "but got both"),
        (
            ["retrain"],
            "retrain needs one run directory, DIR or --out DIR, but got neither; give the one you want",
        ),
        (["export"], "export needs one run directory, DIR or --out DIR, but got neither"),
        (["report"], "report needs one run directory, DIR or --out DIR, but got neither"),
        (
            ["report", "here", "--out", "there"],
            "report needs one run directory, DIR or --out DIR, but got both",
        ),
        (
            ["train", "here", "--out", "there"],
            "train needs one run directory, DIR or --out DIR, but got both",
        ),
        (["cost", "shufflenet"], "one of --architecture and --compare"),
        (["cost", "--architecture", "1"], "Missing argument"),
        (["cost", "shufflenet", "--architecture", "1", "--input-size", "0"], "--input-size"),
        (["run", "extra"], "extra"),
        (["run", "--max-macs", "3X"], "max_macs must be a whole number such as 30M"),
        (["run", "--max-params", "0"], "max_params must be greater than or equal to 1"),
        (["run", "--max-latency-ms", "3"], "max_latency_ms is a limit on a device"),
        (["run", "--device", "pixel", "--out", "{new}"], "a device must be one of torch-cpu"),
        (["run", "--epochs", "0"], "epochs must be greater than or equal to 1"),
        (["run", "--method", "dart"], "method must be one of spos"),
        (["run", "--train-on", "tpu"], "train_on must be 'cpu' or 'cuda'"),
        (["run", "--space", "shufflenet", "--sampler", "constrained"], "needs a limit"),
        (["run", "--config", "absent.yaml"], "--config must be a readable file"),
        (["run", "--space-argument", "x"], "--space-argument must be name=value"),
        (["run", "--data", "no-such-data", "--out", "{new}"], "no-such-data"),
        (["run", "--data", "absent.npz", "--out", "{new}"], "absent.npz"),
        (["run", "--space", "shufflnet", "--out", "{new}"], "did you mean shufflenet"),
        (["run", "--space", "absent.py:build", "--out", "{new}"], "absent.py"),
        (["run", "--max-macs", "10", "--out", "{new}"], "max_macs"),
        (["run", "--out", "{file}/run"], "must be writable"),
        (["run", "--out", "{file}"], "must be writable"),
        (["run", "--out", "/proc/onepath"], "must be writable"),
        (["train", "--width", "0"], "width must be greater than 0"),
        (["search", "--out", "{new}"], "begin one with `onepath run --out"),
        (["report", "--out", "{file}"], "begin one with `onepath run --out"),
        (["cost", "shufflnet", "--architecture", "1"], "did you mean shufflenet"),
        (["cost", "shufflenet", "--architecture", "1,2"], "20 option indices"),
        (["cost", "shufflenet", "--architecture", "x"], "option indices"),
        (["cost", "shufflenet", "--architecture", RELEASED, "--input-size", "2"], "input_size"),
    ],
)
def test_mistakes_are_one_line_and_status_2(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, arguments: list[str], message: str
) -> None:
    (tmp_path / "file").touch()
    places = {"{file}": str(tmp_path / "file"), "{new}": str(tmp_path / "new")}
    for name, place in places.items():
        arguments = [argument.replace(name, place) for argument in arguments]
    status, out, err = call(capsys, *arguments)
    assert (status, out) == (2, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert message in err
    assert not (tmp_path / "new").exists()


def test_our_own_errors_have_status_1(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("two\nlines")

    monkeypatch.setattr("onepath.cli.catalogue.describe_architecture", fail)
    arguments = ("cost", "shufflenet", "--architecture", "1")
    assert call(capsys, *arguments) == (
        1,
        "",
        "error: RuntimeError: two lines; --debug shows the traceback\n",
    )
    status, out, err = call(capsys, *arguments, "--debug")
    assert (status, out) == (1, "")
    assert err.startswith("Traceback")
    assert err.endswith("error: RuntimeError: two lines\n")


def test_debug_shows_the_traceback_of_a_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (
        ["--debug", "run", "--epochs", "0"],
        ["run", "--epochs", "0", "--debug"],
        ["rnu", "--debug"],
    ):
        status, _, err = call(capsys, *arguments)
        assert status == 2
        assert err.startswith("Traceback")


def test_interruption(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("onepath.runs.continued_config", interrupt)
    monkeypatch.setattr("onepath.cli.catalogue.describe_spaces", interrupt)
    said = "interrupted: the same command continues where it stopped\n"
    assert call(capsys, "run") == (128 + signal.SIGINT, "", said)
    assert call(capsys, "spaces") == (130, "", "interrupted\n")


def test_version_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert call(capsys, "--version") == (0, f"onepath {__version__}\n", "")
    status, out, err = call(capsys, "--help")
    assert (status, err) == (0, "")
    commands = ("run", "train", "search", "retrain", "export", "report", "spaces", "cost", "devices")
    assert all(command in out for command in commands)
    for command in commands:
        status, out, err = call(capsys, command, "--help")
        assert (status, err) == (0, "")
        assert "--json" in out


def test_cost_of_the_released_architecture(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = call(capsys, "cost", "shufflenet", "--architecture", RELEASED)
    assert status == 0
    assert out.splitlines()[0] == "322.919 M MACs, 3.558 M parameters"
    status, out, err = call(capsys, "cost", "shufflenet", "--architecture", RELEASED, "--json")
    found = json.loads(out)
    assert (status, err) == (0, "")
    assert (found["macs"], found["params"]) == (322_918_720, 3_558_464)
    assert found["architecture"] == RELEASED
    assert found["input_shape"] == [3, 224, 224]


def test_devices_are_listed_with_what_they_are_or_why_they_are_missing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    status, out, err = call(capsys, "devices", "--json")
    assert (status, err) == (0, "")
    found = {device["name"]: device for device in json.loads(out)["devices"]}
    assert found["onnxruntime-cpu"]["usable"]
    assert found["onnxruntime-cpu"]["settings"]["version"]
    for device in found.values():
        assert device["usable"] == (device["missing"] is None) == (device["settings"] is not None)
    status, out, err = call(capsys, "devices")
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert len(lines) == len(found) + 1
    for line, device in zip(lines, found.values(), strict=False):
        assert line.startswith(device["name"])
        assert (device["missing"] or device["settings"]["version"]) in line


def test_cost_of_ones_own_space(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(
        "import torch\nimport onepath.nn as on\n\n\ndef build(num_classes, hidden=4):\n"
        "    candidates = {'a': torch.nn.Linear(12, num_classes), 'b': torch.nn.Linear(12, num_classes, bias=False)}\n"
        "    return torch.nn.Sequential(torch.nn.Flatten(), on.ChoiceBlock(candidates))\n"
    )
    command = ["cost", f"{tmp_path / 'own.py'}:build", "--num-classes", "5", "--input-size", "2", "--json"]
    for architecture, params in (("0", 65), ("1", 60)):
        status, out, _ = call(capsys, *command, "--architecture", architecture)
        assert status == 0
        assert (json.loads(out)["macs"], json.loads(out)["params"]) == (60, params)
    status, _, err = call(capsys, *command, "--architecture", "0", "--space-argument", "depth=2")
    assert status == 2
    assert "depth" in err


def test_options_come_before_the_file(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text("max-macs: 30M\nepochs: 3\nspace_arguments: {a: 1, b: 2}\n")
    given = {"epochs": 5, "seed": None, "space_argument": ["b=[1, 2]", "c=x=y"]}
    assert merged(given, str(file)) == {
        "max_macs": "30M",
        "epochs": 5,
        "space_arguments": {"a": 1, "b": [1, 2], "c": "x=y"},
    }
    file.write_text("")
    assert merged({"seed": 0}, str(file)) == {"seed": 0}


@pytest.mark.parametrize("content", ["a: [", "- 1", "7", "\xff\xfe"])
def test_files_that_hold_no_options(tmp_path: Path, content: str) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(content, encoding="latin-1")
    with pytest.raises(ConfigurationError, match="--config must"):
        merged({}, str(file))


def test_an_unknown_option_in_the_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text("max_mac: 3\n")
    status, _, err = call(capsys, "run", "--config", str(tmp_path / "run.yaml"))
    assert (status, err) == (2, "error: an option must exist, but max_mac does not; did you mean max_macs?\n")


def test_importing_the_command_line_is_light() -> None:
    script = (
        "import sys; before = set(sys.modules); import onepath; own = set(sys.modules)\n"
        "import onepath.cli\n"
        "print(*sorted(name for name in set(sys.modules) - own if '.' not in name))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    heavy = {"torch", "torchvision", "onnx", "plotly", "pyarrow", "scipy", "sklearn", "pydantic", "rich"}
    assert not heavy & set(done.stdout.split())


def test_a_reader_that_goes_away_is_no_error() -> None:
    script = "import sys; from onepath.cli import main; sys.exit(main(['--help']))"
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
