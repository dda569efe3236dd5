"""The loop with the real supernet, space and data."""

from __future__ import annotations

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
