"""Conversion on models as their libraries build them; the bounds are those that users rely on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conversion.zoo import MODELS, TIMM, built, difference
from torch import nn
from torch.utils._pytree import tree_map

import onepath as op

pytestmark = pytest.mark.slow


def double(value: Any) -> Any:
    return tree_map(
        lambda x: x.double() if isinstance(x, torch.Tensor) and x.is_floating_point() else x, value
    )


@pytest.mark.parametrize("name", MODELS)
def test_a_model_of_a_library(name: str, tmp_path: Path) -> None:
    if name in TIMM:
        pytest.importorskip("timm")
    model, inputs = built(name)
    supernet = op.convert(model, inputs).eval()
    report = supernet.conversion
    assert [row.path for row in report.rows] == [path for path, _ in model.named_modules()]
    assert sum(row.params for row in report.rows) == sum(p.numel() for p in model.parameters())
    assert all(bool(row.choices) != bool(row.reason) for row in report.rows)
    assert report.elastic_macs_share > 0.9
    is_detector = "rcnn" in name
    space, rng = supernet.space, np.random.default_rng(0)
    largest = space.architecture([choice.options.index(max(choice.options)) for choice in space.choices])
    part, own_inputs, other = (
        (
            model.backbone,
            (torch.randn(1, 3, 320, 320),),
            supernet.module.backbone,
        )  # boxes are chosen by values
        if is_detector
        else (model, inputs, supernet.module)
    )
    with torch.no_grad():
        supernet.activate(largest)
        assert difference(part(*own_inputs), other(*own_inputs)) < 1e-5
        for architecture in space.architectures(space.sample(20, rng)):
            supernet.activate(architecture)
            plain: Any = supernet.extract(architecture).eval()
            plain_part = plain.backbone if is_detector else plain
            found = other(*own_inputs)
            assert difference(found, plain_part(*own_inputs)) < 1e-6
    if not is_detector:
        for architecture in space.architectures(space.sample(3, rng)):
            check_onnx(supernet.extract(architecture).eval(), inputs, tmp_path / "model.onnx")
    exact = op.convert(model.double(), double(inputs)).eval()
    with torch.no_grad():
        exact.activate(exact.space.parse(str(largest)))
        module: Any = exact.module
        one, two = (model.backbone, module.backbone) if is_detector else (model, module)  # type: ignore[union-attr]
        assert difference(one(*double(own_inputs)), two(*double(own_inputs))) < 1e-10  # type: ignore[operator]


def check_onnx(plain: nn.Module, inputs: tuple[Any, ...], path: Path) -> None:
    import onnxruntime

    with torch.no_grad():
        expected = plain(*inputs)
    torch.onnx.export(plain, inputs, str(path), dynamo=True, verbose=False)
    session = onnxruntime.InferenceSession(str(path))
    names = [value.name for value in session.get_inputs()]
    found = session.run(None, {name: x.numpy() for name, x in zip(names, inputs, strict=True)})
    assert difference(expected, torch.from_numpy(found[0])) < 1e-4
