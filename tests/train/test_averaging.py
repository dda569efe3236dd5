"""Averages of weights, alone and across an interrupted training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from onepath.errors import ConfigurationError
from onepath.record import TrainingCheckpoint
from onepath.train import AveragedCheckpoint, Recipe, WeightAverage, train_supernet

RECIPE = Recipe(epochs=3, batch_size=16, learning_rate=0.1)  # 18 updates


def observed(average: WeightAverage, module: nn.Linear, values: list[float], num: int) -> float:
    for update, value in enumerate(values, num - len(values) + 1):
        with torch.no_grad():
            module.weight.fill_(value)
        average.observe(update, num)
    average.apply()
    return module.weight.item()


def test_the_mean_of_the_last_part() -> None:
    module = nn.Linear(1, 1, bias=False)
    average = WeightAverage(module, begin=0.5, every=1)
    # Updates 4 and 5 of 10 are before the last half.
    assert observed(average, module, [100.0, 100.0, 1.0, 2.0, 3.0, 4.0, 5.0], 10) == pytest.approx(3.0)
    assert average.num_samples == 5


def test_every_second_update_up_to_the_last() -> None:
    module = nn.Linear(1, 1, bias=False)
    found = observed(WeightAverage(module, begin=0.0, every=2), module, [9.0, 1.0, 9.0, 3.0], 4)
    assert found == pytest.approx(2.0)


def test_decay_forgets() -> None:
    module = nn.Linear(1, 1, bias=False)
    found = observed(WeightAverage(module, begin=0.0, decay=0.5, every=1), module, [1.0, 2.0, 4.0], 3)
    # The rates are 1, 1/2 and 1/2.
    assert found == pytest.approx(0.5 * (0.5 * 1 + 0.5 * 2) + 0.5 * 4)


def test_nothing_to_apply_before_a_sample() -> None:
    with pytest.raises(ConfigurationError, match="needs at least one sample"):
        WeightAverage(nn.Linear(1, 1)).apply()
    with pytest.raises(ConfigurationError, match="begin=1"):
        WeightAverage(nn.Linear(1, 1), begin=1)


def test_an_interrupted_training_ends_with_the_same_average(toys: Any, tmp_path: Path) -> None:
    def train(name: str, stop: int | None) -> tuple[nn.Module, WeightAverage]:
        supernet = toys.supernet()
        average = WeightAverage(supernet, begin=0.3, every=2)

        def on_update(update: int, total: int) -> None:
            average.observe(update, total)
            if update == stop:
                raise KeyboardInterrupt

        checkpoint = AveragedCheckpoint(TrainingCheckpoint(tmp_path / name, 1e9), average)
        train_supernet(
            supernet,
            toys.NoiseTask(),
            sampler=toys.RandomSampler(),
            recipe=RECIPE,
            checkpoint=checkpoint,
            on_update=on_update,
        )
        return supernet, average

    whole, expected = train("whole", None)
    with pytest.raises(KeyboardInterrupt):
        train("killed", 11)
    resumed, average = train("killed", None)
    assert average.num_samples == expected.num_samples == 7
    average.apply()
    last = {name: value.clone() for name, value in whole.named_parameters()}
    expected.apply()
    for (name, mine), theirs in zip(resumed.named_parameters(), whole.parameters(), strict=True):
        assert torch.equal(mine, theirs), name
    assert any(not torch.equal(value, last[name]) for name, value in whole.named_parameters())
