"""A whole run on sequences (C, T) with a space of one's own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest

import onepath as op
from onepath.errors import ConfigurationError
from onepath.runs.definition import RunDefinition
from onepath.runs.making import make_config

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 3, 32)).astype(np.float32)
Y = np.arange(60) % 3
SPACE = """
from torch import nn
import onepath as op


class Network(nn.Module):
    def __init__(self, num_classes, in_channels):
        super().__init__()
        self.stem = nn.Conv1d(in_channels, 4, 3, padding=1)
        self.block = op.ChoiceBlock({"conv3": self.conv(3), "conv5": self.conv(5), "skip": nn.Identity()})
        self.head = nn.Linear(4, num_classes)

    @staticmethod
    def conv(size):
        return nn.Sequential(nn.Conv1d(4, 4, size, padding=size // 2), nn.BatchNorm1d(4), nn.ReLU())

    def forward(self, x):
        return self.head(self.block(self.stem(x)).mean(-1))


def build(num_classes, in_channels):
    return Network(num_classes, in_channels)
"""


def test_a_run_on_sequences_ends(tmp_path: Path) -> None:
    (tmp_path / "space.py").write_text(SPACE)
    found = op.run(
        (X, Y),
        space=f"{tmp_path / 'space.py'}:build",
        out=tmp_path / "run",
        epochs=1,
        retrain_epochs=1,
        population=2,
        generations=0,
        num_baselines=0,
        workers=1,
    )
    assert found.result["data"]["input_shape"] == [3, 32]
    session = onnxruntime.InferenceSession(tmp_path / "run" / "model.onnx")
    (outputs,) = session.run(None, {session.get_inputs()[0].name: X[:5]})
    assert outputs.shape == (5, 3)
    assert "read as sequences with the channels first" in (tmp_path / "run" / "report.html").read_text()


@pytest.mark.parametrize("space", ["shufflenet", "mobilenet", "darts", "zennas", "darts-rnn"])
def test_ready_made_spaces_refuse_sequences_before_training(tmp_path: Path, space: str) -> None:
    method = "zen" if space == "zennas" else "spos"
    with pytest.raises(
        ConfigurationError,
        match=rf"nn.Conv1d, but the data are sequences of 3 channels and 32 steps .* {space}; give",
    ) as caught:
        op.run((X, Y), space=space, method=method, out=tmp_path / "run")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_the_options_that_say_how_data_are_read(tmp_path: Path) -> None:
    (tmp_path / "space.py").write_text(SPACE)
    np.savez(tmp_path / "data.npz", x_train=X, y_train=Y)
    for options, shape in (({"channels": "last"}, (32, 3)), ({"kind": "images"}, (1, 3, 32))):
        config = make_config({"data": str(tmp_path / "data.npz"), **options})
        assert RunDefinition(tmp_path, config, {}).task.input_shape == shape
    with pytest.raises(ConfigurationError, match="channels must be 'first' or 'last', but got 'middle'"):
        make_config({"channels": "middle"})
    with pytest.raises(ConfigurationError, match="sequences of 32 channels and 3 steps"):
        op.run((X, Y), test_data=(X[:6], Y[:6]), channels="last", out=tmp_path / "run")
