"""The runtimes themselves: larger networks take longer, on the values and threads that were asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from onepath.errors import RunDirectoryError, ShapeError, UserError
from onepath.export import export_onnx
from onepath.latency import device, devices, measure
from onepath.latency.onnx_device import bound_run, write_for_timing

SHAPE = (3, 24, 24)
USABLE = [entry.name for entry in devices() if entry.missing is None]


def network(width: int, num_layers: int = 3) -> nn.Module:
    layers: list[nn.Module] = []
    for index in range(num_layers):
        channels = width if index else 3
        layers += [nn.Conv2d(channels, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 5))


@pytest.mark.parametrize("name", USABLE)
def test_more_work_takes_longer(name: str) -> None:
    small, large = measure(
        device(name, threads=1), [network(8), network(128)], SHAPE, blocks=7, repeats=3, max_tries=1
    )
    assert 0 < 3 * small.median_ms < large.median_ms < 1000
    assert small.threads == large.threads == 1
    assert small.repeats == 21


@pytest.mark.parametrize("name", USABLE)
def test_a_larger_batch_takes_longer_and_the_network_is_left_alone(name: str) -> None:
    model = network(32).train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    threads = torch.get_num_threads()
    times_ms = [
        measure(device(name, threads=1, batch=batch), [model], SHAPE, blocks=5, repeats=2, max_tries=1)[
            0
        ].median_ms
        for batch in (1, 16)
    ]
    assert times_ms[1] > 3 * times_ms[0]
    assert model.training
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize("name", USABLE)
def test_weights_that_shrink_activations_to_subnormal_numbers_take_no_longer(name: str) -> None:
    def convolutions(deviation: float) -> nn.Module:
        layers = [nn.Conv2d(3 if index == 0 else 32, 32, 3, bias=False) for index in range(8)]
        for layer in layers:
            nn.init.normal_(layer.weight, std=deviation)
        return nn.Sequential(*layers)

    with torch.no_grad():
        last = convolutions(1e-6)(torch.rand(1, *SHAPE))
    assert 0 <= float(last.abs().max()) < torch.finfo(torch.float32).tiny
    ordinary, shrinking = measure(
        device(name), [convolutions(0.06), convolutions(1e-6)], SHAPE, blocks=7, repeats=3, max_tries=1
    )
    assert shrinking.median_ms < 2 * ordinary.median_ms


def test_torch_runs_on_the_threads_asked_for() -> None:
    seen = []

    class Watch(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen.append((torch.get_num_threads(), x.dtype, self.training, torch.is_inference_mode_enabled()))
            return x

    threads = torch.get_num_threads()
    prepared = device("torch-cpu", threads=threads + 1, precision="bfloat16").prepare(Watch(), SHAPE)
    seen.clear()
    assert prepared.run() > 0
    assert seen == [(threads + 1, torch.bfloat16, False, True)]
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize("name", USABLE)
def test_a_wrong_input_shape(name: str) -> None:
    with pytest.raises(ShapeError, match=r"must accept inputs of shape \(4, 24, 24\)"):
        measure(device(name), [network(8)], (4, 24, 24))


def test_files_are_measured_where_the_runtime_reads_them(tmp_path: Path) -> None:
    path = export_onnx(network(8), SHAPE, tmp_path / "model.onnx")
    for name in set(USABLE) & {"onnxruntime-cpu", "openvino-cpu"}:
        (latency,) = measure(device(name, batch=3), [path], SHAPE, blocks=3, repeats=2)
        assert latency.median_ms > 0
        with pytest.raises(RunDirectoryError, match="there is none"):
            measure(device(name), [tmp_path / "absent.onnx"], SHAPE)
    with pytest.raises(UserError, match="torch-cpu must be given a torch module"):
        measure(device("torch-cpu"), [path], SHAPE)


@pytest.mark.parametrize("can_old_exporter", [True, False])
def test_the_file_to_be_timed_computes_what_the_network_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, can_old_exporter: bool
) -> None:
    model = network(8).eval()
    if not can_old_exporter:
        real = torch.onnx.export

        def export(*arguments: object, dynamo: bool, **settings: object) -> object:
            if not dynamo:
                raise RuntimeError("no symbolic function")
            return real(*arguments, dynamo=dynamo, **settings)

        monkeypatch.setattr(torch.onnx, "export", export)
    path = write_for_timing(model, SHAPE, 2, tmp_path / "model.onnx")
    inputs = torch.rand(2, *SHAPE)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (output,) = session.run(None, {session.get_inputs()[0].name: inputs.numpy()})
    with torch.no_grad():
        np.testing.assert_allclose(output, model(inputs).numpy(), atol=1e-5)


def test_bound_values_stay_where_they_are(tmp_path: Path) -> None:
    path = write_for_timing(nn.Flatten(), SHAPE, 1, tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    inputs = np.ones((1, *SHAPE), dtype=np.float32)
    bound_run(session, inputs, "cpu")()


@pytest.mark.skipif("openvino-cpu" not in USABLE, reason="openvino is not installed")
def test_openvino_computes_in_the_precision_asked_for(tmp_path: Path) -> None:
    import openvino

    (latency,) = measure(device("openvino-cpu"), [network(8)], SHAPE, blocks=3, repeats=2)
    assert latency.median_ms > 0
    (tmp_path / "broken.onnx").write_bytes(b"no network")
    with pytest.raises(UserError, match="OpenVINO must be able to compile the network"):
        device("openvino-cpu").prepare(tmp_path / "broken.onnx", SHAPE)
    lowest = device("openvino-cpu", precision="bfloat16")
    if "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        prepared = lowest.prepare(network(8), SHAPE)
        assert prepared.run() > 0
        prepared.close()
    else:
        with pytest.raises(UserError, match="use float32"):
            lowest.prepare(network(8), SHAPE)
