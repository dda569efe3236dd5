"""Parity is what a comparison by hand gives."""

from __future__ import annotations

import copy
import math
from pathlib import Path

import pytest
import torch
from torch import nn

from onepath.errors import RunDirectoryError, ShapeError, UserError
from onepath.export import export_program, onnx_max_abs_error, program_max_abs_error


def test_parity_of_every_case_is_rounding(case) -> None:
    training = case.model.training
    assert onnx_max_abs_error(case.model, case.onnx, case.inputs) < 2e-6
    assert program_max_abs_error(case.model, case.program, case.inputs) < 2e-6
    assert case.model.training == training


def test_parity_measures_the_largest_difference_of_any_output_of_any_batch(cases) -> None:
    """300 inputs make two batches; only the last input, in the second batch, sees the changed weight."""
    case = cases["depthwise"]
    changed = copy.deepcopy(case.model).eval()
    changed.classifier[1].bias.data[2] += 0.25
    inputs = torch.randn(300, 1, 8, 8)
    for measure, path in ((onnx_max_abs_error, case.onnx), (program_max_abs_error, case.program)):
        assert measure(changed, path, inputs) == pytest.approx(0.25, abs=2e-6)
    changed = copy.deepcopy(case.model).eval()
    changed.expand[0].weight.data += 1.0
    by_input = [program_max_abs_error(changed, case.program, x[None]) for x in inputs[250:260]]
    assert program_max_abs_error(changed, case.program, inputs[250:260]) == pytest.approx(
        max(by_input), abs=1e-6
    )
    assert min(by_input) < max(by_input)


def test_last_batch_counts(tmp_path: Path) -> None:
    """The network answers its input, so that only inputs decide where the difference is."""
    path = export_program(nn.Flatten(), (1, 1, 1), tmp_path / "model.pt2")

    class Doubled(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return 2 * x.flatten(1)

    inputs = torch.zeros(300, 1, 1, 1)
    inputs[299] = -3
    assert program_max_abs_error(Doubled(), path, inputs) == 3.0


def test_parity_refuses_what_cannot_be_compared(cases, tmp_path: Path) -> None:
    case = cases["depthwise"]
    with pytest.raises(ShapeError, match="at least one input"):
        onnx_max_abs_error(case.model, case.onnx, case.inputs[:0])
    with pytest.raises(RunDirectoryError, match="there is none"):
        onnx_max_abs_error(case.model, tmp_path / "absent.onnx", case.inputs)
    with pytest.raises(RunDirectoryError, match="there is none"):
        program_max_abs_error(case.model, tmp_path / "absent.pt2", case.inputs)
    wider = copy.deepcopy(case.model)
    wider.classifier[1] = nn.Linear(12, 4)
    with pytest.raises(ShapeError, match=r"\(5, 4\), but gave \(5, 3\)"):
        onnx_max_abs_error(wider, case.onnx, case.inputs)
    diverged = copy.deepcopy(case.model)
    diverged.classifier[1].bias.data.fill_(math.nan)
    with pytest.raises(UserError, match="finite"):
        program_max_abs_error(diverged, case.program, case.inputs)
