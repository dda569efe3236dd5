from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from onepath.train import evaluate


def test_equals_one_pass_over_everything_for_any_batch_size(toys: Any) -> None:
    supernet, task = toys.supernet(), toys.NoiseTask()
    supernet.eval()
    with torch.no_grad():
        outputs = supernet(task.inputs, (0, 1))
    expected = nn.functional.cross_entropy(outputs, task.targets).item()
    for batch_size in (7, 96, 1000):
        found = evaluate(lambda x: supernet(x, (0, 1)), task, "validation", batch_size=batch_size)
        assert found.loss == pytest.approx(expected, rel=1e-5)
        assert found.metric == (outputs.argmax(1) == task.targets).float().mean().item()
        assert found.num == 96


def test_a_module_is_evaluated_in_eval_mode_and_given_back_as_it_was(toys: Any) -> None:
    task = toys.NoiseTask()
    model = nn.Sequential(nn.Flatten(), nn.Dropout(0.9), nn.BatchNorm1d(192), nn.Linear(192, 4))
    model[2].eval()
    model(task.inputs)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    first, second = (evaluate(model, task, "validation", num_examples=50) for _ in range(2))
    assert first == second
    assert first.num == 50
    assert [m.training for m in model] == [True, True, False, True]
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_bfloat16_is_close(toys: Any) -> None:
    supernet, task = toys.supernet(), toys.NoiseTask()
    supernet.eval()
    exact, half = (
        evaluate(lambda x: supernet(x, (0, 1)), task, "validation", precision=p)
        for p in ("float32", "bfloat16")
    )
    assert half.loss == pytest.approx(exact.loss, rel=0.02)
    assert half.loss != exact.loss
