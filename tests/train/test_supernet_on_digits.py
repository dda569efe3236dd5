"""The loop with the real supernet, space and data."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

from onepath.data import Task, load_data
from onepath.nn import ChoiceBlock, Supernet
from onepath.train import Recipe, UniformSampler, evaluate, train_supernet


def candidate(kernel_size: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(8, 8, kernel_size, padding=kernel_size // 2, bias=False),
        nn.BatchNorm2d(8, affine=False),
        nn.ReLU(),
    )


def new_supernet() -> Supernet:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Supernet(
            nn.Sequential(
                nn.Conv2d(1, 8, 3, padding=1),
                nn.BatchNorm2d(8, affine=False),
                ChoiceBlock({"k1": candidate(1), "k3": candidate(3), "k5": candidate(5)}),
                ChoiceBlock({"k1": candidate(1), "k3": candidate(3), "skip": nn.Identity()}),
                nn.AdaptiveAvgPool2d(2),
                nn.Flatten(),
                nn.Dropout(0.1),
                nn.Linear(32, 10),
            )
        )


@pytest.fixture(scope="module")
def task() -> Task:
    return load_data("digits")


def test_every_path_learns(task: Task) -> None:
    supernet = new_supernet()
    recipe = Recipe(epochs=12, batch_size=64, learning_rate=0.2)
    curve = train_supernet(supernet, task, sampler=UniformSampler(supernet.space), recipe=recipe)
    assert curve[-1].loss < 0.8 * curve[0].loss
    for architecture in supernet.space.enumerate():
        assert evaluate(supernet.extract(architecture), task, "validation").metric > 0.4


def test_the_seed_decides_the_weights(task: Task) -> None:
    first, second, other = new_supernet(), new_supernet(), new_supernet()
    recipe = Recipe(epochs=1, batch_size=64, learning_rate=0.1)
    for supernet, seed in ((first, 1), (second, 1), (other, 2)):
        train_supernet(supernet, task, sampler=UniformSampler(supernet.space), recipe=recipe, seed=seed)
    for p, q in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(p, q)
    assert any(not torch.equal(p, q) for p, q in zip(first.parameters(), other.parameters(), strict=True))


def test_compile_compiles_the_candidates_and_changes_nothing_else(
    task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked once; what compiling does is the supernet's matter."""
    supernet = new_supernet()
    calls: list[None] = []
    monkeypatch.setattr(supernet, "compile_candidates", lambda: calls.append(None))
    sampler = UniformSampler(supernet.space)
    train_supernet(supernet, task, sampler=sampler, epochs=1, compile=True)
    train_supernet(supernet, task, sampler=sampler, epochs=1)
    assert len(calls) == 1


@pytest.mark.parametrize("stop", [9, 10, 11])
def test_resuming_around_the_change_from_one_path_to_sampled_ones_is_bit_exact(task: Task, stop: int) -> None:
    """20 updates, of which the first 10 train one path."""
    recipe = Recipe(epochs=1, batch_size=57, learning_rate=0.1, one_path=0.5)
    states: list[dict[str, object]] = []

    class Memory:
        def due(self) -> bool:
            return False

        def save(self, state: dict[str, object]) -> None:
            states.append(copy.deepcopy(state))

        def load(self) -> dict[str, object] | None:
            return states[-1] if states else None

    def stop_now(update: int, total: int) -> None:
        assert total == 20
        if update == stop:
            raise KeyboardInterrupt

    def train(supernet: Supernet, **options: Any) -> None:
        train_supernet(supernet, task, sampler=UniformSampler(supernet.space), recipe=recipe, **options)

    whole, resumed = new_supernet(), new_supernet()
    train(whole)
    with pytest.raises(KeyboardInterrupt):
        train(new_supernet(), checkpoint=Memory(), on_update=stop_now)
    assert states[-1]["update"] == stop
    train(resumed, checkpoint=Memory())
    for p, q in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(p, q)
