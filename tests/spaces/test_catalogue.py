from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest
import torch

from onepath import spaces
from onepath.errors import ConfigurationError
from onepath.spaces.arguments import _TAKEN
from onepath.spaces.catalogue import BUILDERS

OWN = """
from torch import nn
import onepath as op

def build(num_classes, in_channels=3):
    return nn.Sequential(
        op.ChoiceBlock({"relu": nn.ReLU(), "skip": nn.Identity()}), nn.Flatten(), nn.LazyLinear(num_classes)
    )

def broken(num_classes):
    return num_classes

def needs(num_classes, kernel):
    return nn.Conv2d(1, 8, kernel // 2)
"""


@pytest.fixture
def own(tmp_path: Path) -> str:
    path = tmp_path / "my space.py"
    path.write_text(OWN)
    return str(path)


def test_own_space_from_a_file(own: str) -> None:
    supernet = spaces.build(f"{own}:build", num_classes=3, input_size=8, in_channels=1)
    assert supernet.space.names == ("0",)
    assert supernet(torch.randn(2, 1, 8, 8), supernet.space.parse("1")).shape == (2, 3)


def test_building_leaves_the_global_generator_alone() -> None:
    state = torch.random.get_rng_state()
    spaces.build("shufflenet", num_classes=3, input_size=8, width=0.1)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_errors_say_what_to_do(own: str, tmp_path: Path) -> None:
    crash = tmp_path / "crash.py"
    crash.write_text("1 / 0")
    for name, message in (
        ("shuflenet", "did you mean shufflenet"),
        (str(tmp_path / "absent.py") + ":build", "must exist"),
        (f"{own}:other", "no callable 'other'"),
        (f"{crash}:build", "ZeroDivisionError"),
        (f"{own}:broken", "must return a torch.nn.Module"),
    ):
        with pytest.raises(ConfigurationError, match=message) as error:
            spaces.build(name, num_classes=3)
        assert "\n" not in str(error.value)
    with pytest.raises(ConfigurationError, match="width"):
        spaces.build(f"{own}:build", num_classes=3, width=0.5)


@pytest.mark.parametrize(
    ("space", "name", "values"),
    [
        ("nasbench201", "num_cells", ("many", 0, 10**9, 2.0, True, [1], {})),
        ("darts", "cells", ("a", 2, 101, 3.5)),
        ("darts", "channels", ("a", 3, 0, 10**6, -2)),
        ("darts", "drop_path", ("a", 1, -0.1, float("nan"), [0.1])),
        ("enas-macro", "num_layers", ("a", 2, 101, 3.5)),
        ("darts", "auxiliary_weight", ("a", -1, 1e9, float("inf"))),
        ("mobilenet", "squeeze_ratio", ("half", 0, 6.5, True, [1])),
        (
            "shufflenet-channels",
            "scales",
            (1, "wide", [], [0], [9], ["1"], [1, 1], {"a": 1}, [1 + n / 999 for n in range(101)]),
        ),
        ("darts-rnn", "hidden", ("a", 0, 10**6, 1.5)),
        ("darts-rnn", "num_nodes", ("a", 0, 10**6)),
        ("ofa-resnet50", "resolutions", (3, "a", [0], [16, 16], [16.5], [True])),
        *(
            ("darts-rnn", f"dropout_{name}", ("a", 1, -1))
            for name in ("words", "inputs", "cell_inputs", "states", "outputs")
        ),
    ],
)
def test_a_wrong_argument_names_the_space_and_what_it_takes(
    space: str, name: str, values: tuple[Any, ...]
) -> None:
    for value in values:
        with pytest.raises(ConfigurationError, match=f"^argument {name} of space {space} must be") as error:
            spaces.build(space, num_classes=3, **{name: value})
        assert "but got" in str(error.value)
        assert "\n" not in str(error.value)


def test_every_further_argument_of_the_ready_made_spaces_is_checked() -> None:
    common = {"num_classes", "input_size", "in_channels", "width"}
    own = {name for builder in BUILDERS.values() for name in inspect.signature(builder).parameters} - common
    assert own == set(_TAKEN)
    for builder in BUILDERS.values():
        for name, parameter in inspect.signature(builder).parameters.items():
            assert name in common or parameter.default is None or _TAKEN[name].holds(parameter.default), name


def test_an_argument_that_a_space_does_not_take(own: str) -> None:
    for name in ("nasbench201", f"{own}:build"):
        with pytest.raises(
            ConfigurationError, match=r"must be one of num_classes, .*but got 'nodes'; leave it out"
        ):
            spaces.build(name, num_classes=3, nodes=2)
    with pytest.raises(
        ConfigurationError, match=r"takes num_classes, kernel \(missing a required argument: 'kernel'\)"
    ):
        spaces.build(f"{own}:needs", num_classes=3)
    with pytest.raises(ConfigurationError, match=r"my space.py, line \d+, in needs, raised TypeError"):
        spaces.build(f"{own}:needs", num_classes=3, kernel="wide")
