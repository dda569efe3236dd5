from __future__ import annotations

from pathlib import Path

import pytest
import torch

from onepath import spaces
from onepath.errors import ConfigurationError

OWN = """
from torch import nn
import onepath as op

def build(num_classes, in_channels=3):
    return nn.Sequential(
        op.ChoiceBlock({"relu": nn.ReLU(), "skip": nn.Identity()}), nn.Flatten(), nn.LazyLinear(num_classes)
    )

def broken(num_classes):
    return num_classes
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
        ("shuflenet", "Did you mean shufflenet"),
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
