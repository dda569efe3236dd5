from __future__ import annotations

import math
from typing import Any

import pytest

from onepath.errors import ConfigurationError
from onepath.train import Recipe


def test_linear_schedule_closed_form() -> None:
    recipe = Recipe(epochs=10, batch_size=8, learning_rate=0.8, warmup_epochs=2)
    rates = [recipe.rate(update, 50, 5) for update in range(50)]  # 10 updates of warm-up, then 40
    assert rates[:10] == pytest.approx([0.08 * (i + 1) for i in range(10)])
    assert rates[10:] == pytest.approx([0.8 * (1 - i / 40) for i in range(40)])
    assert rates[-1] == pytest.approx(0.02)


def test_without_warm_up_it_is_the_papers() -> None:
    recipe = Recipe(epochs=1, batch_size=1024, learning_rate=0.5)
    assert [recipe.rate(t, 4, 4) for t in range(4)] == [0.5, 0.375, 0.25, 0.125]


def test_cosine_schedule_closed_form() -> None:
    recipe = Recipe(epochs=4, batch_size=8, learning_rate=2.0, schedule="cosine")
    rates = [recipe.rate(t, 8, 2) for t in range(8)]
    assert rates == pytest.approx([1 + math.cos(math.pi * t / 8) for t in range(8)])


def test_warm_up_may_take_all_updates() -> None:
    recipe = Recipe(epochs=1, batch_size=8, learning_rate=1.0, warmup_epochs=3)
    assert [recipe.rate(t, 2, 2) for t in range(2)] == [0.5, 1.0]


def test_the_papers_setting_is_reached_at_its_data_size() -> None:
    recipe = Recipe.supernet(1_281_167)
    assert (recipe.batch_size, recipe.learning_rate, recipe.epochs) == (1024, 0.5, 120)
    assert (recipe.momentum, recipe.weight_decay, recipe.label_smoothing) == (0.9, 4e-5, 0.1)
    assert recipe.schedule == "linear"
    assert Recipe.retrain(1_281_167).epochs == 240


@pytest.mark.parametrize("num_train", [100, 1150, 45_000, 200_000])
def test_smaller_data_takes_smaller_batches_and_rates(num_train: int) -> None:
    supernet, retrain, paper = Recipe.supernet(num_train), Recipe.retrain(num_train), Recipe.supernet(10**7)
    assert supernet.batch_size < paper.batch_size
    assert supernet.learning_rate < paper.learning_rate
    assert 0 < supernet.warmup_epochs < supernet.epochs
    assert (retrain.batch_size, retrain.learning_rate) == (supernet.batch_size, supernet.learning_rate)
    assert retrain.epochs > supernet.epochs
    assert Recipe.supernet(num_train, epochs=7).epochs == Recipe.retrain(num_train, epochs=7).epochs == 7


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"epochs": 0}, "`epochs >= 1` must hold, but got epochs=0"),
        ({"batch_size": -1}, "got batch_size=-1"),
        ({"learning_rate": float("nan")}, "got learning_rate=nan"),
        ({"momentum": 1.0}, "got momentum=1.0"),
        ({"weight_decay": -1.0}, "got weight_decay=-1.0"),
        ({"label_smoothing": 1.0}, "got label_smoothing=1.0"),
        ({"schedule": "step"}, "got schedule='step'"),
        ({"clip_norm": 0.0}, "got clip_norm=0.0"),
        ({"precision": "float16"}, "got precision='float16'"),
        ({"nesterov": True, "momentum": 0.0}, "nesterov needs momentum > 0"),
    ],
)
def test_wrong_values_are_named(changes: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigurationError, match=text.replace("(", r"\(")):
        Recipe(**{"epochs": 1, "batch_size": 1, "learning_rate": 0.1, **changes})
