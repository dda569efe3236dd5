"""Fixtures of the export tests: networks and their files, made once."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor, nn

from onepath.export import export_onnx, export_program, trace


@pytest.fixture(scope="session")
def networks() -> ModuleType:
    """The module of test networks beside this file."""
    spec = importlib.util.spec_from_file_location("export_networks", Path(__file__).with_name("networks.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@dataclass(frozen=True)
class Case:
    model: nn.Module
    input_shape: tuple[int, int, int]
    onnx: Path
    program: Path
    inputs: Tensor


NAMES = ("shuffle", "shuffle channels_last in train mode", "depthwise")


@pytest.fixture(scope="session")
def cases(networks: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Case]:
    """Networks with both their files, and five inputs each in the strides that training uses."""
    torch.manual_seed(0)
    made = {}
    for name in NAMES:
        network = networks.InvertedBottleneck() if name == "depthwise" else networks.ShuffleNet()
        shape = (1, 8, 8) if name == "depthwise" else (3, 8, 8)
        model = networks.with_statistics(network).eval()
        if "channels_last" in name:
            model = model.to(memory_format=torch.channels_last).train()
        folder = tmp_path_factory.mktemp("files")
        program = trace(model, shape)
        made[name] = Case(
            model,
            shape,
            export_onnx(program, shape, folder / "model.onnx"),
            export_program(program, shape, folder / "model.pt2"),
            torch.randn(5, *shape).to(memory_format=torch.channels_last),
        )
    return made


@pytest.fixture(params=NAMES)
def case(request: pytest.FixtureRequest, cases: dict[str, Case]) -> Case:
    return cases[request.param]
