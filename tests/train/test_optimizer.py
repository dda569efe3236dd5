from __future__ import annotations

import copy
import dataclasses
from typing import Any

import pytest
import torch

from onepath.errors import ConfigurationError
from onepath.train import Recipe, train_supernet
from onepath.train.optimizer import ActiveSGD, active_optimizer

RECIPE = Recipe(epochs=1, batch_size=1, learning_rate=0.1, weight_decay=0.05)


@pytest.mark.parametrize("changes", [{}, {"momentum": 0.0}, {"nesterov": True}, {"clip_norm": 0.01}])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_equals_torch_sgd(toys: Any, changes: dict[str, Any], memory_format: torch.memory_format) -> None:
    """Same weights as torch.optim.SGD with decay on tensors of two or more dimensions, in either memory
    layout."""
    recipe = dataclasses.replace(RECIPE, **changes)
    first = toys.supernet().to(memory_format=memory_format)
    second = copy.deepcopy(first)
    task = toys.NoiseTask()
    ours = ActiveSGD(first.named_parameters(), recipe)
    groups = [
        {"params": [p for p in second.parameters() if p.ndim >= 2], "weight_decay": recipe.weight_decay},
        {"params": [p for p in second.parameters() if p.ndim < 2], "weight_decay": 0.0},
    ]
    theirs = torch.optim.SGD(groups, lr=0.1, momentum=recipe.momentum, nesterov=recipe.nesterov)
    for update, path in enumerate([(0, 1), (2, 1), (0, 1), (1, 1)]):
        for model in (first, second):
            torch.manual_seed(update)
            task.loss(model(task.inputs[:16], path), task.targets[:16]).backward()
        if recipe.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(second.parameters(), recipe.clip_norm)
        ours.step(0.1 / (update + 1))
        for group in theirs.param_groups:
            group["lr"] = 0.1 / (update + 1)
        theirs.step()
        theirs.zero_grad(set_to_none=True)
        assert all(p.grad is None for p in first.parameters())
    for p, q in zip(first.parameters(), second.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-6, atol=1e-7)


def test_weight_decay_is_for_matrices_and_kernels_only() -> None:
    """With gradient 0 and rate 0.1, decay alone shrinks a matrix by 0.5 % and leaves a vector."""
    matrix, vector = torch.nn.Parameter(torch.ones(2, 2)), torch.nn.Parameter(torch.ones(2))
    optimizer = ActiveSGD([("matrix", matrix), ("vector", vector)], RECIPE)
    matrix.grad, vector.grad = torch.zeros(2, 2), torch.zeros(2)
    optimizer.step(0.1)
    torch.testing.assert_close(matrix.detach(), torch.full((2, 2), 0.995))
    assert torch.equal(vector.detach(), torch.ones(2))


def test_frozen_parameters_are_left_out() -> None:
    frozen = torch.nn.Parameter(torch.ones(2), requires_grad=False)
    free = torch.nn.Parameter(torch.ones(2))
    optimizer = ActiveSGD([("frozen", frozen), ("free", free)], RECIPE)
    free.grad = torch.ones(2)
    optimizer.step(0.1)
    assert list(optimizer.state_dict()["momentum"]) == ["free"]
    assert torch.equal(frozen, torch.ones(2))


@pytest.mark.parametrize("own", [{}, {"betas": (0.5, 0.99), "epsilon": 1e-3}])
def test_adamw_is_that_of_torch_on_a_dense_network(own: dict[str, Any]) -> None:
    recipe = dataclasses.replace(RECIPE, optimizer="adamw", momentum=0.0, weight_decay=0.1, **own)
    torch.manual_seed(0)
    ours, theirs = torch.nn.Linear(3, 2), torch.nn.Linear(3, 2)
    theirs.load_state_dict(ours.state_dict())
    optimizer = active_optimizer(ours.named_parameters(), recipe)
    groups = [
        {"params": [theirs.weight], "weight_decay": 0.1},
        {"params": [theirs.bias], "weight_decay": 0.0},
    ]
    reference = torch.optim.AdamW(
        groups, lr=0.01, betas=own.get("betas", (0.9, 0.999)), eps=own.get("epsilon", 1e-8)
    )
    for _ in range(5):
        inputs = torch.randn(4, 3)
        for model, step in ((ours, lambda: optimizer.step(0.01)), (theirs, reference.step)):
            model(inputs).square().sum().backward()
            step()
        reference.zero_grad()
    torch.testing.assert_close(ours.weight, theirs.weight, rtol=0, atol=1e-6)
    torch.testing.assert_close(ours.bias, theirs.bias, rtol=0, atol=1e-6)


