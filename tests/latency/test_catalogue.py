"""Devices are found by name, in a file of the user's, or behind a command."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch
from torch import nn

from onepath.errors import ConfigurationError
from onepath.latency import device, devices, measure

OWN = """
from onepath.latency import Device

class Board(Device):
    precisions = ("float32", "int8")
    def prepare(self, model, input_shape):
        return Counted(sum(p.numel() for p in model.parameters()) * self.batch)

class Named(Board):
    name = "board-7"

class Counted:
    def __init__(self, ms):
        self.ms = ms
    def run(self):
        return float(self.ms)
    def close(self):
        pass

class Unfinished(Device):
    pass

number = 3
"""


@pytest.fixture
def own(tmp_path: Path) -> Path:
    path = tmp_path / "board.py"
    path.write_text(OWN)
    return path


def test_every_device_is_listed_with_a_reason_where_it_is_missing() -> None:
    listed = dict(devices())
    assert list(listed) == ["torch-cpu", "onnxruntime-cpu", "openvino-cpu", "torch-cuda", "onnxruntime-cuda"]
    assert listed["torch-cpu"] is None
    assert listed["onnxruntime-cpu"] is None
    assert (listed["torch-cuda"] is None) == torch.cuda.is_available()
    assert (listed["openvino-cpu"] is None) == (importlib.util.find_spec("openvino") is not None)


def test_settings_say_what_a_latency_belongs_to() -> None:
    settings = device("torch-cpu", threads=2, batch=4, precision="bfloat16").settings()
    assert settings.pop("processor")
    assert settings == {
        "name": "torch-cpu",
        "batch": 4,
        "threads": 2,
        "precision": "bfloat16",
        "version": torch.__version__,
    }
    assert device("onnxruntime-cpu").threads == torch.get_num_threads()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA card")
@pytest.mark.parametrize("name", ["torch-cuda", "onnxruntime-cuda"])
def test_a_device_that_is_not_here_is_refused_with_the_reason(name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{name} is not: .*CUDA"):
        device(name)


def test_a_class_of_the_users_is_a_device(own: Path) -> None:
    board = device(f"{own}:Board", batch=2, precision="int8")
    assert board.name == f"{own}:Board"
    assert board.settings()["precision"] == "int8"
    small, large = measure(board, [nn.Linear(3, 1), nn.Linear(7, 1)], (3,), blocks=2)
    assert (small.median_ms, large.median_ms) == (8.0, 16.0)
    assert device(f"{own}:Named").name == "board-7"


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("onnxruntime", {}, "did you mean onnxruntime-cpu"),
        ("pixel", {}, "a device must be one of torch-cpu, .* path/to/file.py:Class, but got 'pixel'"),
        ("absent.py:Board", {}, "'absent.py' does not"),
        ("{own}:Missing", {}, "its 'Missing' is not one"),
        ("{own}:number", {}, "its 'number' is not one"),
        ("{own}:Unfinished", {}, "have `prepare`"),
        ("{own}:Board", {"precision": "float16"}, "must be one of float32, int8, but got 'float16'"),
        ("{broken}:Board", {}, "raised ZeroDivisionError"),
        ("torch-cpu", {"precision": "int4"}, "precision of torch-cpu must be one of float32, bfloat16"),
        ("torch-cpu", {"threads": 0}, "threads must be 1 or more, but got 0"),
        ("torch-cpu", {"batch": 0}, "batch must be 1 or more, but got 0"),
        ("exec:", {}, "exec: must be followed by a command"),
        ("exec:'open", {}, "must be quoted as in a shell"),
        ("exec:./no-such-program", {}, "there is no program ./no-such-program"),
        ("exec:{own}", {}, "is not executable: chmod"),
    ],
)
def test_names_that_are_no_device(
    own: Path, tmp_path: Path, name: str, settings: dict[str, object], message: str
) -> None:
    broken = tmp_path / "broken.py"
    broken.write_text("1 / 0")
    with pytest.raises(ConfigurationError, match=message) as caught:
        device(name.format(own=own, broken=broken), **settings)
    assert "\n" not in str(caught.value)
