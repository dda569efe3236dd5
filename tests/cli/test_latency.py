"""`onepath profile` and `onepath cost` with a device, on the real torch-cpu and a tiny space."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from onepath.cli import main

SPACE = """
from torch import nn
from onepath import ChoiceBlock

class Net(nn.Module):
    def __init__(self, num_classes, in_channels=3):
        super().__init__()
        self.stem = nn.Conv2d(in_channels, 4, 3)
        self.blocks = nn.Sequential(*[ChoiceBlock({
            "one": nn.Conv2d(4, 4, 1), "three": nn.Sequential(*[nn.Conv2d(4, 4, 3, padding=1) for _ in range(3)])
        }) for _ in range(7)])
        self.head = nn.Linear(4, num_classes)

    def forward(self, x):
        return self.head(self.blocks(self.stem(x)).mean(dim=(2, 3)))

def build(num_classes, in_channels=3):
    return Net(num_classes, in_channels)
"""
STEADY = """
from onepath.latency import Device

class Prepared:
    def __init__(self, model):
        self.ms = 0.1 + 0.01 * sum(parameter.numel() for parameter in model.parameters())

    def run(self):
        return self.ms

    def close(self):
        pass

class Steady(Device):
    name = "steady"

    def prepare(self, model, input_shape):
        return Prepared(model)
"""
SMALL = ("--num-classes", "10", "--input-size", "8", "--threads", "1", "--device", "torch-cpu")


@pytest.fixture
def space(tmp_path: Path) -> str:
    (tmp_path / "tiny.py").write_text(SPACE)
    return f"{tmp_path / 'tiny.py'}:build"


def call(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    capsys.readouterr()
    status = main(arguments)
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_profile_writes_a_table_and_its_page(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, space: str
) -> None:
    # A device of steady speed: what is measured here in microseconds depends on what else the machine does.
    (tmp_path / "steady.py").write_text(STEADY)
    out, name = tmp_path / "table.json", f"{tmp_path / 'steady.py'}:Steady"
    given = (*SMALL[:-1], name, "--out", str(out), "--max-seconds", "2", "--validation", "24")
    command = ("profile", space, *given)
    status, text, _ = call(capsys, *command)
    assert status == 0, text
    assert "entries of" in text
    assert "Spearman" in text
    table = json.loads(out.read_text())
    assert (table["device"], table["threads"], table["unit"]) == ("steady", 1, "ms")
    assert len(table["entries"]) == 4
    assert out.with_suffix(".html").is_file()
    status, text, _ = call(capsys, *command, "--json")
    assert json.loads(text)["entries"] == 4
    status, _, error = call(capsys, *command, "--seed", "1")
    assert status == 2
    assert "seed 0 there, 1 now" in error


def test_cost_measures_one_architecture(capsys: pytest.CaptureFixture[str], space: str) -> None:
    status, text, _ = call(capsys, "cost", space, "--architecture", "0,1,0,1,0,1,0", *SMALL)
    assert status == 0
    assert "ms on torch-cpu, IQR" in text
    assert "threads 1, batch 1" in text


def test_cost_compares_random_architectures(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, space: str
) -> None:
    page = tmp_path / "compare.html"
    command = ("cost", space, "--compare", "8", *SMALL, "--max-seconds", "1", "--out", str(page))
    status, text, _ = call(capsys, *command)
    assert status == 0
    assert "MACs against latency: Spearman" in text
    assert page.is_file()
    status, text, _ = call(capsys, *command, "--json")
    assert len(json.loads(text)["networks"]) == 8


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("cost", "shufflenet", "--compare", "5"), "--compare needs a --device"),
        (("cost", "shufflenet"), "one of --architecture and --compare must be given, but got neither"),
        (("profile", "shufflenet", "--device", "torch-gpu"), "torch-"),
        (("profile", "shufflenet", "--device", "torch-cpu", "--out", "a.txt"), "--out must end in .json"),
        (("profile", "shufflenet", "--device", "torch-cpu", "--out", "no/a.json"), "existing directory"),
        (
            ("profile", "shufflenet", "--device", "torch-cpu", "--network-wise", "30", "--out", "a.json"),
            "--out must end in .safetensors",
        ),
        (("profile", "shufflenet"), "--device"),
    ],
)
def test_mistakes_are_one_line(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str
) -> None:
    status, out, error = call(capsys, *arguments)
    assert status == 2
    assert message in error
    assert error.count("\n") == 1
    assert not out


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("def run(self): raise SystemExit(0)", "must run an inference, but it raised SystemExit"),
        ("def run(self): return '\\x1b[31m'", "a time must be finite and over 0 ms"),
        ("def run(self): return None", "a time must be finite and over 0 ms"),
        ("def go(self): return 1.0", "must return an object with `run` and `close`"),
    ],
)
def test_a_device_of_ones_own_that_is_amiss_is_one_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, space: str, code: str, message: str
) -> None:
    own = tmp_path / "own.py"
    own.write_text(
        "from onepath.latency import Device\n"
        f"class Prepared:\n    {code}\n    def close(self): pass\n"
        "class Own(Device):\n    name = 'mine'\n    def prepare(self, *_): return Prepared()\n"
    )
    sizes = ("--num-classes", "10", "--input-size", "8", "--architecture", "0,0,0,0,0,0,0")
    status, out, err = call(capsys, "cost", space, *sizes, "--device", f"{own}:Own")
    assert (status, out) == (2, "")
    assert message in err
    assert err.rstrip("\n").isprintable()


@pytest.mark.parametrize("name", ["exec:touch ran", "own.py:Own"])
def test_a_table_whose_device_is_code_runs_none(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.py").write_text("open('ran', 'w')\n")
    node = {"mean": 1.0, "std": 0.0, "n": 1}
    table = {
        "format": "onepath latency table, 1",
        "space": {"name": "x", "arguments": {}, "fingerprint": "x", "network": "x"},
        **{"input_shape": [1, 8, 8], "device": name, "batch": 1, "dtype": "float32", "threads": 1},
        **{"runtime_version": None, "processor": None, "unit": "ms", "errors": {}, "evidence": {}},
        **{
            "calibration": {"slope": 1.0, "intercept": 0.0},
            "entries": {"a": node},
            "constant": ["a"],
            "terms": [],
        },
    }
    (tmp_path / "table.json").write_text(json.dumps(table))
    given = ("run", "--latency-table", "table.json", "--max-latency-ms", "5", "--out", "run")
    status, _, err = call(capsys, *given)
    assert status == 2
    assert "name the device with --device" in err
    assert not (tmp_path / "ran").exists()
    assert not (tmp_path / "run").exists()
