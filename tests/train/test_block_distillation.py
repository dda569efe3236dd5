"""Blocks learn from the same blocks of the teacher, each by itself."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from bottlenecks import Net
from torch import nn

import onepath as op
from onepath.nn.blocks import blocks_of
from onepath.space.ends import end_of
from onepath.train import OpenSampler, Phase, train_phases
from onepath.train.block_distillation import BlockDistillation


@pytest.fixture(scope="module")
def data() -> op.Task:
    return op.load_data("digits")


def converted() -> op.Supernet:
    torch.manual_seed(0)
    net = Net().eval()
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.3)
    return op.convert(net, torch.zeros(2, 1, 8, 8))


def opened(supernet: op.Supernet) -> dict[op.Choice, tuple[object, ...]]:
    own = [choice for choices in blocks_of(supernet).values() for choice in choices]
    return {choice: choice.options for choice in own if choice.role != "depth"}


def smallest_blocks(supernet: op.Supernet) -> op.Architecture:
    own = {choice.name: min(choice.options) for choice in opened(supernet)}
    return supernet.space.architecture({**end_of(supernet.space, max).options, **own})


def one_pass(
    supernet: op.Supernet,
    objective: BlockDistillation,
    path: op.Architecture,
    inputs: torch.Tensor,
    data: op.Task,
) -> torch.Tensor:
    objective.begin(supernet, inputs, None, np.random.default_rng(0))
    return objective([supernet(inputs, path=path)], None, data)


def test_the_loss_of_each_block_is_its_own_distance_on_the_inputs_of_the_teacher(data: op.Task) -> None:
    supernet, inputs = converted(), torch.randn(4, 1, 8, 8)
    blocks = blocks_of(supernet)
    teacher = copy.deepcopy(supernet)
    teacher.activate(end_of(supernet.space, max))
    rng = np.random.default_rng(0)
    (path,) = OpenSampler(supernet.space, opened(supernet)).paths(0, rng)
    expected, hidden = torch.zeros(()), teacher.module.stem(inputs).relu()
    for place in range(3):
        taught = teacher.module.stage[place](hidden)
        supernet.activate(path)
        own = supernet.module.stage[place](hidden)
        expected = expected + (own - taught).square().mean() / taught.square().mean()
        hidden = taught
    loss = one_pass(supernet, BlockDistillation(supernet, blocks), path, inputs, data)
    torch.testing.assert_close(loss, expected)
    assert float(loss.detach()) > 0.01


def test_the_largest_network_has_no_loss_and_what_follows_a_block_is_the_teacher(data: op.Task) -> None:
    supernet, inputs = converted(), torch.randn(4, 1, 8, 8)
    largest = end_of(supernet.space, max)
    whole = supernet(inputs, path=largest)
    objective = BlockDistillation(supernet, blocks_of(supernet))
    assert one_pass(supernet, objective, largest, inputs, data).item() == 0
    small = smallest_blocks(supernet)
    objective.begin(supernet, inputs, None, np.random.default_rng(0))
    torch.testing.assert_close(supernet(inputs, path=small), whole)
    objective.release()
    assert not torch.allclose(supernet(inputs, path=small), whole)


def test_no_gradient_leaves_a_block(data: op.Task) -> None:
    supernet, inputs = converted(), torch.randn(4, 1, 8, 8)
    objective = BlockDistillation(supernet, ["stage.1"])
    one_pass(supernet, objective, smallest_blocks(supernet), inputs, data).backward()
    touched = {
        name
        for name, p in supernet.module.named_parameters()
        if p.grad is not None and p.grad.abs().sum() > 0
    }
    assert touched
    assert all(name.startswith("stage.1.") for name in touched)


def test_training_brings_the_blocks_closer_and_leaves_the_rest(data: op.Task) -> None:
    supernet, inputs = converted(), torch.randn(16, 1, 8, 8)
    blocks = blocks_of(supernet)
    objective = BlockDistillation(supernet, blocks)
    before = {name: value.clone() for name, value in supernet.module.named_parameters()}
    first = one_pass(supernet, objective, smallest_blocks(supernet), inputs, data).item()
    recipe = op.Recipe(2, 32, 0.02, weight_decay=0.0)
    train_phases(
        supernet,
        data,
        [Phase("blocks", recipe, OpenSampler(supernet.space, opened(supernet)), objective=objective)],
    )
    assert one_pass(supernet, objective, smallest_blocks(supernet), inputs, data).item() < 0.8 * first
    for name, value in supernet.module.named_parameters():
        if not name.startswith("stage."):
            assert torch.equal(value, before[name]), name


class Growing(nn.Module):
    """Two blocks that take a list, to which the network appends, and what follows changes their outputs in place."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 8, 3, padding=1)
        self.blocks = nn.ModuleList(Joined(8 * (place + 1)) for place in range(2))
        self.head = nn.Linear(24, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        parts = [self.stem(x)]
        for block in self.blocks:
            parts.append(block(parts).relu_())
        return self.head(torch.cat(parts, 1).mean((2, 3)))


class Joined(nn.Module):
    def __init__(self, num: int) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(num, 32, 1), nn.Conv2d(32, 8, 3, padding=1)

    def forward(self, parts: list[torch.Tensor]) -> torch.Tensor:
        return self.last(self.first(torch.cat(parts, 1)).relu())


def test_what_the_network_changes_in_place_does_not_change_what_is_taught(data: op.Task) -> None:
    torch.manual_seed(0)
    supernet, inputs = op.convert(Growing().eval(), torch.zeros(2, 1, 8, 8)), torch.randn(4, 1, 8, 8)
    blocks = blocks_of(supernet)
    assert list(blocks) == ["blocks.0", "blocks.1"]
    largest = end_of(supernet.space, max)
    objective = BlockDistillation(supernet, blocks)
    assert one_pass(supernet, objective, largest, inputs, data).item() == 0
    loss = one_pass(supernet, objective, smallest_blocks(supernet), inputs, data)
    loss.backward()
    assert loss.item() > 0.01
