"""The files hold the network, run without onepath, and leave the network as it was."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import nn

from onepath.errors import RunDirectoryError, ShapeError, UserError
from onepath.export import export_onnx, export_program, save_weights, trace

BLOCKER = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("onepath", "export_networks"):
            raise ImportError(f"{name} is blocked")
sys.meta_path.insert(0, Blocker())
"""

CHECK_BLOCKED = """
try:
    import onepath
except ImportError:
    pass
else:
    raise SystemExit("onepath could be imported")
import json
jobs = json.loads(sys.argv[1])
"""

RUN_ONNX = """
import numpy, onnxruntime
for file, inputs, outputs in jobs:
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    numpy.save(outputs, session.run(None, {session.get_inputs()[0].name: numpy.load(inputs)})[0])
assert "torch" not in sys.modules
"""

RUN_PROGRAM = """
import numpy, torch
for file, inputs, outputs in jobs:
    x = torch.from_numpy(numpy.load(inputs)).to(memory_format=torch.channels_last)
    numpy.save(outputs, torch.export.load(file).module()(x).detach().numpy())
"""


def run_without_onepath(code: str, jobs: list[tuple[Path, Path, Path]]) -> None:
    """Runs each (file, inputs, outputs) where onepath cannot be imported; warnings are errors."""
    process = subprocess.run(
        [
            sys.executable,
            "-I",
            "-W",
            "error",
            "-c",
            BLOCKER + CHECK_BLOCKED + code,
            json.dumps(jobs, default=str),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert process.returncode == 0, process.stderr


def expected_outputs(model: nn.Module, batch: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return copy.deepcopy(model).eval()(torch.from_numpy(batch)).numpy()


@pytest.mark.parametrize(("kind", "code"), [("onnx", RUN_ONNX), ("program", RUN_PROGRAM)])
def test_file_runs_without_onepath_at_any_batch_size(cases, kind: str, code: str, tmp_path: Path) -> None:
    jobs, expected = [], []
    for case in cases.values():
        for size in (1, 2, 5):
            batch = np.ascontiguousarray(case.inputs[:size].numpy())
            inputs, outputs = tmp_path / f"inputs{len(jobs)}.npy", tmp_path / f"outputs{len(jobs)}.npy"
            np.save(inputs, batch)
            jobs.append((getattr(case, kind), inputs, outputs))
            expected.append(expected_outputs(case.model, batch))
    run_without_onepath(code, jobs)
    for (_, _, outputs), values in zip(jobs, expected, strict=True):
        np.testing.assert_allclose(np.load(outputs), values, rtol=0, atol=2e-6)


def test_program_equals_the_network_to_the_bit_for_contiguous_weights(
    networks: ModuleType, tmp_path: Path
) -> None:
    model = networks.with_statistics(networks.ShuffleNet()).eval()
    path = export_program(model, (3, 8, 8), tmp_path / "model.pt2")
    inputs = torch.randn(7, 3, 8, 8)
    assert torch.equal(torch.export.load(path).module()(inputs), model(inputs))


def test_program_takes_channels_last_inputs_of_a_network_with_views(
    networks: ModuleType, tmp_path: Path
) -> None:
    model = networks.ViewOfInput().eval()
    path = export_program(model, (3, 4, 4), tmp_path / "model.pt2")
    inputs = torch.randn(6, 3, 4, 4).to(memory_format=torch.channels_last)
    torch.testing.assert_close(torch.export.load(path).module()(inputs), model(inputs))


def test_onnx_is_one_valid_file_with_named_dynamic_batch_and_no_trace_of_the_source(case) -> None:
    import onnx

    assert [file.name for file in case.onnx.parent.glob("*.onnx*")] == ["model.onnx"]
    proto = onnx.load(case.onnx, load_external_data=False)
    onnx.checker.check_model(proto, full_check=True)
    assert all(item.data_location == onnx.TensorProto.DEFAULT for item in proto.graph.initializer)
    (entry,), (output,) = proto.graph.input, proto.graph.output
    dims = entry.type.tensor_type.shape.dim
    assert (entry.name, output.name, dims[0].dim_param) == ("input", "output", "batch")
    assert tuple(dim.dim_value for dim in dims[1:]) == case.input_shape
    (opset,) = proto.opset_import
    assert opset.version >= 20
    assert not any(trace in case.onnx.read_bytes() for trace in (b".py", b"stack_trace", b"class_hierarchy"))


def test_model_is_left_as_it_was(networks: ModuleType, tmp_path: Path) -> None:
    model = networks.with_statistics(networks.ShuffleNet(1)).to(memory_format=torch.channels_last).train()
    model.stem.eval()
    modes = [module.training for module in model.modules()]
    strides = [tensor.stride() for tensor in model.parameters()]
    state = {name: value.clone() for name, value in model.state_dict().items()}
    export_onnx(model, (3, 8, 8), tmp_path / "model.onnx")
    export_program(model, (3, 8, 8), tmp_path / "model.pt2")
    save_weights(model, tmp_path / "model.safetensors")
    assert [module.training for module in model.modules()] == modes
    assert [tensor.stride() for tensor in model.parameters()] == strides
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_exports_are_silent_and_the_same_bytes_every_time(
    networks: ModuleType, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    model = networks.ShuffleNet(1)
    for export in (export_onnx, export_program):
        files = [export(model, (3, 8, 8), tmp_path / f"{i}").read_bytes() for i in range(2)]
        assert files[0] == files[1]
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")


def test_weights_come_back_contiguous_with_names_and_notes(networks: ModuleType, tmp_path: Path) -> None:
    from safetensors import safe_open
    from safetensors.torch import load_file

    model = networks.with_statistics(networks.ShuffleNet()).to(memory_format=torch.channels_last)
    path = save_weights(
        model,
        tmp_path / "model.safetensors",
        input_shape=(3, 8, 8),
        class_names=("</script>", "naïve", "c", "d", "e"),
        metadata={"architecture": "2,1"},
    )
    with safe_open(path, "pt") as file:
        notes = file.metadata()
    assert json.loads(notes["input_shape"]) == [3, 8, 8]
    assert json.loads(notes["class_names"]) == ["</script>", "naïve", "c", "d", "e"]
    assert notes["architecture"] == "2,1"
    tensors = load_file(path)
    assert all(tensor.is_contiguous() for tensor in tensors.values())
    other = networks.ShuffleNet()
    other.load_state_dict(tensors)
    inputs = torch.randn(2, 3, 8, 8)
    torch.testing.assert_close(other.eval()(inputs), model.eval()(inputs))


def test_weights_that_share_storage_are_written_whole(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    first, second = nn.Linear(3, 3), nn.Linear(3, 3)
    second.weight = first.weight
    tensors = load_file(save_weights(nn.Sequential(first, second), tmp_path / "model.safetensors"))
    assert torch.equal(tensors["0.weight"], tensors["1.weight"])


def test_weights_refuse_state_that_is_no_tensor(tmp_path: Path) -> None:
    class Noted(nn.Module):
        def get_extra_state(self) -> dict[str, int]:
            return {"version": 1}

        def set_extra_state(self, state: dict[str, int]) -> None: ...

    with pytest.raises(UserError, match="_extra_state is a dict"):
        save_weights(Noted(), tmp_path / "model.safetensors")


def test_wrong_shapes_and_networks_are_one_line(networks: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(
        ShapeError, match=r"must accept inputs of shape \(1, 8, 8\), but .*channels"
    ) as caught:
        trace(networks.ShuffleNet(1), (1, 8, 8))
    assert "\n" not in str(caught.value)
    with pytest.raises(ShapeError, match=r"got \(3, 0, 8\)"):
        trace(networks.ShuffleNet(1), (3, 0, 8))
    with pytest.raises(UserError, match="one tensor") as caught:
        trace(networks.TwoOutputs(), (3, 8, 8))
    with pytest.raises(UserError, match="traceable for any batch size") as caught:
        trace(networks.Branching(), (3, 8, 8))
    assert "\n" not in str(caught.value)


def test_unwritable_place_leaves_the_old_file(networks: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(RunDirectoryError):
        export_program(networks.ShuffleNet(1), (3, 8, 8), tmp_path / "absent" / "model.pt2")
    old = tmp_path / "model.onnx"
    old.write_bytes(b"old")
    with pytest.raises(ShapeError):
        export_onnx(networks.ShuffleNet(1), (1, 8, 8), old)
    assert old.read_bytes() == b"old"
    assert [file.name for file in tmp_path.iterdir()] == ["model.onnx"]


@pytest.mark.slow
def test_twenty_blocks_export_in_reasonable_time(networks: ModuleType, tmp_path: Path) -> None:
    model = networks.ShuffleNet(num_blocks=20, width=32)
    start = time.perf_counter()
    program = trace(model, (3, 32, 32))
    export_onnx(program, (3, 32, 32), tmp_path / "model.onnx")
    export_program(program, (3, 32, 32), tmp_path / "model.pt2")
    assert time.perf_counter() - start < 30


def test_a_network_that_branches_on_values_is_told_in_one_line(capfd: pytest.CaptureFixture[str]) -> None:
    """And torch prints no graph."""

    class Branching(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(8, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.layer(x)
            return y.relu() if y.mean() > 0 else y

    with pytest.raises(UserError, match="do not branch on values") as raised:
        trace(Branching(), (8,))
    assert len(str(raised.value).splitlines()) == 1
    assert capfd.readouterr() == ("", "")
