from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import onepath as op
from onepath.space import Choice, SearchSpace
from onepath.train import (
    AttentiveSampler,
    Distillation,
    OpenSampler,
    Phase,
    Recipe,
    SandwichSampler,
    train_phases,
)

SPACE = SearchSpace(
    [
        Choice("width", [16, 4, 8], role="size"),
        Choice("kernel", [3, 5, 7], role="size"),
        Choice("depth", [1, 2], role="depth"),
        Choice("block", ["a", "b"]),
    ]
)


def test_a_sandwich_begins_with_the_largest_and_ends_with_the_smallest() -> None:
    sampler, rng = SandwichSampler(SPACE, 3), np.random.default_rng(0)
    assert sampler.num_paths == 5
    between = set()
    for update in range(50):
        first, *middle, last = sampler.paths(update, rng)
        assert first.options == {"width": 16, "kernel": 7, "depth": 2, "block": "a"}
        assert last.options == {"width": 4, "kernel": 3, "depth": 1, "block": "a"}
        between |= {str(each) for each in middle}
        assert len(middle) == 3
    assert len(between) == SPACE.size


def test_attention_takes_the_best_or_the_worst_on_the_batch() -> None:
    class Task:
        def loss(self, outputs: Tensor, targets: Any) -> Tensor:
            del targets
            return outputs

    def forward(inputs: Any, path: Any) -> Tensor:
        del inputs
        return torch.tensor(float(path.options["width"]))

    means = {}
    for attention in ("best-up", "worst-up"):
        sampler = AttentiveSampler(SPACE, Task(), attention, 2, num_drawn=4)  # type: ignore[arg-type]
        rng, widths = np.random.default_rng(0), []
        for update in range(100):
            sampler.begin(forward, None, None, rng)
            _, *middle, _ = sampler.paths(update, rng)
            widths += [float(each.options["width"]) for each in middle]
        means[attention] = float(np.mean(widths))
    # The least of four draws of 4, 8 and 16 has a mean of 4.98, the greatest of 14.2, any one of 9.33.
    assert means["best-up"] == pytest.approx(4 + 4 * (2 / 3) ** 4 + 8 * (1 / 3) ** 4, abs=0.6)
    assert means["worst-up"] == pytest.approx(16 - 8 * (2 / 3) ** 4 - 4 * (1 / 3) ** 4, abs=0.8)
    plain = AttentiveSampler(SPACE, Task(), "best-up")  # type: ignore[arg-type]
    assert len(plain.paths(0, np.random.default_rng(0))) == 4


def test_attention_compares_architectures_of_one_cost() -> None:
    """Else the best on the batch would mostly be the largest."""
    space = SearchSpace([Choice(f"width{place}", [1, 2, 3, 4], role="size") for place in range(8)])
    compared: list[list[int]] = []

    class Task:
        def loss(self, outputs: Tensor, targets: Any) -> Tensor:
            del targets
            return outputs

    def forward(inputs: Any, path: Any) -> Tensor:
        del inputs
        compared[-1].append(sum(path.indices))
        return torch.tensor(-float(sum(path.indices)))  # the largest is the best

    def costs(rows: Any) -> Any:
        return rows.sum(axis=1)

    sizes = {}
    for name, known in (("any", None), ("alike", costs)):
        sampler = AttentiveSampler(space, Task(), "best-up", 1, num_drawn=3, costs=known)  # type: ignore[arg-type]
        rng, chosen = np.random.default_rng(0), []
        for update in range(200):
            compared.append([])
            sampler.begin(forward, None, None, rng)
            chosen.append(sum(sampler.paths(update, rng)[1].indices))
        sizes[name] = float(np.mean(chosen))
        spans = [max(each) - min(each) for each in compared[-200:]]
        assert (np.mean(spans) < 0.3) == (name == "alike")
    assert sizes["alike"] == pytest.approx(12, abs=0.5)  # as random architectures have it
    assert sizes["any"] > 13.5


def test_what_is_not_open_stays_at_its_largest() -> None:
    width, kernel, *_ = SPACE.choices
    sampler = OpenSampler(SPACE, {kernel: (7, 5), width: (16, 8)}, 3)
    seen = set()
    for update in range(60):
        paths = sampler.paths(update, np.random.default_rng(update))
        assert len(paths) == 3
        seen |= {tuple(path.options.values()) for path in paths}
    assert seen == {(w, k, 2, "a") for w in (16, 8) for k in (7, 5)}


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        width = op.Choice("width", [4, 16])
        self.conv, self.norm = op.ElasticConv2d(1, width, 3), op.ElasticBatchNorm2d(width)
        self.head = op.ElasticLinear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.norm(self.conv(x)).relu().mean((2, 3)))


def test_gradients_of_an_update_add_up_over_the_sandwich() -> None:
    """One update by SGD without momentum moves by the rate times the sum of the paths' own gradients."""
    torch.manual_seed(0)
    data = op.load_data("digits")
    recipe = Recipe(1, 1150, 0.1, momentum=0.0, weight_decay=0.0, label_smoothing=0.0, one_path=0.0)
    supernet = op.Supernet(Net())
    twin = supernet.copied().train()
    sampler = SandwichSampler(supernet.space, 0)
    train_phases(supernet, data, [Phase("sandwich", recipe, sampler, objective=Distillation())])
    inputs, targets = next(iter(data.train_batches(1150, seed=0, first_update=0, num_updates=1)))
    largest, smallest = SandwichSampler(twin.space, 0).paths(0, np.random.default_rng(0))
    first = twin(inputs, largest)
    data.loss(first, targets).backward()
    (-(first.detach().softmax(1) * twin(inputs, smallest).log_softmax(1)).sum(1).mean()).backward()
    rate = recipe.rate(0, 1, 1)
    for (name, moved), own in zip(supernet.module.named_parameters(), twin.module.parameters(), strict=True):
        assert own.grad is not None
        assert torch.allclose(moved, own - rate * own.grad, atol=1e-6), name


def test_a_clipped_value_bounds_each_gradient() -> None:
    torch.manual_seed(0)
    data = op.load_data("digits")
    moved = {}
    for clip in (None, 1e-4):
        torch.manual_seed(0)
        supernet = op.Supernet(Net())
        before = [p.detach().clone() for p in supernet.parameters()]
        recipe = Recipe(1, 1150, 0.1, momentum=0.0, weight_decay=0.0, one_path=0.0, clip_value=clip)
        train_phases(supernet, data, [Phase("one", recipe, SandwichSampler(supernet.space, 0))])
        steps = [(p.detach() - b).abs().max() for p, b in zip(supernet.parameters(), before, strict=True)]
        moved[clip] = float(max(steps)) / recipe.rate(0, 1, 1)
    assert moved[1e-4] == pytest.approx(1e-4, rel=1e-2)
    assert moved[None] > 1e-2
