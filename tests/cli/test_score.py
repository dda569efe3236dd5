"""`onepath score` on a tiny space."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from onepath.cli import main
from onepath.estimate.scores import catalogue

SPACE = """
import torch
from torch import nn
from onepath import ChoiceBlock

class Nothing(nn.Module):
    def forward(self, x):
        return torch.zeros_like(x)

def conv(size):
    return nn.Sequential(nn.Conv2d(4, 4, size, padding=size // 2), nn.BatchNorm2d(4), nn.ReLU())

class Net(nn.Module):
    def __init__(self, num_classes, in_channels=1):
        super().__init__()
        self.stem = nn.Conv2d(in_channels, 4, 3, padding=1)
        self.blocks = nn.Sequential(*[
            ChoiceBlock({"none": Nothing(), "one": conv(1), "three": conv(3)}) for _ in range(3)
        ])
        self.head = nn.Linear(4, num_classes)

    def forward(self, x):
        return self.head(self.blocks(self.stem(x)).mean(dim=(2, 3)))

build = Net
"""
SMALL = ("--data", "digits", "--batch-size", "8", "--num", "20")


@pytest.fixture
def space(tmp_path: Path) -> str:
    (tmp_path / "tiny.py").write_text(SPACE)
    return f"{tmp_path / 'tiny.py'}:build"


def call(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    capsys.readouterr()
    status = main(arguments)
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def scored(capsys: pytest.CaptureFixture[str], space: str, out: Path, *more: str) -> dict[str, object]:
    status, text, error = call(capsys, "score", space, *SMALL, "--out", str(out), "--json", *more)
    assert status == 0, error
    found: dict[str, object] = json.loads(text)
    return found


def test_table_json_and_page(capsys: pytest.CaptureFixture[str], tmp_path: Path, space: str) -> None:
    out = tmp_path / "scores.html"
    found = scored(capsys, space, out, "--proxy", "zen,snip,params")
    networks = found["networks"]
    assert isinstance(networks, list)
    assert len({row["architecture"] for row in networks}) == found["num"] == 20
    ranks = [row["mean_rank"] for row in networks]
    assert ranks == sorted(ranks, reverse=True)
    dead = [row for row in networks if "none" in str(row["architecture"]) or "0" in row["architecture"]]
    assert 0 < len(dead) < 20
    assert found["num_degenerate"] == {"zen": len(dead), "snip": len(dead), "params": 0}
    assert all(row["scores"]["snip"] is None and row["reasons"]["snip"] for row in dead)
    page = out.read_text()
    assert "best tenth by mean rank" in page
    assert f"snip ({len(dead)} degenerate)" in page
    assert json.loads(out.with_suffix(".json").read_text())["networks"] == networks
    status, text, _ = call(capsys, "score", space, *SMALL, "--out", str(out), "--proxy", "zen,snip,params")
    assert status == 0
    assert "mean rank" in text.splitlines()[0]
    assert f"snip: {len(dead)} of 20 degenerate (" in text
    assert "does not depend on the" in text


def test_limits_hold_and_weights_count(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, space: str
) -> None:
    out = tmp_path / "scores.html"
    found = scored(
        capsys, space, out, "--proxy", "params,l2_norm", "--max-params", "350", "--weight", "params=1e9"
    )
    networks = found["networks"]
    assert isinstance(networks, list)
    assert found["limits"] == {"max_params": 350}
    counts = [row["params"] for row in networks]
    assert counts == sorted(counts, reverse=True)
    assert max(counts) <= 350


def test_continues_after_a_kill(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, space: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = scored(capsys, space, tmp_path / "whole.html", "--proxy", "snip,l2_norm")
    calls: list[int] = []
    compute = catalogue.scores

    def killed(*arguments: object, **named: object) -> object:
        calls.append(1)
        if len(calls) == 8:
            raise KeyboardInterrupt
        return compute(*arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr("onepath.estimate.scores", killed)
    out = tmp_path / "killed.html"
    command = ("score", space, *SMALL, "--out", str(out), "--proxy", "snip,l2_norm")
    status, _, error = call(capsys, *command)
    assert status == 130
    assert "continues where it stopped" in error
    continued = scored(capsys, space, out, "--proxy", "snip,l2_norm")
    assert continued["networks"] == whole["networks"]
    # Seven were whole before; of those only degenerate ones are scored again, for the reason.
    dead = whole["num_degenerate"]
    assert isinstance(dead, dict)
    assert len(calls) <= 8 + 13 + dead["snip"]


def test_more_continue_fewer_and_fewer_read_more(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, space: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    compute = catalogue.scores
    monkeypatch.setattr("onepath.estimate.scores", lambda *a, **k: asked.append(1) or compute(*a, **k))
    out, found = tmp_path / "scores.html", {}
    for num, new in (("4", 4), ("9", 5), ("6", 0)):
        asked.clear()
        rows = scored(capsys, space, out, "--proxy", "l2_norm,params", "--num", num)["networks"]
        assert isinstance(rows, list)
        assert len(asked) == new
        found[num] = {row["architecture"]: row["scores"] for row in rows}
    assert found["4"].items() <= found["6"].items() <= found["9"].items()


def test_mistakes(capsys: pytest.CaptureFixture[str], tmp_path: Path, space: str) -> None:
    out = str(tmp_path / "scores.html")
    for arguments, expected in (
        (("--proxy", "sen"), "a score must be one of"),
        (("--proxy", "snip"), "snip reads real examples, but none came; give --data"),
        (("--proxy", "zen", "--weight", "nwot=1"), "a weight must be above 0 and of one of the scores zen"),
        (("--proxy", "zen", "--weight", "zen"), "--weight must be name=number"),
        (("--proxy", "zen", "--max-params", "10"), "max_params must be at least the smallest cost"),
        (("--proxy", "zen", "--max-macs", "many"), "must be a whole number"),
        (("--proxy", "zen", "--device", "foo"), "a device must be cpu"),
    ):
        status, text, error = call(
            capsys, "score", space, "--num-classes", "10", "--input-size", "8", "--in-channels", "1",
            "--out", out, *arguments,
        )  # fmt: skip
        assert (status, text, error.count("\n")) == (2, "", 1)
        assert expected in error
    status, _, error = call(capsys, "score", space, "--out", str(tmp_path / "scores.json"))
    assert status == 2
    assert "--out must be an .html" in error


def test_fewer_than_asked_for_where_the_space_has_fewer(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, space: str
) -> None:
    found = scored(capsys, space, tmp_path / "all.html", "--proxy", "params", "--num", "500")
    assert found["num"] == 27
