from __future__ import annotations

import json

import pytest

from onepath import spaces
from onepath.cli import main
from onepath.cli.catalogue import describe_spaces

CELL = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_1x1~2|"


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(list(arguments)) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize(
    ("space", "architecture", "cost"),
    [
        ("mobilenet", "2,0,2,3,5,0,0,5,5,1,3,1,1,3,3,5,3,5,4", "388,122,848 MACs, 4,651,352 parameters"),
        ("nasbench-macro", "00011110", "31,390,208 MACs, 1,118,378 parameters"),
        ("nasbench201", CELL, "153,272,960 MACs, 1,073,466 parameters"),
    ],
)
def test_cost_is_at_the_papers_setting(
    capsys: pytest.CaptureFixture[str], space: str, architecture: str, cost: str
) -> None:
    assert printed(capsys, "cost", space, "--architecture", architecture).splitlines()[1] == cost


def test_given_sizes_come_first(capsys: pytest.CaptureFixture[str]) -> None:
    sizes = ("--num-classes", "3", "--input-size", "16", "--in-channels", "1", "--width", "0.5")
    found = json.loads(
        printed(capsys, "cost", "nasbench-macro", "--architecture", "22212220", *sizes, "--json")
    )
    assert (found["num_classes"], found["input_shape"]) == (3, [1, 16, 16])
    assert found["options"]["stages.2.2"] == "identity"


def test_spaces_are_described_at_their_papers_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onepath.spaces.names", lambda: ("nasbench-macro", "nasbench201"))
    macro, cells = describe_spaces()
    assert (macro["size"], macro["num_classes"], macro["input_shape"]) == (6561, 10, [3, 32, 32])
    assert (cells["params"]["min"], cells["params"]["max"]) == (73_306, 73_306 + 6 * 243_040)
    assert macro["macs"]["min"] < macro["macs"]["median"] < macro["macs"]["max"]


def test_every_space_has_its_papers_setting() -> None:
    assert all(spaces.paper_setting(name)[1] in (32, 35, 224) for name in spaces.names())
    assert set(spaces.names()) == set(spaces.catalogue.PAPER_SETTINGS)
    assert spaces.paper_setting("own.py:build") == (1000, 224)
