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
    out = tmp_path / "table.json"
    command = ("profile", space, *SMALL, "--out", str(out), "--max-seconds", "2", "--validation", "24")
    status, text, _ = call(capsys, *command)
    assert status == 0, text
    assert "entries of" in text
    assert "Spearman" in text
    table = json.loads(out.read_text())
    assert (table["device"], table["threads"], table["unit"]) == ("torch-cpu", 1, "ms")
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