def test_adamw_leaves_what_was_not_sampled_alone_and_continues_from_its_state() -> None:
    recipe = dataclasses.replace(RECIPE, optimizer="adamw", momentum=0.0, weight_decay=0.1)
    first, second = torch.nn.Parameter(torch.ones(2, 2)), torch.nn.Parameter(torch.ones(2, 2))
    optimizer = active_optimizer([("first", first), ("second", second)], recipe)
    first.grad = torch.ones(2, 2)
    optimizer.step(0.1)
    second.grad = torch.ones(2, 2)
    optimizer.step(0.1)
    kept = first.detach().clone()
    assert torch.equal(first, second)  # each has had one step, whenever it came
    again = torch.nn.Parameter(first.detach().clone())
    resumed = active_optimizer([("first", again)], recipe)
    state = {kind: {"first": buffers["first"]} for kind, buffers in optimizer.state_dict().items()}
    resumed.load_state_dict(state)
    for parameter, one in ((first, optimizer), (again, resumed)):
        parameter.grad = torch.full((2, 2), 0.5)
        one.step(0.1)
    assert torch.equal(first, again)
    assert not torch.equal(first, kept)
    assert torch.equal(second, kept)


def test_a_look_ahead_with_adamw_is_refused() -> None:
    recipe = dataclasses.replace(RECIPE, optimizer="adamw")
    optimizer = active_optimizer([("w", torch.nn.Parameter(torch.ones(2)))], recipe)
    with pytest.raises(ConfigurationError, match="a look ahead needs optimizer 'sgd'"):
        optimizer.virtual_step([], 0.1, None)


@pytest.mark.parametrize("kind", ["means", "squares", "steps"])
def test_state_of_adamw_of_another_shape_is_refused(kind: str) -> None:
    recipe = dataclasses.replace(RECIPE, optimizer="adamw")
    optimizer = active_optimizer([("w", torch.nn.Parameter(torch.ones(2, 2)))], recipe)
    state = {name: {"w": torch.ones(2, 2)} for name in ("means", "squares")} | {
        "steps": {"w": torch.ones(())}
    }
    optimizer.load_state_dict(state)
    state[kind] = {"w": torch.ones(2, 2) if kind == "steps" else torch.ones(())}
    with pytest.raises(ValueError, match=f"the {kind} of a parameter are of another shape"):
        optimizer.load_state_dict(state)


def test_a_supernet_trained_by_adamw_continues_bit_exactly_and_moves_what_it_sampled(toys: Any) -> None:
    """Decoupled decay, too, leaves a candidate that no path has sampled as it was."""
    recipe = Recipe(epochs=2, batch_size=16, learning_rate=0.01, weight_decay=0.1, optimizer="adamw")
    options = {"sampler": toys.ListSampler([(0, 1), (1, 1)]), "recipe": recipe}

    def stop(update: int, total: int) -> None:
        if update == 5:
            raise KeyboardInterrupt

    start, whole, resumed = toys.supernet(), toys.supernet(), toys.supernet(seed=9)
    train_supernet(whole, toys.NoiseTask(), **options)
    checkpoint = toys.MemoryCheckpoint()
    with pytest.raises(KeyboardInterrupt):
        train_supernet(toys.supernet(), toys.NoiseTask(), checkpoint=checkpoint, on_update=stop, **options)
    train_supernet(resumed, toys.NoiseTask(), checkpoint=checkpoint, **options)
    found = resumed.state_dict()
    assert all(torch.equal(value, found[name]) for name, value in whole.state_dict().items())
    before = start.state_dict()
    unsampled = ("blocks.0.2.", "blocks.1.0.", "blocks.1.2.")
    for name, parameter in whole.named_parameters():
        assert torch.equal(parameter, before[name]) is name.startswith(unsampled), name
