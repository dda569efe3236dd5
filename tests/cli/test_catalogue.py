from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from onepath import cost, spaces
from onepath.cli import main
from onepath.cli.catalogue import describe_spaces, measure_space

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


def test_cost_prints_every_cost(capsys: pytest.CaptureFixture[str]) -> None:
    asked = ("cost", "nasbench-macro", "--architecture", "00000000")
    found = json.loads(printed(capsys, *asked, "--json"))
    assert set(cost.COSTS) <= set(found)
    assert found["memory"] > 3 * 32 * 32 * 4
    assert found["size"] > 4 * found["params"]  # statistics of normalisation, too
    assert printed(capsys, *asked).splitlines()[2] == (
        f"{found['layers']} layers, {found['memory']:,} bytes of activations, {found['size']:,} bytes of weights"
    )


def test_given_sizes_come_first(capsys: pytest.CaptureFixture[str]) -> None:
    sizes = ("--num-classes", "3", "--input-size", "16", "--in-channels", "1", "--width", "0.5")
    found = json.loads(
        printed(capsys, "cost", "nasbench-macro", "--architecture", "22212220", *sizes, "--json")
    )
    assert (found["num_classes"], found["input_shape"]) == (3, [1, 16, 16])
    assert found["options"]["stages.2.2"] == "identity"


FIGURES = {space["name"]: space for space in describe_spaces()}
WHOLE = ("nasbench-macro", "nasbench201")


def test_spaces_are_described_at_their_papers_settings() -> None:
    assert tuple(FIGURES) == spaces.names()
    macro, cells = FIGURES["nasbench-macro"], FIGURES["nasbench201"]
    assert (macro["size"], macro["num_classes"], macro["input_shape"]) == (6561, 10, [3, 32, 32])
    assert (cells["params"]["min"], cells["params"]["max"]) == (73_306, 73_306 + 6 * 243_040)
    for space in FIGURES.values():
        for kind in ("macs", "params"):
            assert space[kind]["min"] <= space[kind]["median"] <= space[kind]["max"]


@pytest.mark.parametrize("name", spaces.names())
def test_figures_of_a_space_are_of_the_space_as_it_is(name: str) -> None:
    """Cheap: what needs no table, and that two architectures lie between the extremes."""
    described = FIGURES[name]
    num_classes, size = spaces.paper_setting(name)
    supernet = spaces.build(name, num_classes, input_size=size, in_channels=3)
    shape = spaces.example_shape(supernet, size, 3)
    space = supernet.space
    assert (described["size"], described["num_choices"]) == (space.size, space.num_choices)
    assert (described["num_classes"], described["input_shape"]) == (num_classes, list(shape))
    architecture = space.random(np.random.default_rng(0))
    found = cost.architecture_cost(supernet, architecture, shape)
    assert described["macs"]["min"] <= found.macs <= described["macs"]["max"]
    assert described["params"]["min"] <= found.params <= described["params"]["max"]


@pytest.mark.parametrize(
    "name",
    [name if name in WHOLE else pytest.param(name, marks=pytest.mark.slow) for name in spaces.names()],
)
def test_figures_are_those_that_are_measured(name: str) -> None:
    """Where it fails, run `python scripts/space_figures.py`."""
    assert FIGURES[name] == measure_space(name)


def test_spaces_are_listed_without_torch() -> None:
    code = (
        "import sys; from onepath.cli import main; main(['spaces']); "
        "sys.exit(int(bool({'torch', 'numpy'} & set(sys.modules))))"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    lines = printed.splitlines()
    assert len(lines) == len(FIGURES) + 2
    assert lines[0].split()[:2] == ["space", "architectures"]
    assert [line.split()[0] for line in lines[1:-1]] == list(FIGURES)


def test_every_space_has_its_papers_setting() -> None:
    assert all(spaces.paper_setting(name)[1] in (32, 35, 224) for name in spaces.names() if name != "mlp")
    assert set(spaces.names()) == set(spaces.catalogue.PAPER_SETTINGS)
    assert spaces.paper_setting("own.py:build") == (1000, 224)


SPECTRAL = """
import torch
from torch import nn
from onepath.nn import ChoiceBlock

class Spectrum(nn.Module):
    def forward(self, x):
        return torch.fft.irfft(torch.fft.rfft(x), n=x.shape[-1])

def build(num_classes, input_size, in_channels=3):
    block = ChoiceBlock({"linear": nn.Linear(input_size, input_size), "spectrum": Spectrum()})
    features = in_channels * input_size**2
    return nn.Sequential(block, nn.Flatten(), nn.Linear(features, num_classes))
"""


def test_what_cannot_be_counted_is_said_beside_the_count(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "spectral.py"
    path.write_text(SPECTRAL)
    asked = ["cost", f"{path}:build", "--num-classes", "2", "--input-size", "4", "--architecture"]
    assert main([*asked, "1"]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[1] == "96 MACs, 98 parameters"
    assert err == "MACs leave out what has no counter: aten::_fft_r2c in 0, aten::_fft_c2r in 0\n"
    assert main([*asked, "1", "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["uncounted"] == {"aten::_fft_r2c": "0", "aten::_fft_c2r": "0"}
    assert err
    assert main([*asked, "0", "--json"]) == 0
    out, err = capsys.readouterr()
    assert "uncounted" not in json.loads(out)
    assert not err
